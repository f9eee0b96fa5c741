"""What is timed: models with parameters and clips, and what they compute."""

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from advspeech import (
  attacks,
  audio,
  input_pipeline,
  models,
  parallel,
  training,
)
from advspeech.models import frontend, layers, wavecnn
from advspeech.studies.gradients import analysis

if TYPE_CHECKING:  # a bare accelerator machine need not have it
  import ml_collections

NUM_EPSILONS = 20

# Of training steps, which take as long with any other.
RATE = np.float32(1e-3)
CLASSES = ('female', 'male')
# Direct convolutions forward, and as many again for each gradient.
PASSES = {
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
      len(CLASSES),
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
    jax.random.randint(keys[1], shape[:1], 0, len(CLASSES)),
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
    calls[f'{name} training step'] = training_call(subject)
    calls[f'{name} FGSM sweep'] = call(
      fgsm_sweep, variables, clips, label, epsilon_grid()
    )
  return calls


def training_parts(subject, batch_size, rematerialize=False):
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
    labels=rng.integers(0, len(CLASSES), num_clips).astype(np.int32),
  )


def training_call(subject: Subject) -> Callable[[], Any]:
  """Returns a call that trains a step on the subject's clips."""
  steps, state, split, mesh = training_parts(subject, len(subject.clips))
  batch = input_pipeline.step_arrays(
    next(input_pipeline.batches(split, len(split), mesh))
  )
  box = [state]

  def step():
    # The old state is donated.
    box[0], sums = steps.train(box[0], batch, RATE)
    return sums

  return step
