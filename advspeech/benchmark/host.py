"""How fast everything is, as ratios to what this machine can do.

All calls are timed in one process, in turns, round after round: on a shared
machine ratios hold where seconds do not. The roofline of a computation is the
time that its direct convolutions would take at the rate of a large matrix
product measured in the same run; forms with fewer operations may beat it.
"""

import dataclasses
import functools
import importlib.metadata
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from advspeech import (
  attacks,
  audio,
  checkpoint,
  input_pipeline,
  models,
  parallel,
  preemption,
  progress,
  sweep,
  training,
)
from advspeech.models import convolution, frontend, layers, wavecnn
from advspeech.studies.gradients import analysis

if TYPE_CHECKING:  # a bare accelerator machine need not have it
  import ml_collections

NUM_EPSILONS = 20
_MATMUL_SIZE = 2048
# Of training steps, which take as long with any other.
RATE = np.float32(1e-3)
_CLASSES = ('female', 'male')
# Direct convolutions forward, and as many again for each gradient.
_PASSES = {
  'forward': 1,
  'input gradient': 2,
  'gradient statistics': 2,
  'parameter gradient': 3,
  'training step': 3,
  'FGSM sweep': 2 + NUM_EPSILONS,
}


@dataclasses.dataclass(frozen=True)
class Subject:
  """A model with weights and clips to run it on.

  Attributes:
    name: 'wavecnn' or 'wavernn'.
    config: See configs/paper.py.
    variables: Random weights, with running statistics that fit the clips.
    clips: [batch, time] in [0, 1].
    label: [batch].
    precision: Of its computation; see `models.PRECISIONS`.
  """

  name: str
  config: 'ml_collections.ConfigDict'
  variables: dict[str, Any]
  clips: jax.Array
  label: jax.Array
  precision: str = 'float32'

  def model(self, precision: str | None = None, **options: Any):
    """Returns the unbound module; see `models.create_model`.

    Args:
      precision: The subject's if None.
      **options: Others than the config's.
    """
    return models.create_model(
      self.name,
      len(_CLASSES),
      **self.config.model.to_dict(),
      precision=precision or self.precision,
      **options,
    )


def make_subject(
  config: 'ml_collections.ConfigDict', name: str, num_clips: int
) -> Subject:
  """Returns a model of the config's size on random clips of its length."""
  keys = jax.random.split(jax.random.key(0), 3)
  shape = num_clips, round(config.clip_s * audio.SAMPLE_RATE_HZ)
  clips = audio.SILENCE + 0.1 * jax.random.normal(keys[0], shape)
  subject = Subject(
    name,
    config,
    {},
    jnp.clip(clips, 0, 1),
    jax.random.randint(keys[1], shape[:1], 0, len(_CLASSES)),
  )
  init = functools.partial(subject.model().init, train=False)
  variables = jax.jit(init)(keys[2], subject.clips[:1])
  # A few updates of the running statistics; untrained ones are 0 and 1.
  update = jax.jit(
    lambda variables: {
      **variables,
      **subject.model().apply(
        variables, subject.clips[:2], train=True, mutable=['batch_stats']
      )[1],
    }
  )
  for _ in range(20):
    variables = update(variables)
  return dataclasses.replace(subject, variables=variables)


def direct_flops(config: 'ml_collections.ConfigDict', name: str) -> int:
  """Returns operations a clip of the direct convolutions, forward."""
  return sum(
    2 * layers.KERNEL_SIZE * channels * config.model.features * length * rows
    for length, channels, rows in layer_shapes(config, name)
  )


