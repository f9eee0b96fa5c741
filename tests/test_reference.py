"""The reference of functions, built as the guide says, and its links."""

import html.parser
import pathlib
import shlex
import subprocess
import sys
import urllib.parse

import pytest

ROOT = pathlib.Path(__file__).parent.parent
GUIDE = (ROOT / 'advspeech' / 'README.md').read_text(encoding='utf-8')
COMMAND = 'python -m pdoc --docformat google --output-directory build/docs '


class Page(html.parser.HTMLParser):
  """Where a page links to, and what can be linked to in it."""

  def __init__(self, path):
    super().__init__()
    self.links, self.names = [], set()
    self.feed(path.read_text(encoding='utf-8'))

  def handle_starttag(self, tag, attrs):
    found = dict(attrs)
    if 'id' in found:
      self.names.add(found['id'])
    if tag == 'a' and found.get('href'):
      self.links.append(found['href'])


@pytest.mark.slow
def test_the_reference_is_built_and_its_links_lead_somewhere(tmp_path):
  pytest.importorskip('pdoc')
  assert f'{COMMAND}advspeech' in GUIDE
  folder = tmp_path / 'docs'
  words = shlex.split(COMMAND.replace('build/docs', str(folder)))
  done = subprocess.run(
    [sys.executable, *words[1:], 'advspeech'],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  pages = {p.resolve(): Page(p) for p in folder.rglob('*.html')}
  assert len(pages) > 80
  broken = set()
  for path, page in pages.items():
    for link in page.links:
      url = urllib.parse.urlsplit(link)
      if url.scheme:
        continue
      target = (path.parent / url.path).resolve() if url.path else path
      if target not in pages or (
        url.fragment and url.fragment not in pages[target].names
      ):
        broken.add((path.name, link))
  assert not broken
  text = (folder / 'advspeech' / 'attacks.html').read_text()
  # Of a function's docstring its sections, and not a block of text.
  assert 'Arguments:' in text
