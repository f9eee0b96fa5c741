"""What compiled programs cost: memory, collectives, estimated time, hours."""

import re
import time
from typing import Any, NamedTuple

import jax
import ml_collections

from advspeech import errors, experiment, holdout
from advspeech.plan import chips, hlo, programs

# IEMOCAP's clips (paper, "Dataset").
PAPER_NUM_CLIPS = 10_039
# Memory grows in steps of whole tiles: below so many clips a chip not evenly.
_EVEN_CLIPS = 8
_TRIES, _STEP_BACK = 4, 0.9
# libtpu says it in two ways; first comes what is needed, then what there is.
_NO_ROOM = re.compile(
  r'out of memory[^.]*hbm.*?\b([\d.]+)([KMGT])\b.*?\b([\d.]+)([KMGT])\b',
  re.IGNORECASE,
)
_GIB = 2**30
# What decides how many clips a program takes at a time, where the user does.
_DECIDED_BY = {
  'training': 'training.batch_size',
  'evaluation': 'training.batch_size',
  'sweep': 'sweep.memory_mb',
}
_UNITS = {'K': 2**10, 'M': 2**20, 'G': _GIB, 'T': 2**40}


class Corpus(NamedTuple):
  """How many clips there are.

  Attributes:
    origin: Where the numbers are from, for the reader.
    num_clips: By split.
    num_classes: Of the task.
  """

  origin: str
  num_clips: dict[str, int]
  num_classes: int


class _NoRoom(Exception):
  """A program needs more memory than a chip has; both in bytes."""

  def __init__(self, used: float, limit: float):
    self.used, self.limit = used, limit


def corpus_of(
  config: ml_collections.ConfigDict, num_clips: int | None = None
) -> Corpus:
  """Returns the size of a corpus.

  Args:
    config: See configs/paper.py.
    num_clips: Of the whole corpus; None for the config's where it is prepared,
      and otherwise for the paper's.
  """
  if num_clips is None and experiment.is_prepared(config):
    num_classes, counts = experiment.count_clips(config)
    return Corpus(f'corpus {config.corpus.name}', counts, num_classes)
  origin = '--num_clips' if num_clips else "the paper's corpus"
  num_clips = num_clips or PAPER_NUM_CLIPS
  counts = {
    split: max(1, round(num_clips * fraction))
    for split, fraction in zip(holdout.SPLITS, holdout.FRACTIONS, strict=True)
  }
  num_classes = len(config.classes) or (4 if config.task == 'speaker' else 2)
  return Corpus(origin, counts, num_classes)


def cost(
  program: programs.Program,
  chip: chips.Chip | None,
  corpus: Corpus,
  config: ml_collections.ConfigDict,
) -> dict[str, Any]:
  """Returns what a program costs, JSON-like.

  What the compiler estimates is left out where it does not, on a CPU.

  Args:
    program: Which one.
    chip: What it is compiled for; None for the host's processors.
    corpus: What it is run on.
    config: See configs/paper.py.

  Raises:
    errors.InputError: If it does not fit the chip's memory.
  """
  try:
    compiled, seconds = _compile(program)
  except _NoRoom as e:
    raise errors.InputError(_no_room(program, e)) from e
  text = compiled.as_text()
  row = {
    'program': program.name,
    'part': program.part,
    'model': program.model,
    'num_chips': program.num_devices,
    'num_clips': program.num_clips,
    'asked_clips': program.asked_clips,
    'clips_a_chip': program.num_clips / program.num_devices,
    'memory_bytes': _memory_bytes(compiled),
    # One device has nobody to send to.
    'collectives': {
      kind: found._asdict()
      for kind, found in hlo.collectives(text).items()
      if program.num_devices > 1
    },
    'compile_s': seconds,
  }
  cycles = hlo.estimated_cycles(text)
  if chip and cycles:
    step_s = cycles / chip.clock_hz
    flops = program.flops_per_clip * row['clips_a_chip']
    num_steps, what = _work(program, corpus, config)
    row |= {
      'estimated_step_ms': step_s * 1e3,
      'estimated_share_of_peak': flops / step_s / chip.bf16_flops,
      'estimated_clips_per_s': program.num_clips / step_s,
      'estimated_hours': num_steps * step_s / 3600,
      'work': what,
      'num_steps': num_steps,
    }
  return row


