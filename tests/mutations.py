"""Files as disks, copies and editors leave them, at random.

ADVSPEECH_FUZZ=2000 python -m pytest -n 0 -k mutated tests

for as many of each kind; a few are enough where code has not changed.
"""

import os

NUM = int(os.environ.get('ADVSPEECH_FUZZ', '12'))
# What is whole and not what is expected.
_OTHERS = (b'', b'null', b'{}', b'[]', b'0', b'"x"', b'\n', b'\0' * 100)


def mutate(rng, path):
  """Changes a file, or takes it away; returns what was done.

  Args:
    rng: NumPy's generator.
    path: Of the file, a pathlib.Path.
  """
  data = path.read_bytes()
  at = int(rng.integers(max(len(data), 1)))
  kind = rng.choice(
    ('flip', 'cut', 'line', 'twice', 'other', 'swap', 'folder', 'gone')
  )
  path.unlink()
  if kind == 'gone':
    return f'{path.name}: gone'
  if kind == 'folder':
    path.mkdir()
    return f'{path.name}: a folder'
  lines = data.splitlines(keepends=True) or [b'']
  number = int(rng.integers(len(lines)))
  if kind == 'flip':
    changed = bytearray(data or b'\0')
    changed[at] ^= 1 << int(rng.integers(8))
  elif kind == 'cut':
    changed = data[:at]
  elif kind == 'line':
    changed = b''.join(lines[:number] + lines[number + 1 :])
  elif kind == 'twice':
    changed = b''.join(lines[:number] + lines[number:][:1] + lines[number:])
  elif kind == 'swap':
    changed = data[at:] + data[:at]
  else:
    at = int(rng.integers(len(_OTHERS)))
    changed = _OTHERS[at]
  path.write_bytes(bytes(changed))
  return f'{path.name}: {kind} at {at}, line {number} of {len(lines)}'