def layer_shapes(
  config: 'ml_collections.ConfigDict', name: str
) -> list[tuple[int, int, int]]:
  """Returns (length, channels, rows a clip) of every convolution's input."""
  frame_samples = frontend.FRAME_MS * audio.SAMPLE_RATE_HZ // 1000
  samples = round(config.clip_s * audio.SAMPLE_RATE_HZ)
  rows = samples // frame_samples
  length, channels = frame_samples // config.model.input_pool, 1
  shapes = []
  for _ in range(frontend.NUM_LAYERS):
    shapes.append((length, channels, rows))
    length, channels = -(-length // 2), config.model.features
  if name == 'wavecnn':
    length *= rows
    for _ in range(wavecnn.NUM_LAYERS):
      shapes.append((length, channels, 1))
      length = -(-length // 2)
  return shapes


def forward(subject: Subject, variables, clips) -> jax.Array:
  """Returns logits, computed as `sweep` and evaluation do."""
  model = subject.model()
  return parallel.map_rows(
    lambda clips: model.apply(variables, clips, train=False),
    models.clips_at_once(model, *clips.shape),
    clips,
  )


def input_gradient(subject: Subject, variables, clips, label) -> jax.Array:
  """Returns the gradient of the loss to the clips, [batch, time]."""
  model = subject.model()

  def gradient(clips, label):
    def loss(clips):
      logits = model.apply(variables, clips, train=False)
      return attacks.cross_entropy(logits, label).sum()

    return jax.grad(loss)(clips)

  at_once = models.clips_at_once(model, *clips.shape)
  return parallel.map_rows(gradient, at_once, clips, label)


def gradient_statistics(subject: Subject, variables, clips, label, mask):
  """Returns what the study of gradients records, clip by clip."""
  fn = analysis.statistics_fn((subject.model(),), 'start')
  rows = {'audio': clips, 'label': label, 'mask': mask}
  at_once = models.clips_at_once(subject.model(), *clips.shape)
  return parallel.map_rows(lambda rows: fn((variables,), rows), at_once, rows)


def fgsm_sweep(subject: Subject, variables, clips, label, epsilons):
  """Returns predictions, [batch, num_epsilons]: one gradient, E forwards."""
  model = subject.model()

  def logits_fn(clips):
    return model.apply(variables, clips, train=False)

  def predictions(clips, label):
    direction = attacks.gradient_sign(
      lambda x: attacks.cross_entropy(logits_fn(x), label), clips
    )

    def predict(epsilon):
      perturbed = attacks.perturb(clips, direction, epsilon[None])[0]
      return jnp.argmax(logits_fn(perturbed), -1)

    return jax.lax.map(predict, epsilons).T

  at_once = models.clips_at_once(model, *clips.shape)
  return parallel.map_rows(predictions, at_once, clips, label)


def epsilon_grid(num_epsilons: int = NUM_EPSILONS) -> jax.Array:
  """Returns the radii swept, [num_epsilons]."""
  return jnp.linspace(0.001, 0.02, num_epsilons)


def _parameter_gradient(subject, variables, clips, label):
  def loss(params):
    logits, _ = subject.model().apply(
      {**variables, 'params': params},
      clips,
      train=True,
      mutable=['batch_stats'],
    )
    return attacks.cross_entropy(logits, label).mean()

  return jax.grad(loss)(variables['params'])


def model_calls(
  config: 'ml_collections.ConfigDict', num_clips: int
) -> dict[str, Callable[[], Any]]:
  """Returns '<model> <computation>' by name, compiled at the first call."""
  calls = {}
  for name in models.NAMES:
    subject = make_subject(config, name, num_clips)
    variables, clips, label = subject.variables, subject.clips, subject.label

    def call(fn, *args, subject=subject):
      return functools.partial(jax.jit(functools.partial(fn, subject)), *args)

    calls[f'{name} forward'] = call(forward, variables, clips)
    calls[f'{name} input gradient'] = call(
      input_gradient, variables, clips, label
    )
    calls[f'{name} gradient statistics'] = call(
      gradient_statistics, variables, clips, label, jnp.ones_like(clips)
    )
    calls[f'{name} parameter gradient'] = call(
      _parameter_gradient, variables, clips, label
    )
    calls[f'{name} training step'] = _training_call(subject)
    calls[f'{name} FGSM sweep'] = call(
      fgsm_sweep, variables, clips, label, epsilon_grid()
    )
  return calls


def _training_parts(subject, batch_size, rematerialize=False):
  """Returns the compiled steps, a state and a split of `batch_size` clips."""
  mesh = parallel.make_mesh(devices=jax.devices()[:1])
  model = subject.model(
    subject.config.training.precision,
    norm_axis='data',
    rematerialize=rematerialize,
  )
  steps = training.make_steps(
    model, optax.scale_by_adam(), subject.clips.shape[1], mesh
  )
  split = random_split(batch_size, subject.clips.shape[1])
  return steps, steps.init(jax.random.key(0)), split, mesh


def random_split(num_clips: int, num_samples: int) -> input_pipeline.Split:
  """Returns labelled clips of noise, the same every time."""
  rng = np.random.default_rng(0)
  return input_pipeline.Split(
    ids=np.array([f'clip-{i}' for i in range(num_clips)]),
    pcm=rng.normal(0, 3000, (num_clips, num_samples)).astype(np.int16),
    num_samples=np.full(num_clips, num_samples),
    labels=rng.integers(0, len(_CLASSES), num_clips).astype(np.int32),
  )


def _training_call(subject):
  steps, state, split, mesh = _training_parts(subject, len(subject.clips))
  batch = input_pipeline.step_arrays(
    next(input_pipeline.batches(split, len(split), mesh))
  )
  box = [state]

  def step():
    # The old state is donated.
    box[0], sums = steps.train(box[0], batch, RATE)
    return sums

  return step


def time_calls(
  calls: Mapping[str, Callable[[], Any]], rounds: int
) -> dict[str, list[float]]:
  """Returns seconds of each call, one a round, the calls taking turns.

  Each is called once beforehand, which compiles it.
  """
  seconds = {name: [] for name in calls}
  num_calls = len(calls) * (rounds + 1)
  with progress.Meter('timing', num_calls, 'call') as told:
    for number in range(rounds + 1):
      for name, call in calls.items():
        preemption.check_alone()
        started = time.perf_counter()
        jax.block_until_ready(call())
        if number:
          seconds[name].append(time.perf_counter() - started)
        told.update(str(name))
  return seconds


def matmul_call() -> Callable[[], jax.Array]:
  """Returns a product of two large square float32 matrices."""
  a = jax.random.normal(jax.random.key(0), (_MATMUL_SIZE, _MATMUL_SIZE))
  product = jax.jit(
    functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
  )
  return functools.partial(product, a, a)


def matmul_flop_per_s(rounds: int = 3) -> float:
  """Returns the rate of `matmul_call`, the best of a few rounds."""
  seconds = time_calls({'matmul': matmul_call()}, rounds)['matmul']
  return 2 * _MATMUL_SIZE**3 / min(seconds)


def measure_models(config, num_clips, rounds, extra=None) -> dict[str, Any]:
  """Returns the matmul rate and, by computation, time and share of roofline.

  Args:
    config: See configs/paper.py.
    num_clips: Clips a call.
    rounds: Times each call is timed.
    extra: Further calls, timed in the same turns.
  """
  calls = {
    'matmul': matmul_call(),
    **model_calls(config, num_clips),
    **(extra or {}),
  }
  seconds = time_calls(calls, rounds)
  peak = 2 * _MATMUL_SIZE**3 / min(seconds.pop('matmul'))
  results = {'matmul_gflop_per_s': peak / 1e9, 'computations': {}}
  for name, times in seconds.items():
    row = _seconds(times, num_clips)
    if what := next((what for what in _PASSES if name.endswith(what)), None):
      # Other tools are timed on our WaveCNN; see `peers`.
      ours = 'wavernn' if name.startswith('wavernn') else 'wavecnn'
      flops = direct_flops(config, ours) * _PASSES[what]
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
  and b a forward's; the largest relative distance from it is told too. `judge`
  is the attack of `launch.attack`: two models, noise control, saved formats.
  """
  counts = [(clips, num) for clips in (1, 2, 4) for num in (5, 10, 20, 40)]
  calls = {}
  for clips, num in counts:
    subject = make_subject(config, 'wavecnn', clips)
    run = jax.jit(functools.partial(fgsm_sweep, subject))
    calls[f'{clips} {num}'] = functools.partial(
      run, subject.variables, subject.clips, subject.label, epsilon_grid(num)
    )
  subject = make_subject(config, 'wavecnn', 1)
  calls['forward'] = functools.partial(
    jax.jit(functools.partial(forward, subject)),
    subject.variables,
    subject.clips,
  )
  calls['gradient'] = functools.partial(
    jax.jit(functools.partial(input_gradient, subject)),
    subject.variables,
    subject.clips,
    subject.label,
  )
  calls['judge'] = _judge_call(config)
  seconds = {k: min(v) for k, v in time_calls(calls, rounds).items()}
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
  subjects = {name: make_subject(config, name, 1) for name in models.NAMES}
  epsilons = sweep.parse_epsilons([0.001] * _JUDGE_EPSILONS)
  return judge_call(config, subjects, 1, epsilons)


def judge_call(
  config: 'ml_collections.ConfigDict',
  subjects: Mapping[str, Subject],
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
  split = random_split(num_clips, subjects['wavecnn'].clips.shape[1])
  members = [
    sweep.Member(
      name,
      0,
      checkpoint.Classifier(
        model=subject.model(),
        variables=subject.variables,
        metadata={'classes': list(_CLASSES)},
        epoch=0,
      ),
      split.labels,
    )
    for name, subject in subjects.items()
  ]
  return functools.partial(
    sweep.judge,
    sweep.Cell(0, 'fgsm', 'all', '', False, epsilons),
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
  for length, channels, rows in dict.fromkeys(layer_shapes(config, 'wavernn')):
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
  seconds = time_calls(calls, rounds)
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
  return jax.nn.relu(layers.max_pool(form(x, kernel)) + 0.1)


def measure_training(config, num_clips, num_steps=6) -> dict[str, Any]:
  """Returns what feeding the training step and evaluating cost.

  `host_waited_share` is the share of a step's time spent getting the next batch
  ready, measured as the training loop runs; `evaluation_over_forward` the time
  of WaveCNN's evaluation step in its forward passes; `lstm_share_of_forward`
  the part of WaveRNN's forward that is not its front end.
  """
  subject = make_subject(config, 'wavecnn', 1)
  steps, state, split, mesh = _training_parts(subject, num_clips * num_steps)
  fixed = next(input_pipeline.batches(split, num_clips, mesh))
  state, _ = steps.train(state, input_pipeline.step_arrays(fixed), RATE)

  def epoch(state, batches):
    jax.block_until_ready(state)
    started, waited = time.perf_counter(), 0.0
    for _ in range(num_steps):
      asked = time.perf_counter()
      batch = input_pipeline.step_arrays(next(batches))
      waited += time.perf_counter() - asked
      state, sums = steps.train(state, batch, RATE)
    jax.block_until_ready((state, sums))
    return state, time.perf_counter() - started, waited

  fed, again = [], []
  for _ in range(3):
    state, *timing = epoch(state, iter([fixed] * num_steps))
    again.append(timing)
    state, *timing = epoch(
      state, input_pipeline.batches(split, num_clips, mesh)
    )
    fed.append(timing)
  (again_s, _), (fed_s, waited_s) = min(again), min(fed)
  whole, front = _lstm_calls(config, num_clips)
  subject = make_subject(config, 'wavecnn', num_clips)
  seconds = time_calls(
    {
      'whole': whole,
      'front end': front,
      'forward': functools.partial(
        jax.jit(functools.partial(forward, subject)),
        subject.variables,
        subject.clips,
      ),
      'evaluation': functools.partial(
        steps.evaluate, state.variables, input_pipeline.step_arrays(fixed)
      ),
    },
    5,
  )
  return {
    'clips_per_s': num_clips * num_steps / fed_s,
    'same_batch_clips_per_s': num_clips * num_steps / again_s,
    'host_waited_share': waited_s / fed_s,
    'evaluation_over_forward': min(seconds['evaluation'])
    / min(seconds['forward']),
    'lstm_share_of_forward': 1
    - min(seconds['front end']) / min(seconds['whole']),
  }


def measure_input(config, num_clips, rounds, num_stored=400) -> dict[str, Any]:
  """Returns clips a second of each source of batches, and of WaveCNN's step.

  Batches arrive on the device as training takes them, from a data set of noise
  prepared in a temporary folder; the step takes one batch over and over.

  Args:
    config: See configs/paper.py.
    num_clips: Clips a batch.
    rounds: Epochs read of each source; the fastest counts.
    num_stored: Clips of the data set.
  """
  mesh = parallel.make_mesh(devices=jax.devices()[:1])
  with tempfile.TemporaryDirectory() as folder:
    in_memory, on_disk = _stored_splits(config, folder, num_stored)
    sources = {
      'memory': in_memory,
      'device': input_pipeline.put_on_devices(in_memory, mesh),
      'disk': on_disk,
    }

    def epoch(split):
      return [
        batch['audio']
        for batch in input_pipeline.batches(split, num_clips, mesh)
      ][-1]

    step = _training_call(make_subject(config, 'wavecnn', num_clips))
    seconds = time_calls(
      {
        'training step': step,
        **{name: functools.partial(epoch, s) for name, s in sources.items()},
      },
      rounds,
    )
  consumed = num_clips / min(seconds['training step'])
  rates = {name: num_stored / min(seconds[name]) for name in sources}
  return {
    'clips_per_s': rates,
    'training_clips_per_s': consumed,
    'ratio': {name: rate / consumed for name, rate in rates.items()},
  }


def _stored_splits(config, folder, num_clips):
  """Returns the same clips of noise in memory and as they lie on disk."""
  from advspeech import corpora

  num_samples = round(config.clip_s * audio.SAMPLE_RATE_HZ)
  for i, pcm in enumerate(random_split(num_clips, num_samples).pcm):
    path = os.path.join(folder, 'recordings', 'ab'[i % 2], f'{i}.wav')
    os.makedirs(os.path.dirname(path), exist_ok=True)
    audio.save(path, audio.from_pcm(pcm), 'PCM_16')
  where = {
    'folder': os.path.join(folder, 'recordings'),
    'data_dir': os.path.join(folder, 'data'),
  }
  corpora.prepare('folder', **where)
  for budget_bytes in (float('inf'), 0):
    corpus = corpora.read(
      'folder',
      num_samples=num_samples,
      memory_budget_bytes=budget_bytes,
      **where,
    )
    yield input_pipeline.Split(
      ids=corpus.ids,
      pcm=corpus.pcm,
      num_samples=corpus.num_samples,
      labels=(corpus.label == 'b').astype(np.int32),
    )


def _lstm_calls(config, num_clips):
  subject = make_subject(config, 'wavernn', num_clips)
  model = subject.model()
  variables, clips = subject.variables, subject.clips
  inner = {key: value['frontend'] for key, value in variables.items()}
  at_once = models.clips_at_once(model, *clips.shape)

  def front(variables, clips):
    def run(clips):
      maps = model.frontend.apply(variables, clips, train=False)
      return maps.sum((0, 1, 3))

    return parallel.map_rows(run, at_once, clips)

  whole = jax.jit(functools.partial(forward, subject))
  return (
    functools.partial(whole, variables, clips),
    functools.partial(jax.jit(front), inner, clips),
  )


def measure_memory(config, batch_size) -> dict[str, Any]:
  """Returns bytes of working memory, as the compiler plans it."""
  results = {}
  for precision in ('float32', 'bfloat16'):
    subject = make_subject(config, 'wavecnn', 1)
    model = subject.model(precision)

    def gradient(variables, clips, label, model=model):
      return jax.grad(
        lambda x: attacks.cross_entropy(
          model.apply(variables, x, train=False), label
        ).sum()
      )(clips)

    results[f'input gradient, {precision}, a clip'] = _temporary_bytes(
      jax.jit(gradient), subject.variables, subject.clips, subject.label
    )
  for name in models.NAMES:
    subject = make_subject(config, name, 1)
    steps, state, _, _ = _training_parts(subject, 1)
    lean, _, _, _ = _training_parts(subject, 1, rematerialize=True)
    batch = {
      'audio': jax.ShapeDtypeStruct(
        (batch_size, subject.clips.shape[1]), jnp.float32
      ),
      'label': jax.ShapeDtypeStruct((batch_size,), jnp.int32),
      'valid': jax.ShapeDtypeStruct((batch_size,), jnp.float32),
    }
    results[f'{name} training step, batch {batch_size}'] = _temporary_bytes(
      steps.train, state, batch, RATE
    )
    results[f'{name} training step, batch {batch_size}, rematerialized'] = (
      _temporary_bytes(lean.train, state, batch, RATE)
    )
  return results


def _temporary_bytes(fn, *args):
  return fn.lower(*args).compile().memory_analysis().temp_size_in_bytes


_IMPORTS = """
import sys, time
import jax, jax.numpy, flax.linen, optax
started = time.perf_counter()
from advspeech import attacks, models, parallel, training
print(time.perf_counter() - started)
"""


def measure_start(config, num_clips) -> dict[str, float]:
  """Returns seconds of imports beyond JAX, Flax and Optax, and of compiling."""
  done = subprocess.run(
    [sys.executable, '-c', _IMPORTS], capture_output=True, text=True, check=True
  )
  results = {'import': float(done.stdout)}
  for name in models.NAMES:
    subject = make_subject(config, name, num_clips)
    steps, state, split, mesh = _training_parts(subject, num_clips)
    batch = input_pipeline.step_arrays(
      next(input_pipeline.batches(split, num_clips, mesh))
    )
    run = jax.jit(functools.partial(fgsm_sweep, subject))
    for what, fn, args in (
      ('training step', steps.train, (state, batch, RATE)),
      (
        'FGSM sweep',
        run,
        (subject.variables, subject.clips, subject.label, epsilon_grid()),
      ),
    ):
      started = time.perf_counter()
      fn.lower(*args).compile()
      results[f'compile {name} {what}'] = time.perf_counter() - started
  return results


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
