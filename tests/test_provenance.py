"""Which code made a run, whatever Git was given by whoever started it."""

import subprocess

from advspeech import provenance


def test_the_commit_is_ours_inside_another_repositorys_hook(
  monkeypatch, tmp_path
):
  expected = provenance.code()
  subprocess.run(['git', 'init', '-q', tmp_path], check=True)
  for name, value in (
    ('GIT_DIR', tmp_path / '.git'),
    ('GIT_WORK_TREE', tmp_path),
    ('GIT_INDEX_FILE', tmp_path / '.git' / 'index'),
  ):
    monkeypatch.setenv(name, str(value))
  assert provenance.code() == expected
