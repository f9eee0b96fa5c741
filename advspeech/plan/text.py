"""A plan as people read it."""

from collections.abc import Mapping
from typing import Any

_ESTIMATE = "(compiler's estimate)"
_WIDTH = 24
_GIB = 2**30


def heading(results: Mapping[str, Any]) -> str:
  """Returns what a plan is of."""
  chip, corpus = results['chip'], results['corpus']
  versions = ', '.join(f'{n} {v}' for n, v in results['versions'].items())
  if chip:
    what = (
      f'{results["target"]}: {results["num_chips"]} chips of {chip["name"]}, '
      f'each with {chip["memory_bytes"] / _GIB:.0f} GiB and '
      f'{chip["bf16_flops"] / 1e12:.0f} TFLOP/s in bfloat16'
    )
    how = (
      "Compiled with the TPU's compiler and not run: times, shares and clips "
      "a second\nare the compiler's estimate, not a measurement. Without "
      'collectives and the\nreading of clips, which it does not estimate.'
    )
  else:
    what = f"{results['target']}: devices that this machine's processors are"
    how = (
      'Compiled and not run: for processors the compiler estimates no times. '
      'Take\n--topology for those of a TPU.'
    )
  clips = ', '.join(f'{num:,} {s}' for s, num in corpus['num_clips'].items())
  trainings = (
    f'{results["num_trainings"]} trainings (models and seeds), '
    f'{results["num_at_a_time"]} at a time.'
  )
  lines = [
    *(what, versions, how),
    f'Clips of {corpus["origin"]}: {clips}.',
    trainings,
  ]
  if results['left_out']:
    lines.append(
      f'What is no model of this run, {", ".join(results["left_out"])} '
      '(config.sweep.checkpoints and .victims), is left out,\nas source and as '
      'judge.'
    )
  return '\n'.join(lines)


def table(row: Mapping[str, Any], results: Mapping[str, Any]) -> str:
  """Returns a program's costs, one a line.

  Args:
    row: Of the program.
    results: The plan that it belongs to.
  """
  lines = [
    ('chips', f'{row["num_chips"]}'),
    ('clips a step', clips_a_step(row)),
    ('memory a chip', _memory(row['memory_bytes'], results['chip'])),
    ('collectives a step', _collectives(row['collectives'])),
  ]
  if 'estimated_step_ms' in row:
    lines += [
      ('time a step', f'{row["estimated_step_ms"]:.3g} ms {_ESTIMATE}'),
      (
        'share of bf16 peak',
        f'{row["estimated_share_of_peak"]:.1%} {_ESTIMATE}',
      ),
      ('clips a second', f'{row["estimated_clips_per_s"]:,.0f} {_ESTIMATE}'),
      (
        'in all',
        f'{_in_all(row["estimated_hours"])} for {row["work"]}, '
        f'{row["num_steps"]:,} steps {_ESTIMATE}',
      ),
    ]
  lines.append(('compile time', f'{row["compile_s"]:.0f} s on this machine'))
  return '\n'.join(
    [f'\n== {row["program"]}', *(f'{n:{_WIDTH}}{v}' for n, v in lines)]
  )


def largest_batch(row: Mapping[str, Any], results: Mapping[str, Any]) -> str:
  """Returns the largest training batch that was seen to fit, in a sentence.

  Args:
    row: Of the training step.
    results: The plan that it belongs to.
  """
  found = row['largest_batch']
  return (
    f'\n{row["program"]}: the largest batch is {found["num_clips"]:,} clips, '
    f'{found["clips_a_chip"]:.4g} a chip, which compiles to '
    f'{_memory(found["memory_bytes"], results["chip"])}'
  )


def clips_a_step(row: Mapping[str, Any]) -> str:
  """Returns in words how many clips a step takes, and why not those asked.

  Args:
    row: As `costs.cost` returns.
  """
  clips = f'{row["num_clips"]:,}, {row["clips_a_chip"]:.4g} a chip'
  if row['num_clips'] != row['asked_clips']:
    clips += (
      f' (the config asks for {row["asked_clips"]}, which {row["num_chips"]} '
      'chips cannot share evenly)'
    )
  return clips


def _in_all(hours):
  return f'{hours:.3g} h' if hours >= 0.01 else f'{3600 * hours:.3g} s'


def _memory(num_bytes, chip):
  size = f'{num_bytes / _GIB:.3g} GiB'
  if not chip:
    return size
  share = num_bytes / chip['memory_bytes']
  return f'{size} of {chip["memory_bytes"] / _GIB:.0f} GiB, {share:.1%}'


def _collectives(found):
  if not found:
    return 'none'
  return ', '.join(
    f'{c["num"]} {kind}, {c["num_bytes"] / 1e6:.3g} MB a chip'
    for kind, c in found.items()
  )
