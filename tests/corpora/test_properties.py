"""Whatever a folder holds: a named error or a counted skip, labels in place.

Every recording is a constant level that its number decides, so that a clip that
came with another one's label is seen.
"""

import csv
import datetime
import io
import os
import pathlib
import struct
import tempfile
import unicodedata
import warnings

import hypothesis
import mutations
import numpy as np
import pytest
import soundfile
from hypothesis import strategies as st

from advspeech import errors
from advspeech.corpora import folder, records

RATE_HZ = 16_000
KINDS = (
  *('whole', 'header', 'truncated', 'junk', 'float', 'eight hours'),
  *('zero', 'one', 'extension', 'text', 'empty', 'channels'),
)
# Lines of a manifest that name no recording of the folder.
STRAYS = (
  *('missing.wav', '../outside.wav', '/etc/passwd', 'nul\0.wav', ''),
  *('a/../../outside.wav', 'no suffix', 'headerless.raw', 'sub', '.wav'),
)
LOSSLESS = ('wav', 'flac', 'aiff', 'au', 'w64')
NAMES = (
  'plain',
  'with space',
  ' leading',
  'comma,comma',
  'quo"te',
  "apo'strophe",
  'new\nline',
  'tab\tbed',
  'per%cent %s {}',
  '[brackets]*?',
  '-dash',
  '#hash',
  'dots.in.it',
  'שלם',
  '\u202eright-to-left',
  'Zo\u0308e',
  'Zoë',
  '日本語',
  '🎤',
  'x' * 240,
)
# Names that no UTF-8 text is, as old archives have them.
LATIN_1 = (b'caf\xe9', b'\xff\xfe')


def level(number):
  return 1000 * (number + 1)


def encode(number, suffix, num_samples, channels=1, subtype='PCM_16'):
  """Returns a file of one constant level."""
  samples = np.full((num_samples, channels), level(number), np.int16)
  if subtype == 'FLOAT':
    samples = samples / 32768
  file = io.BytesIO()
  soundfile.write(file, samples, RATE_HZ, format=suffix, subtype=subtype)
  return file.getvalue()


def eight_hours(suffix):
  """Returns a header that promises eight hours, and nothing after it."""
  num_samples = 8 * 3600 * RATE_HZ
  if suffix == 'wav':
    size = num_samples * 2
    fmt = struct.pack('<4sIHHIIHH', b'fmt ', 16, 1, 1, RATE_HZ, 32_000, 2, 16)
    data = struct.pack('<4sI', b'data', size)
    return struct.pack('<4sI4s', b'RIFF', size + 36, b'WAVE') + fmt + data
  if suffix == 'au':
    return struct.pack('>4s5I', b'.snd', 24, num_samples * 2, 3, RATE_HZ, 1)
  whole = bytearray(encode(0, 'flac', 4096))
  # 36 bits of STREAMINFO count the samples.
  whole[21] = whole[21] & 0xF0 | num_samples >> 32
  whole[22:26] = struct.pack('>I', num_samples & 0xFFFFFFFF)
  return bytes(whole[:60])


@st.composite
def recordings(draw, number):
  """Draws (suffix, bytes, whether it must be read as its constant level)."""
  suffix = draw(st.sampled_from(LOSSLESS))
  kind = draw(st.sampled_from(KINDS))
  whole = encode(number, suffix, draw(st.integers(100, 1000)))
  if kind == 'header':
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
      data[draw(st.integers(0, 60))] = draw(st.integers(0, 255))
    return suffix, bytes(data), False
  if kind == 'truncated':
    return suffix, whole[: draw(st.integers(0, len(whole)))], False
  if kind == 'junk':
    junk = draw(st.binary(max_size=100))
    return suffix, junk + whole if draw(st.booleans()) else whole + junk, False
  if kind == 'float':
    data = bytearray(encode(number, 'wav', 100, subtype='FLOAT'))
    bad = draw(st.sampled_from([np.nan, np.inf, -np.inf, 3.0]))
    data[-8:-4] = struct.pack('<f', bad)
    return 'wav', bytes(data), False
  if kind == 'eight hours':
    suffix = draw(st.sampled_from(('wav', 'flac', 'au')))
    return suffix, eight_hours(suffix), False
  if kind == 'zero':
    return suffix, encode(number, suffix, 0), False
  if kind == 'one':
    return suffix, encode(number, suffix, 1), True
  if kind == 'extension':
    other = draw(st.sampled_from(('wav', 'flac', 'mp3', 'ogg')))
    return other, whole, other in ('wav', 'flac')
  if kind == 'text':
    return suffix, draw(st.text(max_size=50)).encode(), False
  if kind == 'empty':
    return suffix, b'', False
  channels = draw(st.integers(1, 5)) if kind == 'channels' else 1
  return suffix, encode(number, suffix, 500, channels), True


