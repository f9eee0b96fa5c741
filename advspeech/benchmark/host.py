"""How fast everything is, as ratios to what this machine can do.

All calls are timed in one process, in turns, round after round: on a shared
machine ratios hold where seconds do not. The roofline of a computation is the
time that its direct convolutions would take at the rate of a large matrix
product measured in the same run; forms with fewer operations may beat it.
"""

import functools
import importlib.metadata
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from advspeech import audio, checkpoint, models, parallel, sweep
from advspeech.benchmark import computations, timing
from advspeech.models import convolution, layers, pooling

if TYPE_CHECKING:  # a bare accelerator machine need not have it
  import ml_collections


def measure_models(config, num_clips, rounds, extra=None) -> dict[str, Any]:
  """Returns the matmul rate and, by computation, time and share of roofline.

  Args:
    config: See configs/paper.py.
    num_clips: Clips a call.
    rounds: Times each call is timed.
    extra: Further calls, timed in the same turns.
  """
  calls = {
    'matmul': timing.matmul_call(),
    **computations.model_calls(config, num_clips),
    **(extra or {}),
  }
  seconds = timing.time_calls(calls, rounds)
  peak = 2 * timing.MATMUL_SIZE**3 / min(seconds.pop('matmul'))
  results = {'matmul_gflop_per_s': peak / 1e9, 'computations': {}}
  for name, times in seconds.items():
    row = _seconds(times, num_clips)
    if what := next(
      (what for what in computations.PASSES if name.endswith(what)), None
    ):
      # Other tools are timed on our WaveCNN; see `peers`.
      ours = 'wavernn' if name.startswith('wavernn') else 'wavecnn'
      flops = (
        computations.direct_flops(config, ours) * computations.PASSES[what]
      )
      row['direct_gflop_per_clip'] = flops / 1e9
      row['gflop_per_s'] = flops / row['seconds_per_clip'] / 1e9
      row['ratio_to_roofline'] = row['seconds_per_clip'] * peak / flops
    results['computations'][name] = row
  return results


def _seconds(times, num_clips):
  return {
    'seconds_per_clip': min(times) / num_clips,
    'median_seconds_per_clip': statistics.median(times) / num_clips,
  }


def measure_sweep(config, rounds) -> dict[str, Any]:
  """Returns how the sweep's time grows with clips and with epsilons.

  The model is seconds = clips * (a + b * epsilons): a is the gradient's share
  and b a forward's; the largest relative distance from it is reported too.
  `judge` is the attack of `launch.attack`: two models, noise control, saved
  formats.
  """
  counts = [(clips, num) for clips in (1, 2, 4) for num in (5, 10, 20, 40)]
  calls = {}
  for clips, num in counts:
    subject = computations.make_subject(config, 'wavecnn', clips)
    run = jax.jit(functools.partial(computations.fgsm_sweep, subject))
    calls[f'{clips} {num}'] = functools.partial(
      run,
      subject.variables,
      subject.clips,
      subject.label,
      computations.epsilon_grid(num),
    )
  subject = computations.make_subject(config, 'wavecnn', 1)
  calls['forward'] = functools.partial(
    jax.jit(functools.partial(computations.forward, subject)),
    subject.variables,
    subject.clips,
  )
  calls['gradient'] = functools.partial(
    jax.jit(functools.partial(computations.input_gradient, subject)),
    subject.variables,
    subject.clips,
    subject.label,
  )
  calls['judge'] = _judge_call(config)
  seconds = {k: min(v) for k, v in timing.time_calls(calls, rounds).items()}
  design = np.array([(c, c * n) for c, n in counts], float)
  times = np.array([seconds[f'{c} {n}'] for c, n in counts])
  weights = 1 / times
  (base, slope), *_ = np.linalg.lstsq(
    design * weights[:, None], times * weights, rcond=None
  )
  fitted = design @ (base, slope)
  return {
    'seconds': {
      f'{c} clips, {n} epsilons': seconds[f'{c} {n}'] for c, n in counts
    },
    'seconds_per_clip_and_epsilon': slope,
    'seconds_per_clip': base,
    'largest_relative_residual': float(np.abs(times / fitted - 1).max()),
    'forward_seconds_per_clip': seconds['forward'],
    'input_gradient_seconds_per_clip': seconds['gradient'],
    'judge_seconds_per_clip': seconds['judge'],
    'judge_forwards_per_clip': _JUDGE_EPSILONS
    * len(models.NAMES)
    * (len(sweep.FORMATS) + len(sweep.CONTROLS)),
  }


_JUDGE_EPSILONS = 2


def _judge_call(config):
  subjects = {
    name: computations.make_subject(config, name, 1) for name in models.NAMES
  }
  epsilons = sweep.parse_epsilons([0.001] * _JUDGE_EPSILONS)
  return judge_call(config, subjects, 1, epsilons)