def largest_batch(
  run: programs.Run, row: dict[str, Any], chip: chips.Chip, num_clips: int
) -> dict[str, Any]:
  """Returns the largest training batch that fits, as far as it was found.

  Memory is taken to grow evenly between two batches, and what then should fit
  is compiled to see.

  Args:
    run: What is planned.
    row: What the model's training step costs with the config's batch.
    chip: What it is compiled for.
    num_clips: There are to train on; no batch has more use than all.
  """
  num_chips, clips = row['num_chips'], row['clips_a_chip']
  most = -(-num_clips // (num_chips * _EVEN_CLIPS)) * _EVEN_CLIPS
  found = {clips: row['memory_bytes']}

  def memory(clips):
    program = programs.training(run, row['model'], round(clips * num_chips))
    return _memory_bytes(_compile(program)[0])

  other = min(most, max(_EVEN_CLIPS, 2 * clips))
  if other <= clips:
    return _largest(found, num_chips)
  try:
    found[other] = memory(other)
    # A byte a clip at least, or there would be no end.
    slope = max(1.0, (found[other] - found[clips]) / (other - clips))
    clips = min(most, other + (chip.memory_bytes - found[other]) / slope)
    for _ in range(_TRIES):
      clips = _even(clips)
      if clips <= max(found):
        break
      try:
        found[clips] = memory(clips)
      except _NoRoom as e:
        clips *= min(_STEP_BACK, e.limit / e.used)
      else:
        break
  except _NoRoom:
    pass  # not even twice the config's batch fits
  return _largest(found, num_chips)


def _largest(found, num_chips):
  clips = max(found)
  return {
    'num_clips': round(clips * num_chips),
    'clips_a_chip': clips,
    'memory_bytes': found[clips],
  }


def _even(clips):
  return int(clips // _EVEN_CLIPS * _EVEN_CLIPS)


def _compile(program):
  """Returns the compiled program and the seconds that took."""
  started = time.monotonic()
  try:
    compiled = program.function.lower(*program.arguments).compile()
  except jax.errors.JaxRuntimeError as e:
    found = _NO_ROOM.search(str(e))
    if not found:
      raise
    used, used_unit, limit, limit_unit = found.groups()
    raise _NoRoom(
      float(used) * _UNITS[used_unit], float(limit) * _UNITS[limit_unit]
    ) from e
  return compiled, time.monotonic() - started


def _no_room(program, error):
  """Returns the sentence about a program that does not fit."""
  num_chips = program.num_devices
  clips = program.num_clips // num_chips
  most = int(clips * error.limit / error.used) * num_chips
  advice = ''
  if program.part in _DECIDED_BY:
    or_less = (
      f', to {most} or less' if program.part == 'training' and most else ''
    )
    advice = f'lower config.{_DECIDED_BY[program.part]}{or_less}, or '
  return (
    f'{program.name} needs {error.used / _GIB:.1f} GiB a chip for {clips} '
    f'clips on each of {num_chips}, which have {error.limit / _GIB:.1f}; '
    f'{advice}take larger or more chips'
  )


def _memory_bytes(compiled):
  """Returns what a program needs on one device, itself included."""
  memory = compiled.memory_analysis()
  return (
    memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    - memory.alias_size_in_bytes
    + memory.temp_size_in_bytes
    + memory.generated_code_size_in_bytes
  )


def _work(program, corpus, config):
  """Returns the steps of all of a program's work, and what that is."""
  epochs, clips = config.training.num_epochs, corpus.num_clips
  if program.part == 'training':
    num, times = clips['train'], epochs
    what = f'{epochs} epochs of {num:,} clips'
  elif program.part == 'evaluation':
    num, times = clips['validation'], epochs
    what = f'{num:,} validation clips after each of {epochs} epochs'
  else:
    key = 'sweep' if program.part == 'sweep' else 'gradients'
    limit = config[key].num_clips
    num, times = clips['test'], 1
    if limit != -1:
      num = min(num, limit)
    what = f'{num:,} test clips'
    if program.part == 'sweep':
      what += (
        f' in one of {program.num_attacks} attacks on this source (a method, a '
        'mask, a transform and a seed each, of different cost)'
      )
  return times * -(-num // program.num_clips), what