@st.composite
def cases(draw):
  """Draws a folder: its files, what is listed of them, and how."""
  num = draw(st.integers(1, 4))
  names = draw(
    st.lists(st.sampled_from(NAMES), min_size=num, max_size=num, unique=True)
  )
  files, rows = {}, []
  for number, name in enumerate(names):
    suffix, data, is_level = draw(recordings(number))
    sub = draw(st.sampled_from(('', 'sub/', 'sub/deep/')))
    path = f'{sub}{name}.{suffix}'
    if len(os.fsencode(path.split('/')[-1])) < 250:
      files[path] = number, data, is_level
      rows.append(
        {
          'path': draw(st.sampled_from((path, f'./{path}', f'sub/../{path}'))),
          'label': f'class {number}',
          'speaker': draw(st.sampled_from(('', 'ann', 'bob'))),
          'split': draw(st.sampled_from(('', 'train', 'test', 'nonsense'))),
          'id': draw(st.sampled_from(('', f'id {number}', 'the same'))),
        }
      )
  for extra in draw(st.lists(st.sampled_from(STRAYS), max_size=2)):
    row = {'path': extra, 'label': 'class x', 'speaker': '', 'split': ''}
    rows.append({**row, 'id': ''})
  if rows and draw(st.booleans()):
    rows.append(dict(rows[0]))  # the same line twice
  return {
    'files': files,
    'rows': draw(st.permutations(rows)),
    'latin-1': draw(st.sampled_from((None, *LATIN_1))),
    'columns': draw(
      st.permutations(('path', 'label', 'speaker', 'split', 'id')).flatmap(
        lambda names: st.sampled_from((names, names, names, names[1:]))
      )
    ),
    'encoding': draw(
      st.sampled_from(('utf-8', 'utf-8-sig', 'latin-1', 'utf-16'))
    ),
    'line end': draw(st.sampled_from(('\n', '\r\n', '\r'))),
    'quoting': draw(
      st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE))
    ),
    'listed': draw(st.sampled_from((True, True, False))),
    'mangled': draw(st.one_of(st.none(), st.integers(0, 10**6))),
    'skip_bad': draw(st.sampled_from((True, True, False))),
  }


def write(case, top):
  """Writes a case's folder; returns whether its manifest is as it was meant."""
  stray = top.parent / 'outside.wav'
  stray.write_bytes(encode(20, 'wav', 10))
  for path, (_, data, _) in case['files'].items():
    (top / path).parent.mkdir(parents=True, exist_ok=True)
    (top / path).write_bytes(data)
  (top / 'headerless.raw').write_bytes(b'\1\2' * 500)
  if case['latin-1']:
    name = os.path.join(os.fsencode(top), b'sub', case['latin-1'] + b'.wav')
    os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name, 'wb') as file:
      file.write(encode(21, 'wav', 10))
  if not case['listed']:
    return False
  text = io.StringIO()
  writer = csv.DictWriter(
    text,
    case['columns'],
    extrasaction='ignore',
    lineterminator=case['line end'],
    quoting=case['quoting'],
    escapechar='\\',
  )
  writer.writeheader()
  writer.writerows(case['rows'])
  data = text.getvalue().encode(case['encoding'], 'replace')
  if case['mangled'] is not None:
    at = case['mangled'] % (len(data) + 1)
    data = data[:at] + b'"' + data[at:]
  (top / 'manifest.csv').write_bytes(data)
  return (
    case['mangled'] is None
    and case['encoding'] in ('utf-8', 'utf-8-sig')
    and case['quoting'] != csv.QUOTE_NONE
    and case['line end'] != '\r'
  )


def check(case):
  with tempfile.TemporaryDirectory() as temporary:
    top = pathlib.Path(temporary) / 'folder'
    top.mkdir()
    is_plain = write(case, top)
    dataset = folder.Folder(
      folder=str(top),
      data_dir=str(pathlib.Path(temporary) / 'data'),
      file_format='array_record',
      skip_bad=case['skip_bad'],
    )
    try:
      found = list(dataset.utterances())
    except errors.InputError:
      hypothesis.event('a sentence')
      return
    clips = [item for item in found if isinstance(item, records.Utterance)]
    skipped = [item for item in found if isinstance(item, records.Skipped)]
    hypothesis.event('clips' if clips else 'skips alone')
    if skipped and clips:
      hypothesis.event('skips beside clips')
    # Each line is a clip or a skip with a reason, and none is there twice.
    assert len(clips) + len(skipped) == len(found) == dataset.num_utterances()
    assert all(item.reason for item in skipped)
    assert len({clip.id for clip in clips}) == len(clips)
    if is_plain:
      assert len(found) == len(case['rows'])
    for clip in clips:
      clip.id.encode()
      assert clip.pcm.dtype == np.int16
      assert len(clip.pcm)
      check_content(case, clip, is_plain)


def clip_id(path):
  name = unicodedata.normalize('NFC', path)
  return name.rpartition('.')[0].replace('/', '__')


def check_content(case, clip, is_plain):
  """Checks that the sound is that of the label, where both are known."""
  if not case['listed']:
    assert clip.label == 'sub'
    (path,) = (p for p in case['files'] if clip_id(p) == clip.id)
  elif is_plain and 'label' in case['columns']:
    number = int(clip.label.removeprefix('class '))
    (path,) = (p for p, (n, _, _) in case['files'].items() if n == number)
    assert clip.id in (clip_id(path), f'id {number}', 'the same')
  else:
    return
  number, _, is_level = case['files'][path]
  if is_level:
    assert set(clip.pcm.tolist()) == {level(number)}


def settings(max_examples, **kwargs):
  return hypothesis.settings(
    max_examples=max_examples,
    deadline=datetime.timedelta(seconds=20),
    suppress_health_check=list(hypothesis.HealthCheck),
    database=None,
    # A failing folder is told as it is: making it smaller takes minutes.
    phases=(hypothesis.Phase.generate,),
    **kwargs,
  )


@settings(100, derandomize=True)
@hypothesis.given(cases())
def test_a_hundred_folders_end_in_clips_skips_or_a_sentence(case):
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    check(case)


@pytest.mark.slow
@settings(max(1000, mutations.NUM))
@hypothesis.given(cases())
def test_a_thousand_folders_end_in_clips_skips_or_a_sentence(case):
  check(case)
