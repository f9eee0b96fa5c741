"""A study of features that takes seconds: clips, models and settings.

  python -c 'import feature_subjects; feature_subjects.launch()' FOLDER [flags]

writes its tables as one of several processes, whatever their number.
"""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import checkpoint, input_pipeline, models, parallel
from advspeech.studies.features import settings as settings_lib
from advspeech.studies.features import tables

TIME = 3200
VARIANTS = (
  settings_lib.Variant('mfcc13_original', 'fgsm', 'features'),
  settings_lib.Variant('waveform', 'fgsm', 'waveform'),
  settings_lib.Variant('waveform', 'random_sign', 'waveform'),
)


def make_study():
  """Returns a split, the smallest model as a classifier, and settings."""
  rng = np.random.default_rng(0)
  pcm = rng.integers(-9000, 9000, (3, TIME)).astype(np.int16)
  pcm[0, 2400:] = 0
  split = input_pipeline.Split(
    ids=np.array(['a', 'b', 'c']),
    pcm=pcm,
    num_samples=np.array([2400, TIME, TIME]),
    labels=np.array([0, 1, 0], np.int32),
  )
  model = models.create_model('tiny_models:TinyModel', 2, width=3)
  init = functools.partial(model.init, train=False)
  variables = jax.jit(init)(jax.random.key(0), jnp.zeros((1, TIME)))
  classifiers = {'wavecnn': checkpoint.Classifier(model, variables, {}, 1)}
  settings = settings_lib.Settings(
    snr_db=(20.0, 5.0),
    max_norms=(0.02,),
    num_steps=2,
    num_scored=1,
    num_norm_perturbations=2,
    variants=VARIANTS,
  )
  return split, classifiers, settings


def write(folder):
  """Writes all tables of the study into a folder."""
  split, classifiers, settings = make_study()
  mesh = parallel.make_mesh()
  one = classifiers['wavecnn']
  placed = checkpoint.Classifier(
    one.model, parallel.bring(one.variables, mesh), one.metadata, one.epoch
  )
  tables.write(
    folder,
    {0: {'wavecnn': placed}},
    'wavecnn',
    split,
    task='gender',
    classes=('f', 'm'),
    settings=settings,
  )


def launch():
  """Runs `write` as a launcher runs its program."""
  from launch import command

  folder = sys.argv.pop(1)
  command.run(lambda: write(folder))
