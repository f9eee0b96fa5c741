"""The embedded corpus: deterministic, sorted, all three tasks on it."""

import collections
import contextlib
import pathlib
import signal
import subprocess
import sys
import time

import devices
import numpy as np
import pytest

from advspeech import corpora, errors, experiment, tasks
from advspeech.corpora import espeak
from configs import paper

pytest.importorskip('espeakng_loader')
ROOT = pathlib.Path(__file__).parent.parent.parent


@pytest.fixture(scope='module')
def corpus(espeak_dir):
  return corpora.read('espeak', data_dir=str(espeak_dir), num_samples=48_000)


def test_has_1200_clips_of_ten_speakers_in_three_manners(corpus):
  assert len(corpus.ids) == len(set(corpus.ids)) == 1200
  assert len(set(corpus.speaker)) == 10
  assert collections.Counter(corpus.sex) == {'female': 600, 'male': 600}
  assert set(corpus.emotion) == {'neutral', 'angry', 'sad'}
  assert list(corpus.ids) == sorted(corpus.ids)
  # A speaker says a sentence at most once in each manner.
  assert set(corpus.statement) <= set(espeak.SENTENCES)
  said = zip(corpus.speaker, corpus.emotion, corpus.statement, strict=True)
  assert len(set(said)) == 1200


def test_a_plan_counts_its_clips(espeak_dir, tmp_path):
  config = paper.get_config()
  config.data_dir = str(tmp_path)
  assert not experiment.is_prepared(config)
  config.data_dir = str(espeak_dir)
  assert experiment.is_prepared(config)
  config.task = 'speaker'
  num_classes, counts = experiment.count_clips(config)
  assert (num_classes, sum(counts.values())) == (4, 480)
  assert counts['train'] == 360


def test_all_three_tasks_exist_on_it(corpus):
  for name in ('gender', 'emotion', 'speaker'):
    task = tasks.select(
      name,
      speaker=corpus.speaker,
      sex=corpus.sex,
      emotion=corpus.emotion,
    )
    counts = np.bincount(task.labels)
    assert len(counts) == len(task.classes)
    assert counts.min() >= 100


@pytest.mark.slow
def test_a_speaker_says_the_same_twice_bit_for_bit(corpus):
  clips = [
    utterance
    for utterance in espeak.Espeak(
      data_dir='unused', file_format='array_record'
    ).utterances()
    if utterance.speaker == 'f3'
  ]
  assert len(clips) == 120
  for utterance in clips:
    row = int(np.searchsorted(corpus.ids, utterance.id))
    (clip,) = corpus.pcm[[row]]
    np.testing.assert_array_equal(
      utterance.pcm[: len(clip)], clip[: corpus.num_samples[row]]
    )


def test_angry_is_louder_and_faster_than_sad(corpus):
  def level(emotion):
    rows = corpus.emotion == emotion
    return np.abs(corpus.pcm[rows].astype(float)).mean()

  def length(emotion):
    return corpus.num_samples[corpus.emotion == emotion].mean()

  assert level('angry') > 2 * level('sad')
  assert length('angry') < 0.8 * length('sad')


def test_nothing_is_clipped(corpus):
  assert np.abs(corpus.pcm[:].astype(int)).max() < 32767


def test_says_how_it_was_made(corpus):
  assert corpus.metadata['num_clips'] == 1200
  assert corpus.metadata['skipped'] == []
  assert {'soundfile', 'soxr'} <= set(corpus.metadata['versions'])


def test_a_corpus_that_was_not_prepared_is_told_how_to(tmp_path):
  with pytest.raises(errors.InputError, match=r'launch\.prepare'):
    corpora.read('espeak', data_dir=str(tmp_path), num_samples=10)


def test_an_unknown_corpus_lists_the_legal_ones(tmp_path):
  with pytest.raises(errors.InputError, match='espeak, ravdess'):
    corpora.prepare('timit', data_dir=str(tmp_path))


def children(pid):
  """Returns the processes that a process has started."""
  path = pathlib.Path(f'/proc/{pid}/task/{pid}/children')
  found = {int(child) for child in path.read_text().split()}
  for task in pathlib.Path(f'/proc/{pid}/task').iterdir():
    with contextlib.suppress(OSError):
      found |= {int(child) for child in (task / 'children').read_text().split()}
  # What multiprocessing starts beside its workers ends by itself.
  return {pid for pid in found if 'resource_tracker' not in command_of(pid)}


def command_of(pid):
  with contextlib.suppress(OSError):
    return pathlib.Path(f'/proc/{pid}/cmdline').read_text()
  return 'resource_tracker'


@pytest.mark.parametrize(
  ('number', 'code'), [(signal.SIGKILL, -9), (signal.SIGTERM, 75)]
)
@pytest.mark.slow
def test_who_says_the_sentences_ends_with_the_program(number, code, tmp_path):
  if not pathlib.Path('/proc/self/task').exists():
    pytest.skip('no /proc')
  process = subprocess.Popen(
    [sys.executable, '-m', 'launch.prepare', f'--config.data_dir={tmp_path}'],
    cwd=ROOT,
    env=devices.environment(),
    stderr=subprocess.PIPE,
    text=True,
  )
  speaking = set()
  while not speaking:
    assert process.poll() is None
    speaking = children(process.pid)
    time.sleep(0.01)
  for _ in range(2):
    process.send_signal(number)
  _, told = process.communicate(timeout=120)
  assert process.returncode == code, told
  assert 'Traceback' not in told
  deadline = time.monotonic() + 60
  while any(pathlib.Path(f'/proc/{pid}').exists() for pid in speaking):
    assert time.monotonic() < deadline
    time.sleep(0.05)