def judge_call(
  config: 'ml_collections.ConfigDict',
  subjects: Mapping[str, computations.Subject],
  num_clips: int,
  epsilons: Sequence[audio.Epsilon],
) -> Callable[[], sweep.Judgements]:
  """Returns the attack of `launch.attack`: FGSM on WaveCNN, judged by all.

  Args:
    config: See configs/paper.py; of the sweep's settings.
    subjects: The judges by name, WaveCNN first.
    num_clips: Of noise, that are attacked.
    epsilons: Radii.
  """
  split = computations.random_split(
    num_clips, subjects['wavecnn'].clips.shape[1]
  )
  members = [
    sweep.Member(
      name,
      0,
      checkpoint.Classifier(
        model=subject.model(),
        variables=subject.variables,
        metadata={'classes': list(computations.CLASSES)},
        epoch=0,
      ),
      split.labels,
    )
    for name, subject in subjects.items()
  ]
  return functools.partial(
    sweep.judge,
    sweep.PlannedAttack(0, 'fgsm', 'all', '', False, epsilons),
    members,
    split,
    sweep.make_attack(config, 'fgsm'),
    sweep.make_settings(config, devices=jax.devices()[:1]),
  )


def measure_convolutions(config, rounds) -> list[dict[str, Any]]:
  """Returns, for each layer's shape and each form, milliseconds a clip.

  Of convolution, bias, pooling and ReLU: forward, with the gradient to the
  input, and with both gradients.
  """
  size, features = layers.KERNEL_SIZE, config.model.features
  calls = {}
  for length, channels, rows in dict.fromkeys(
    computations.layer_shapes(config, 'wavernn')
  ):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (length, channels, rows))
    kernel = jax.random.normal(keys[1], (size, channels, features))
    weight = jax.random.normal(keys[2], (-(-length // 2), features, rows))
    for form in _forms(length, channels):
      block = functools.partial(_block, _FORMS[form])
      for what, fn in (
        ('forward', lambda x, k, w, f=block: f(x, k)),
        (
          'input gradient',
          lambda x, k, w, f=block: jax.vjp(lambda x: f(x, k), x)[1](w),
        ),
        ('both gradients', lambda x, k, w, f=block: jax.vjp(f, x, k)[1](w)),
      ):
        calls[length, channels, form, what] = functools.partial(
          jax.jit(fn), x, kernel, weight
        )
  seconds = timing.time_calls(calls, rounds)
  rows = {}
  for (length, channels, form, what), times in seconds.items():
    row = rows.setdefault(
      (length, form), {'length': length, 'channels': channels, 'form': form}
    )
    row[what] = min(times) * 1e3
  return list(rows.values())


_FORMS = {
  'direct': convolution.conv1d_direct,
  'toeplitz': convolution.conv1d_toeplitz,
  'blocks of 10': functools.partial(convolution.conv1d_toeplitz, block=10),
  'spectral': convolution.conv1d_spectral,
}


def _forms(length, channels):
  """Yields the forms worth timing: some are hundreds of times too slow."""
  if length >= layers.KERNEL_SIZE:
    yield 'direct'
  if length <= 2 * layers.KERNEL_SIZE:
    yield 'toeplitz'
  if channels == 1:
    yield 'blocks of 10'
  else:
    yield 'spectral'


def _block(form, x, kernel):
  return jax.nn.relu(pooling.max_pool(form(x, kernel)) + 0.1)


def environment() -> dict[str, str]:
  """Returns the device and the versions that results belong to."""
  return {
    'device': parallel.device_summary(parallel.make_mesh()),
    'python': sys.version.split()[0],
    **{
      name: importlib.metadata.version(name)
      for name in ('jax', 'flax', 'numpy')
    },
  }


def format_models(results: Mapping[str, Any]) -> str:
  """Returns a table of `measure_models`."""
  lines = [
    f'matrix product: {results["matmul_gflop_per_s"]:.0f} GFLOP/s',
    f'{"":40}{"ms a clip":>10}{"GFLOP/s":>9}{"x roofline":>12}',
  ]
  for name, row in results['computations'].items():
    line = f'{name:40}{row["seconds_per_clip"] * 1e3:10.1f}'
    if 'ratio_to_roofline' in row:
      line += f'{row["gflop_per_s"]:9.0f}{row["ratio_to_roofline"]:12.2f}'
    lines.append(line)
  return '\n'.join(lines)


def format_rows(rows: Sequence[Mapping[str, Any]]) -> str:
  """Returns a table of rows that share their keys."""
  header = list(rows[0])
  cells = [header] + [
    [f'{v:.2f}' if isinstance(v, float) else str(v) for v in row.values()]
    for row in rows
  ]
  widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
  return '\n'.join(
    '  '.join(c.rjust(w) for c, w in zip(line, widths, strict=True))
    for line in cells
  )
