"""What the text of a compiled program says of its cost."""

import collections
import re
from collections.abc import Iterator
from typing import NamedTuple

KINDS = (
  'all-reduce',
  'all-gather',
  'all-to-all',
  'collective-permute',
  'reduce-scatter',
)
_COMPUTATION = re.compile(r'^(ENTRY )?%?([^\s(]+) \(.*\{$')
_INSTRUCTION = re.compile(r'^\s+(?:ROOT )?%?\S+ = (.*?) ([a-z][a-z0-9-]*)\(')
_CALLED = re.compile(
  r'(?:body|calls|to_apply|true_computation|false_computation)=%?([^\s,}]+)'
)
_BRANCHES = re.compile(r'branch_computations=\{([^}]*)\}')
_CONDITION = re.compile(r'condition=%?([^\s,}]+)')
_KNOWN_TRIPS = re.compile(r'known_trip_count[^}]*?"n":"(\d+)"')
_INTEGER = re.compile(r' = s32\[\]\S* constant\((-?\d+)\)')
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_ARRAY = re.compile(r'\b([a-z]+)(\d*)[a-z0-9]*\[([\d,]*)\]')
# Their cost is reported for the whole instruction, not for what it calls.
_WHOLE = ('fusion', 'reduce', *KINDS)


class Collectives(NamedTuple):
  """Collectives of one kind.

  Attributes:
    num: How many are done in a run of the program.
    num_bytes: Of their results, on one device.
  """

  num: int
  num_bytes: int


class _Instruction(NamedTuple):
  """One line of a program, and how often it is run."""

  shape: str
  opcode: str
  line: str
  times: int


def collectives(text: str) -> dict[str, Collectives]:
  """Returns the collectives of a compiled program, by kind.

  Args:
    text: As `compiled.as_text()` gives it.
  """
  num = collections.Counter()
  num_bytes = collections.Counter()
  for instruction in _run(text):
    kind = instruction.opcode.removesuffix('-start')
    if kind not in KINDS:
      continue
    shape = instruction.shape
    if instruction.opcode != kind and kind != 'all-reduce':
      shape = _parts(shape)[1]  # the start of one names what is sent first
    arrays = _ARRAY.findall(shape)
    num[kind] += instruction.times
    num_bytes[kind] += instruction.times * sum(map(_num_bytes, arrays))
  return {kind: Collectives(num[kind], num_bytes[kind]) for kind in num}


def _parts(shape):
  """Returns what a tuple consists of: arrays, or tuples of them."""
  parts, depth = [''], 0
  for character in shape[1:-1]:
    depth += (character in '([{') - (character in ')]}')
    if character == ',' and not depth:
      parts.append('')
    else:
      parts[-1] += character
  return parts


def estimated_cycles(text: str) -> int | None:
  """Returns the TPU compiler's own estimate of a program's cycles.

  The sum over its instructions, those of a loop as often as it goes round; not
  a measurement, and without collectives, which have no estimate. None for a
  program that carries none.

  Args:
    text: As `compiled.as_text()` gives it.
  """
  cycles = [
    int(found[1]) * instruction.times
    for instruction in _run(text)
    if (found := _CYCLES.search(instruction.line))
  ]
  return sum(cycles) if cycles else None


def _run(text: str) -> Iterator[_Instruction]:
  """Yields every instruction of a program that is run, with how often."""
  computations, entry = _computations(text)
  waiting = [(entry, 1)]
  while waiting:
    name, times = waiting.pop()
    for line in computations[name]:
      found = _INSTRUCTION.match(line)
      if not found:
        continue
      shape, opcode = found.groups()
      yield _Instruction(shape, opcode, line, times)
      if opcode.removesuffix('-start') in _WHOLE:
        continue
      rounds = 1
      if opcode == 'while':
        rounds = _num_rounds(line, computations)
      called = _CALLED.findall(line)
      for branches in _BRANCHES.findall(line):
        called += [name.strip().lstrip('%') for name in branches.split(',')]
      waiting += [(name, times * rounds) for name in called]


def _computations(text):
  """Returns the lines of each computation by name, and the entry's name."""
  computations, lines, entry = {}, [], ''
  for line in text.splitlines():
    if header := _COMPUTATION.match(line):
      lines = computations[header[2]] = []
      entry = header[2] if header[1] else entry
    else:
      lines.append(line)
  return computations, entry


def _num_rounds(line, computations):
  """Returns how often a loop goes round; 1 where its text does not say.

  JAX counts up from 0 to a constant, the only one of the loop's condition.
  """
  if known := _KNOWN_TRIPS.search(line):
    return int(known[1])
  condition = '\n'.join(computations[_CONDITION.search(line)[1]])
  constants = _INTEGER.findall(condition)
  return max(1, int(constants[0])) if len(constants) == 1 else 1


def _num_bytes(array):
  """Returns the bytes of (letters, bits, sides) of an array's type."""
  _, bits, sides = array
  num = int(bits or 8) // 8  # pred is a byte
  for side in filter(None, sides.split(',')):
    num *= int(side)
  return num
