"""The programs of a config, as they are compiled in a real run, unrun."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jax import sharding

from advspeech import (
  checkpoint,
  input_pipeline,
  over_clips,
  parallel,
  registry,
  sweep,
)
from advspeech.benchmark import computations
from advspeech.experiment import validation
from advspeech.models import create_model
from advspeech.studies.gradients import analysis
from advspeech.sweep import judging
from advspeech.training import (
  Steps,
  abstract_rate,
  augmentation,
  base_name,
  decay,
  defence,
  describe,
  make_model,
  make_steps,
  model_options,
)

# Direct convolutions of a training step forward, and as many for each gradient.
_TRAINING_PASSES = 3
_INPUT_GRADIENT_PASSES = 2


class Program(NamedTuple):
  """A function that a run compiles, and what it takes.

  Attributes:
    name: For the reader.
    part: 'training', 'evaluation', 'sweep' or 'gradients'.
    model: Whose; '' for all of a run.
    function: As jax.jit makes it.
    arguments: Shapes, types and placement.
    num_devices: How many it runs on.
    num_clips: That it takes at a time, on all of them.
    flops_per_clip: Operations of its convolutions, done directly.
    asked_clips: Clips a step that the config asks for.
    num_attacks: Of a sweep, on this source, of which it is the first.
  """

  name: str
  part: str
  model: str
  function: Callable[..., Any]
  arguments: tuple[Any, ...]
  num_devices: int
  num_clips: int
  flops_per_clip: int
  asked_clips: int
  num_attacks: int = 0


class Run(NamedTuple):
  """A config on devices.

  Attributes:
    config: See configs/paper.py.
    devices: All of the run's.
    num_classes: Of its task.
  """

  config: ml_collections.ConfigDict
  devices: Sequence[jax.Device]
  num_classes: int

  @property
  def clip_samples(self) -> int:
    """Returns a clip's length in samples."""
    return validation.clip_samples(self.config)

  @property
  def training_meshes(self) -> list[sharding.Mesh]:
    """Returns the devices of each training that goes on at a time."""
    return validation.training_meshes(self.config, self.devices)


def training(
  run: Run, model_name: str, batch_size: int | None = None
) -> Program:
  """Returns a model's training step.

  Args:
    run: What is planned.
    model_name: One of `config.models`.
    batch_size: The config's if None, filled up where the devices cannot share
      it evenly.
  """
  config, mesh = run.config, run.training_meshes[0]
  steps = training_steps(run, model_name, mesh)
  asked = batch_size or config.training.batch_size
  num_clips = _shared_evenly(asked, mesh)
  state = parallel.abstract_replicated(steps.init, mesh, jax.random.key(0))
  return Program(
    f'{model_name}, training step',
    'training',
    model_name,
    steps.train,
    (
      state,
      input_pipeline.abstract_batch(num_clips, run.clip_samples, mesh),
      abstract_rate(mesh),
    ),
    mesh.size,
    num_clips,
    _TRAINING_PASSES * _flops(config, model_name),
    asked,
  )


def evaluation(run: Run, model_name: str) -> Program:
  """Returns a model's evaluation step, in the midst of a training."""
  config, mesh = run.config, run.training_meshes[0]
  steps = training_steps(run, model_name, mesh)
  num_clips = _shared_evenly(config.training.batch_size, mesh)
  state = parallel.abstract_replicated(steps.init, mesh, jax.random.key(0))
  return Program(
    f'{model_name}, evaluation step',
    'evaluation',
    model_name,
    steps.evaluate,
    (
      state.variables,
      input_pipeline.abstract_batch(num_clips, run.clip_samples, mesh),
    ),
    mesh.size,
    num_clips,
    _flops(config, model_name),
    config.training.batch_size,
  )


