"""A short session with an accelerator: what a borrowed GPU or TPU can do.

One command measures, in the order of what matters most, and keeps every row as
soon as it has it: peaks of the device, the convolution's forms, training, the
sweep, gradient statistics, the CPU's answers, exact resume. Sections have a
share of the session; what does not fit in it is listed as not measured.

Programs are timed in streaks that are queued without waiting, after a warm-up,
on inputs larger than a cache or, where those are a layer's own, of the layer's
size; the median of several streaks counts.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from advspeech import (
  attacks,
  checkpoint,
  input_pipeline,
  models,
  parallel,
  preemption,
  sweep,
  training,
)
from advspeech.benchmark import computations, host
from advspeech.models import convolution, layers

if TYPE_CHECKING:  # a bare accelerator machine need not have it
  import ml_collections

# Seconds of each section, in their order; what one leaves is the next one's.
SECTIONS = {
  'peaks': 20,
  'convolutions': 170,
  'training': 130,
  'sweep': 100,
  'gradients': 30,
  'answers': 40,
  'resume': 60,
}
# XLA compiles in so many threads; each also tries out kernels on the device.
_COMPILING = 8
_DETERMINISTIC = '--xla_gpu_deterministic_ops=true'
# Clips of the whole corpus that Figure 6 is drawn from in the paper.
_FIGURE_6 = {'clips': 3171, 'epsilons': 20, 'seeds': 2}


@dataclasses.dataclass(frozen=True)
class Scale:
  """How much of everything is measured.

  Attributes:
    matmul_size: Rows and columns of the square matrices.
    copy_bytes: Of the array copied.
    conv_clips: Whose maps are convolved.
    batch_sizes: Of training steps, the paper's first.
    clips: Of a step of the sweep and of gradient statistics.
    figure_6_clips: Attacked for it.
    judged_clips: That the whole attack, with its controls, is made on.
    streak_s: Seconds of a timed streak.
  """

  matmul_size: int
  copy_bytes: int
  conv_clips: int
  batch_sizes: tuple[int, ...]
  clips: int
  figure_6_clips: int
  judged_clips: int
  streak_s: float


SCALES = {
  'paper': Scale(
    8192, 2**31, 64, (100, 32, 256, 1024), 128, _FIGURE_6['clips'], 128, 0.05
  ),
  'tiny': Scale(256, 2**20, 1, (4,), 4, 6, 2, 0.001),
}


class Session:
  """Rows measured so far, and the time that is left.

  Attributes:
    config: See configs/paper.py.
    scale: How much is measured.
  """

  def __init__(
    self,
    config: 'ml_collections.ConfigDict',
    scale: Scale,
    limit_s: float,
    keep: Callable[[str, list[dict[str, Any]]], None],
    tell: Callable[[str], None],
  ):
    """Starts the clock.

    Args:
      config: See configs/paper.py.
      scale: How much is measured.
      limit_s: Of the whole session.
      keep: Writes a section's rows so far.
      tell: Prints a line.
    """
    self.config = config
    self.scale = scale
    self._end = time.monotonic() + limit_s
    self._section_end = self._end
    self._keep = keep
    self._tell = tell
    self._section = ''
    self._rows: list[dict[str, Any]] = []

  def run(self, sections: Sequence[str] = tuple(SECTIONS)) -> None:
    """Measures the sections, one after another."""
    left = sum(SECTIONS[name] for name in sections)
    for name in sections:
      share = SECTIONS[name] / left
      left -= SECTIONS[name]
      self._section, self._rows = name, []
      self._section_end = time.monotonic() + share * self._left(self._end)
      self._tell(f'== {name}: {self._left(self._section_end):.0f} s at most')
      try:
        _MEASURES[name](self)
      except Exception as e:
        preemption.check_alone()
        # The device is lent for minutes: the other sections go on.
        self.add(failed=_line(e))

  def left_s(self) -> float:
    """Returns seconds left of this section."""
    return self._left(self._section_end)

  @staticmethod
  def _left(end):
    return end - time.monotonic()

  def add(self, **row: Any) -> None:
    """Keeps a row of the section, and prints it."""
    self._rows.append(row)
    self._keep(self._section, self._rows)
    self._tell('  '.join(f'{k} {_short(v)}' for k, v in row.items()))

  @contextlib.contextmanager
  def measuring(self, **row: Any) -> Iterator[dict[str, Any]]:
    """Yields a row to be filled in, and keeps it, with what went wrong if so.

    Args:
      **row: What is measured.
    """
    try:
      yield row
    except Exception as e:
      preemption.check_alone()  # a signal may end a compiler that XLA started
      row['failed'] = _line(e)
    self.add(**row)


def _line(error):
  """Returns what an exception says, in one line."""
  text = ' '.join(str(error).split())
  return f'{type(error).__name__}: {text[:200]}'


def _short(value):
  return f'{value:.4g}' if isinstance(value, float) else str(value)


def environment() -> dict[str, Any]:
  """Returns what results belong to: device, memory, versions, flags."""
  stats = jax.devices()[0].memory_stats() or {}
  return {
    **host.environment(),
    'device_memory_gb': stats.get('bytes_limit', 0) / 1e9,
    'xla_flags': os.environ.get('XLA_FLAGS', ''),
  }


def _compile(programs: Mapping[Any, tuple[Callable, tuple]]) -> dict:
  """Returns compiled programs, or the exceptions, by the names given."""

  def one(item):
    name, (fn, args) = item
    started = time.monotonic()
    try:
      compiled = fn.lower(*args).compile()
    except Exception as e:
      return name, e
    return name, (compiled, time.monotonic() - started)

  with concurrent.futures.ThreadPoolExecutor(_COMPILING) as pool:
    return dict(pool.map(one, programs.items()))


def _unpack(found):
  """Returns what `_compile` found, or raises it."""
  if isinstance(found, Exception):
    raise found
  return found


def _seconds(session, call: Callable[[], Any], streaks: int = 5) -> float:
  """Returns the median seconds of a call, over streaks of calls in a row."""
  jax.block_until_ready(call())
  started = time.perf_counter()
  jax.block_until_ready(call())
  once = time.perf_counter() - started
  in_a_row = max(1, round(session.scale.streak_s / max(once, 1e-6)))
  found = []
  for _ in range(streaks):
    started = time.perf_counter()
    for _ in range(in_a_row):
      out = call()
    jax.block_until_ready(out)
    found.append((time.perf_counter() - started) / in_a_row)
  return statistics.median(found)


def _peaks(session):
  """Adds products' and copies' rates, and what each precision rounds away."""
  size = session.scale.matmul_size
  keys = jax.random.split(jax.random.key(0), 2)
  small = [np.asarray(jax.random.normal(k, (256, 256))) for k in keys]
  exact = np.matmul(*(x.astype(np.float64) for x in small))
  for name, (dtype, precision) in models.PRECISIONS.items():
    with session.measuring(what='matrix product', precision=name) as row:
      product = jax.jit(functools.partial(jnp.matmul, precision=precision))
      a, b = (jax.random.normal(key, (size, size), dtype) for key in keys)
      seconds = _seconds(session, functools.partial(product, a, b))
      row['tflop_per_s'] = 2 * size**3 / seconds / 1e12
      # Whether the precision asked for is the one that was had.
      approximate = product(*(jnp.asarray(x, dtype) for x in small))
      error = np.asarray(approximate, np.float64) - exact
      row['relative_error'] = float(
        np.linalg.norm(error) / np.linalg.norm(exact)
      )
  with session.measuring(what='copy') as row:
    x = jax.random.normal(keys[0], (session.scale.copy_bytes // 4,))
    copy = jax.jit(lambda x: x + 1)
    seconds = _seconds(session, functools.partial(copy, x))
    row['gb_per_s'] = 2 * x.nbytes / seconds / 1e9


_FORMS = {
  'direct': convolution.conv1d_direct,
  'space to depth 2': 2,
  'space to depth 4': 4,
  'space to depth 8': 8,
  'space to depth 16': 16,
  'space to depth 32': 32,
  'toeplitz': convolution.conv1d_toeplitz,
  'toeplitz 10': functools.partial(convolution.conv1d_toeplitz, block=10),
  'spectral': convolution.conv1d_spectral,
}


def _form(name):
  form = _FORMS[name]
  if isinstance(form, int):
    form = functools.partial(convolution.conv1d_space_to_depth, block=form)
  return form


def _forms(length, channels):
  """Yields the forms that may be the fastest for a map."""
  if channels == 1:
    yield from (
      'direct',
      'toeplitz 10',
      'space to depth 16',
      'space to depth 32',
    )
    return
  yield 'direct'
  if length >= 2 * layers.KERNEL_SIZE:
    yield from ('space to depth 4', 'space to depth 8', 'spectral')
    yield 'space to depth 2'
  else:
    yield from ('toeplitz', 'space to depth 4', 'spectral')


def _convolutions(session):
  """Adds times of the forms: convolution, bias, pooling and ReLU.

  Of the layers whose rows are frames; WaveCNN's others are 3 % of it.
  """
  config, clips = session.config, session.scale.conv_clips
  shapes = [
    (length, channels, rows * clips)
    for length, channels, rows in computations.layer_shapes(config, 'wavernn')
    if length >= 20
  ]
  shapes = shapes[1:4] + shapes[:1] + shapes[4:]  # the costly ones first
  for shape in shapes:
    for precision in ('tf32', 'float32', 'bfloat16'):
      for form in _forms(*shape[:2]):
        if session.left_s() < 10:
          session.add(not_measured=f'{precision}, {shape}, {form}')
        else:
          _convolution(session, shape, precision, form)


def _convolution(session, shape, precision, form):
  """Adds a form's times on one shape, if it can be compiled."""
  length, channels, rows = shape
  dtype, products = models.PRECISIONS[precision]
  size, features = layers.KERNEL_SIZE, session.config.model.features
  keys = jax.random.split(jax.random.key(0), 3)
  args = (
    jax.random.normal(keys[0], shape, dtype),
    jax.random.normal(keys[1], (size, channels, features), dtype),
    jax.random.normal(keys[2], (-(-length // 2), features, rows), dtype),
  )

  def block(x, kernel):
    maps = _form(form)(x, kernel, products)
    return jax.nn.relu(layers.max_pool(maps) + jnp.asarray(0.1, maps.dtype))

  programs = {
    'forward': lambda x, kernel, weight: block(x, kernel),
    'both gradients': lambda x, kernel, weight: jax.vjp(block, x, kernel)[1](
      weight
    ),
  }
  started = time.monotonic()
  compiled = _compile({k: (jax.jit(f), args) for k, f in programs.items()})
  with session.measuring(
    length=length, channels=channels, precision=precision, form=form
  ) as row:
    row['compile_s'] = time.monotonic() - started
    for what in programs:
      run, _ = _unpack(compiled[what])
      call = functools.partial(run, *args)
      row[f'{what} ms'] = _seconds(session, call, 3) * 1e3
    flops = 2 * size * channels * features * length * rows
    row['forward TFLOP/s'] = flops / row['forward ms'] / 1e9


def _training(session):
  """Adds training steps by model, precision and batch size."""
  sizes = session.scale.batch_sizes
  kinds = [(sizes[0], p) for p in ('float32', 'bfloat16', 'tf32')]
  kinds += [(s, p) for s in sizes[1:] for p in ('bfloat16', 'float32')]
  for size, precision in kinds:
    if session.left_s() < 15:
      session.add(not_measured=f'batch {size}, {precision}')
      continue
    programs = {}
    for name in models.NAMES:
      steps, state, batch = _training_step(
        session.config, name, size, precision
      )
      programs[name] = steps.train, (state, batch, computations.RATE)
    compiled = _compile(programs)
    for name, (_, (state, batch, rate)) in programs.items():
      with session.measuring(
        model=name, batch_size=size, precision=precision
      ) as row:
        run, row['compile_s'] = _unpack(compiled[name])
        row['temporary_gb'] = run.memory_analysis().temp_size_in_bytes / 1e9
        box = [state]

        def step(run=run, batch=batch, rate=rate, box=box):
          box[0], sums = run(box[0], batch, rate)  # the old state is donated
          return sums

        seconds = _seconds(session, step)
        row['ms'] = seconds * 1e3
        row['clips_per_s'] = size / seconds
        flops = 3 * computations.direct_flops(session.config, name) * size
        row['direct TFLOP/s'] = flops / seconds / 1e12


def _training_step(config, name, batch_size, precision):
  """Returns the compiled steps, a state, and a batch made on the device."""
  mesh = parallel.make_mesh(devices=jax.devices()[:1])
  subject = computations.make_subject(config, name, 1)
  num_samples = subject.clips.shape[1]
  steps = training.make_steps(
    subject.model(precision, norm_axis='data'),
    optax.scale_by_adam(),
    num_samples,
    mesh,
  )
  shapes = input_pipeline.abstract_batch(batch_size, num_samples, mesh)
  keys = jax.random.split(jax.random.key(1), 2)
  batch = {
    # What augmentation alone looks at.
    **{key: jnp.zeros(x.shape, x.dtype) for key, x in shapes.items()},
    'audio': 0.5 + 0.1 * jax.random.normal(keys[0], shapes['audio'].shape),
    'label': jax.random.randint(keys[1], (batch_size,), 0, 2),
    'valid': jnp.ones(batch_size),
  }
  batch = jax.device_put(
    batch, {key: shape.sharding for key, shape in shapes.items()}
  )
  return steps, steps.init(jax.random.key(0)), batch


def _sweep(session):
  """Adds the FGSM sweep, Figure 6 whole, and the attack with its controls."""
  config, clips = session.config, session.scale.clips
  subjects = {
    name: computations.make_subject(config, name, clips)
    for name in models.NAMES
  }
  epsilons = computations.epsilon_grid()
  steps = {}
  for precision in ('float32', 'bfloat16'):
    pair = {
      name: dataclasses.replace(subject, precision=precision)
      for name, subject in subjects.items()
    }
    steps[precision] = (
      jax.jit(functools.partial(_figure_6_step, pair)),
      (
        {name: s.variables for name, s in pair.items()},
        subjects['wavecnn'].clips,
        subjects['wavecnn'].label,
        epsilons,
      ),
    )
  compiled = _compile(steps)
  for precision, (_, args) in steps.items():
    with session.measuring(
      what=f'FGSM on wavecnn, {len(epsilons)} epsilons, judged by both',
      precision=precision,
      clips=clips,
    ) as row:
      run, row['compile_s'] = _unpack(compiled[precision])
      seconds = _seconds(session, functools.partial(run, *args), 2)
      row['clips_per_s'] = clips / seconds
      flops = _figure_6_flops(config, len(epsilons)) * clips
      row['direct TFLOP/s'] = flops / seconds / 1e12
  with session.measuring(
    what='Figure 6 whole',
    precision='float32',
    clips=session.scale.figure_6_clips,
    epsilons=len(epsilons),
    seeds=_FIGURE_6['seeds'],
    models=len(models.NAMES),
  ) as row:
    run, _ = _unpack(compiled['float32'])
    row['seconds'] = _figure_6(session, run, subjects)
  for memory_mb, batch_size in ((2048, 20), (16384, 128)):
    if session.left_s() < 10:
      session.add(not_measured=f'launch.attack, sweep.memory_mb={memory_mb}')
      continue
    _judge(session, subjects, memory_mb, batch_size)


def _figure_6_step(subjects, variables, clips, label, epsilons):
  """Returns classes, [models, epsilons, batch]: one gradient, then forwards."""
  nets = {name: subject.model() for name, subject in subjects.items()}

  def logits(name, clips):
    return nets[name].apply(variables[name], clips, train=False)

  direction = attacks.gradient_sign(
    lambda x: attacks.cross_entropy(logits('wavecnn', x), label), clips
  )

  def judge(epsilon):
    perturbed = attacks.perturb(clips, direction, epsilon[None])[0]
    return jnp.stack([jnp.argmax(logits(name, perturbed), -1) for name in nets])

  return jax.lax.map(judge, epsilons).swapaxes(0, 1)


def _figure_6_flops(config, num_epsilons):
  gradient = 2 * computations.direct_flops(config, 'wavecnn')
  forwards = sum(
    computations.direct_flops(config, name) for name in models.NAMES
  )
  return gradient + num_epsilons * forwards


def _figure_6(session, run, subjects):
  """Returns seconds of attacking all clips, from 16-bit ones in memory."""
  clips = session.scale.clips
  num_clips, num_samples = (
    session.scale.figure_6_clips,
    subjects['wavecnn'].clips.shape[1],
  )
  pcm = (
    np.random.default_rng(0)
    .integers(-3000, 3000, (clips, num_samples))
    .astype(np.int16)
  )
  decode = jax.jit(lambda pcm: 0.5 + pcm.astype(jnp.float32) / 65536)
  variables = {name: s.variables for name, s in subjects.items()}
  label, epsilons = subjects['wavecnn'].label, computations.epsilon_grid()
  started = time.perf_counter()
  found = []
  for _ in range(_FIGURE_6['seeds']):
    for _ in range(0, num_clips, clips):
      batch = decode(jax.device_put(pcm))
      found.append(run(variables, batch, label, epsilons))
  jax.device_get(found)
  return time.perf_counter() - started


def _judge(session, subjects, memory_mb, batch_size):
  """Adds the attack as launch.attack makes it, a cell of it."""
  config = session.config.copy_and_resolve_references()
  config.sweep.memory_mb, config.sweep.batch_size = memory_mb, batch_size
  num = session.scale.judged_clips
  epsilons = sweep.parse_epsilons(config.sweep.epsilons)
  judge = host.judge_call(config, subjects, num, epsilons)
  with session.measuring(
    what='launch.attack: formats, controls, both models',
    precision='float32',
    epsilons=len(epsilons),
    memory_mb=memory_mb,
    batch_size=batch_size,
    clips=num,
  ) as row:
    started = time.perf_counter()
    judge()
    first = time.perf_counter() - started
    if session.left_s() < 2 * first:
      row['clips_per_s, compiling included'] = num / first
      return
    started = time.perf_counter()
    judge()
    row['clips_per_s'] = num / (time.perf_counter() - started)


def _gradients(session):
  """Adds input gradients and what the study of gradients records of them."""
  for name in models.NAMES:
    subject = computations.make_subject(
      session.config, name, session.scale.clips
    )
    args = (subject.variables, subject.clips, subject.label)
    mask = jnp.ones_like(subject.clips)
    compiled = _compile(
      {
        'input gradient': (
          jax.jit(functools.partial(computations.input_gradient, subject)),
          args,
        ),
        'gradient statistics': (
          jax.jit(functools.partial(computations.gradient_statistics, subject)),
          (*args, mask),
        ),
      }
    )
    for what, extra in (
      ('input gradient', ()),
      ('gradient statistics', (mask,)),
    ):
      with session.measuring(model=name, what=what) as row:
        run, row['compile_s'] = _unpack(compiled[what])
        seconds = _seconds(session, functools.partial(run, *args, *extra))
        row['clips_per_s'] = session.scale.clips / seconds
        flops = 2 * computations.direct_flops(session.config, name)
        row['direct TFLOP/s'] = flops * session.scale.clips / seconds / 1e12


def _answers(session):
  """Adds how far logits and gradients are from float64 ones of the CPU."""
  num = 2
  for name in models.NAMES:
    subject = computations.make_subject(session.config, name, num)
    variables, clips, label = (
      jax.device_get(x)
      for x in (subject.variables, subject.clips, subject.label)
    )
    cpu = jax.devices('cpu')[0]
    with jax.enable_x64(True), jax.default_device(cpu):
      wide = jax.tree.map(
        lambda x: jnp.asarray(x, jnp.float64), (variables, clips)
      )
      exact = jax.device_get(_answer(subject, 'float64', *wide, label))
    rows = [(p, None) for p in models.PRECISIONS]
    if not parallel.is_host():
      rows.append(('float32', cpu))
    for precision, device in rows:
      with session.measuring(
        model=name,
        precision=precision,
        device=(device or jax.devices()[0]).platform,
      ) as row:
        with jax.default_device(device) if device else contextlib.nullcontext():
          logits, gradient = jax.device_get(
            _answer(subject, precision, variables, clips, label)
          )
        row['logits_error'] = _relative(logits, exact[0])
        row['gradient_error'] = _relative(gradient, exact[1])
        same = np.sign(gradient) == np.sign(exact[1])
        row['sign_agreement'] = float(same.mean())
        row['same_classes'] = bool(
          (logits.argmax(-1) == exact[0].argmax(-1)).all()
        )


def _answer(subject, precision, variables, clips, label):
  model = subject.model(precision)

  def both(variables, clips):
    def loss(clips):
      logits = model.apply(variables, clips, train=False)
      return attacks.cross_entropy(logits, label).sum(), logits

    gradient, logits = jax.grad(loss, has_aux=True)(clips)
    return logits, gradient

  return jax.jit(both)(variables, clips)


def _relative(value, exact):
  error = np.asarray(value, np.float64) - exact
  return float(np.linalg.norm(error) / np.linalg.norm(exact))


def _resume(session):
  """Adds whether training goes on to the same bits, with and without the flag.

  With it in a process of its own: XLA reads flags when it starts.
  """
  for name in models.NAMES:
    with session.measuring(
      model=name, xla_flags=os.environ.get('XLA_FLAGS', '')
    ) as row:
      row.update(_resumed(session, name))
  if _DETERMINISTIC in os.environ.get('XLA_FLAGS', ''):
    return
  if parallel.platform() != 'gpu' or session.left_s() < 20:
    return
  flags = f'{os.environ.get("XLA_FLAGS", "")} {_DETERMINISTIC}'.strip()
  code = (
    'import json, sys; from advspeech.benchmark import accelerator; '
    'accelerator.resume_alone(json.loads(sys.argv[1]), sys.argv[2])'
  )
  config = session.config.to_json()
  scale = next(k for k, v in SCALES.items() if v is session.scale)
  done = subprocess.run(
    [sys.executable, '-c', code, config, scale],
    env={**os.environ, 'XLA_FLAGS': flags},
    stdout=subprocess.PIPE,
    text=True,
    timeout=session.left_s(),
    check=True,
  )
  for line in done.stdout.splitlines():
    if line.startswith('{'):
      session.add(**json.loads(line))


def resume_alone(config: Mapping[str, Any], scale: str) -> None:
  """Prints the rows of `resume`, each a line of JSON, in a new process.

  Args:
    config: See configs/paper.py.
    scale: One of `SCALES`.
  """
  import ml_collections

  session = Session(
    ml_collections.ConfigDict(config),
    SCALES[scale],
    sum(SECTIONS.values()),
    keep=lambda section, rows: print(json.dumps(rows[-1]), flush=True),
    tell=lambda line: None,
  )
  session.run(['resume'])


def _resumed(session, name):
  """Returns whether two steps, a save, a restore and two more are as four."""
  size = session.scale.batch_sizes[0]
  steps, state, batch = _training_step(session.config, name, size, 'float32')
  run = steps.train.lower(state, batch, computations.RATE).compile()

  def taken(state, num):
    for _ in range(num):
      state, _ = run(state, batch, computations.RATE)
    return state

  whole = jax.device_get(taken(steps.init(jax.random.key(0)), 4))
  again = jax.device_get(taken(steps.init(jax.random.key(0)), 4))
  half = taken(steps.init(jax.random.key(0)), 2)
  described = {'model': {'name': name}}
  with (
    tempfile.TemporaryDirectory() as folder,
    checkpoint.Checkpoints(folder) as checkpoints,
  ):
    checkpoints.save(2, described, {}, None, state=half)
    checkpoints.wait()
    restored = checkpoints.restore(2, described, state=half)['state']
  resumed = jax.device_get(taken(restored, 2))
  return {
    'same_bits_again': _same_bits(whole, again),
    'same_bits_resumed': _same_bits(whole, resumed),
  }


def _same_bits(a, b):
  return all(
    np.array_equal(x, y)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )


_MEASURES = {
  'peaks': _peaks,
  'convolutions': _convolutions,
  'training': _training,
  'sweep': _sweep,
  'gradients': _gradients,
  'answers': _answers,
  'resume': _resume,
}
