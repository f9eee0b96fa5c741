"""Small clips and classifiers that sweeps are tested on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import (
  attacks,
  audio,
  checkpoint,
  features,
  input_pipeline,
  models,
  parallel,
  sweep,
)

TIME = 3 * 640
NUM_CLIPS = 10
CLASSES = ('a', 'b', 'c')
TINY = 'tests.tiny_models:TinyModel'
COUNTS = {'num_steps': 3, 'num_restarts': 1, 'num_queries': 5}
EPSILONS = (0.0, 0.01, 0.1)


def make_split():
  rng = np.random.default_rng(0)
  num_samples = rng.integers(TIME // 2, TIME + 1, NUM_CLIPS)
  pcm = rng.integers(-9000, 9000, (NUM_CLIPS, TIME)).astype(np.int16)
  pcm[np.arange(TIME) >= num_samples[:, None]] = 0
  return input_pipeline.Split(
    ids=np.array([f'clip-{i}' for i in range(NUM_CLIPS)]),
    pcm=pcm,
    num_samples=num_samples,
    labels=rng.integers(0, 3, NUM_CLIPS).astype(np.int32),
    speakers=np.array([f'voice-{i}' for i in range(NUM_CLIPS)]),
  )


def make_members(split, mesh=None):
  """Models named as WaveCNN, WaveRNN, WaveCNN: two modules, three targets."""
  members = []
  for i, name in enumerate(('wavecnn', 'wavernn', 'wavecnn')):
    width = {'wavecnn': 6, 'wavernn': 8}[name]
    model = models.create_model(TINY, 3, width=width)
    init = jax.jit(functools.partial(model.init, train=False))
    variables = init(jax.random.key(i), jnp.zeros((1, TIME)))
    # Wide logits about 0: every class is said, and perturbations change that.
    logits = variables['params']['logits']
    logits['kernel'] *= 50
    clips = audio.from_pcm(jnp.asarray(split.pcm))
    logits['bias'] -= model.apply(variables, clips, train=False).mean(0)
    if mesh:
      variables = jax.device_put(variables, parallel.replicated(mesh))
    classifier = checkpoint.Classifier(
      model, variables, {'classes': list(CLASSES)}, 1
    )
    members.append(sweep.Member(name, i // 2, classifier, split.labels))
  return members


def make_planned(attack='fgsm', mask='all', epsilons=EPSILONS, **kwargs):
  kwargs = {'source': 0, 'transform': '', 'adaptive': False, **kwargs}
  return sweep.PlannedAttack(
    attack=attack,
    mask=mask,
    epsilons=sweep.parse_epsilons(
      epsilons, make_attack(attack).unit, masking=True
    ),
    **kwargs,
  )


def make_settings(batch_size=4, mesh=None, **kwargs):
  return sweep.Settings(
    **{
      'bounds': (0.0, 1.0),
      'repair': False,
      'memory_mb': 2048,
      'batch_size': batch_size,
      'mesh': mesh or parallel.make_mesh(),
      **kwargs,
    }
  )


@functools.cache
def make_attack(name):
  """One object a name, as a sweep has it."""
  return attacks.make(name, **COUNTS, representations=features.for_attacks())


def judge(planned, members, split, settings=None, **kwargs):
  return sweep.judge(
    planned,
    members,
    split,
    make_attack(planned.attack),
    settings or make_settings(),
    **kwargs,
  )