def attack(run: Run, source_name: str) -> Program:
  """Returns the sweep's step: its first attack on a source, judged by all.

  Models of other runs, `config.sweep.checkpoints`, are not among the judges.
  """
  config, members = run.config, _members(run)
  plan = [
    planned
    for planned in sweep.plan(config, members)
    if members[planned.source].name == source_name
  ]
  planned = plan[0]
  program = judging.program_of(
    planned,
    members,
    run.clip_samples,
    sweep.make_attack(config, planned.attack),
    sweep.make_settings(config, run.devices),
  )
  forwards = 1 + len(planned.epsilons) * len(program.variants)
  return Program(
    f'{planned.attack} on {source_name}, judged by {len(members)} models, '
    f'{len(planned.epsilons)} epsilons',
    'sweep',
    source_name,
    judging.compiled(program),
    judging.abstract_arguments(program, planned, members, run.clip_samples),
    program.mesh.size,
    program.num_clips,
    _INPUT_GRADIENT_PASSES * _flops(config, source_name)
    + forwards * sum(_flops(config, m.name) for m in members),
    program.num_clips,
    len(plan),
  )


def gradients(run: Run) -> Program:
  """Returns the step of the study of gradients: statistics of all models."""
  config, members = run.config, _members(run)
  mesh = parallel.make_mesh(devices=run.devices)
  num_clips = over_clips.chunk_size(mesh) * mesh.shape['data']
  fn = analysis.statistics_fn(
    tuple(m.classifier.model for m in members), analysis.ALIGNMENTS[0]
  )
  variables = tuple(m.classifier.variables for m in members)
  return Program(
    f'gradient statistics of {len(members)} models',
    'gradients',
    '',
    over_clips.compiled(fn, mesh),
    (
      parallel.abstract_replicated(lambda v: v, mesh, variables),
      jax.ShapeDtypeStruct((), np.uint32),
      over_clips.abstract_batch(num_clips, run.clip_samples, mesh),
      {},
    ),
    mesh.size,
    num_clips,
    _INPUT_GRADIENT_PASSES * sum(_flops(config, m.name) for m in members),
    num_clips,
  )


def training_steps(run: Run, model_name: str, mesh: sharding.Mesh) -> Steps:
  """Returns a model's steps as a real training has them, uncompiled.

  Args:
    run: What is planned.
    model_name: One of `config.models`.
    mesh: Of one training.
  """
  model = make_model(run.config.training, _described(run, model_name, seed=0))
  # How many steps there are is but a constant of the program.
  schedule = decay(run.config.training.decay_factor, num_steps=1)
  return make_steps(
    model,
    optax.scale_by_adam(),
    run.clip_samples,
    mesh,
    schedule,
    augmentation(run.config.training),
    defence.make(run.config.training.defence, num_steps=1),
  )


def _described(run, model_name, seed):
  classes = [str(i) for i in range(run.num_classes)]
  return describe(run.config, model_name, seed, classes, run.clip_samples)


def _members(run):
  """Returns the models of a run, with the shapes of their variables."""
  members = []
  for seed in run.config.seeds:
    for name in run.config.models:
      metadata = _described(run, name, seed)
      model = create_model(
        **metadata['model'], precision=run.config.sweep.precision
      )
      variables = jax.eval_shape(
        functools.partial(model.init, train=False),
        jax.random.key(0),
        jnp.zeros((1, run.clip_samples)),
      )
      classifier = checkpoint.Classifier(model, variables, metadata, 0)
      members.append(
        sweep.Member(name, seed, classifier, np.zeros(0, np.int32))
      )
  return members


def _flops(config, model_name):
  """Returns operations a clip, forward."""
  if not registry.is_own(model_name):
    return computations.direct_flops(config, base_name(model_name))
  model = create_model(
    model_name, num_classes=2, **model_options(config, model_name)
  )
  clip = jnp.zeros((1, validation.clip_samples(config)))
  init, apply = (
    functools.partial(fn, train=False) for fn in (model.init, model.apply)
  )
  variables = jax.eval_shape(init, jax.random.key(0), clip)
  lowered = jax.jit(apply).lower(variables, clip)
  return round(lowered.cost_analysis()['flops'])


def _shared_evenly(batch_size, mesh):
  """Returns the next batch size that devices can share evenly."""
  return batch_size + -batch_size % mesh.shape['data']
