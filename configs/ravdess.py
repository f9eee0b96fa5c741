"""RAVDESS: the paper's recipe on 24 actors, gender, emotion or speaker.

  python -m launch.reproduce --config=configs/ravdess.py:gender \
    --config.corpus.folder=/path/to/ravdess --workdir=runs/ravdess-gender

`:emotions` tells all eight of them apart, `:calm_fearful` two that are not the
paper's: a task is a column and its classes. `:speakers` tells 16 actors apart;
of the others four set the thresholds of `launch.study verification` and four
are judged. `:gender,small` (and so on) fits two CPU cores: 3 s clips, 16
feature maps, input pooled by 2, batch 20, rate 2e-3, few epochs, and the whole
sweep on 72 test clips. `:gender,small` on two CPU cores (2026-11-24, JAX
0.10.2) took 44 minutes of training and 44 of the sweep with other work beside
them; test accuracy 96 to 99 %, the table is in configs/README.md.
"""

import ml_collections

from configs import paper

_TASKS = {
  'emotions': (
    'emotion',
    (
      *('neutral', 'calm', 'happy', 'sad'),
      *('angry', 'fearful', 'disgust', 'surprised'),
    ),
  ),
  'calm_fearful': ('emotion', ('calm', 'fearful')),
  'speakers': (
    'speaker',
    tuple(f'actor_{actor:02d}' for actor in range(1, 17)),
  ),
}


def get_config(variant: str = 'gender') -> ml_collections.ConfigDict:
  """Returns the config of a variant.

  Args:
    variant: 'gender', 'emotion', 'speaker', 'emotions', 'calm_fearful' or
      'speakers', with ',small' after it for the size a machine without an
      accelerator can train.
      With ',disjoint' it is tested on speakers who are not in training, with
      ',robust' attacked as a defence must be.
  """
  config = paper.get_corpus_config('ravdess', variant)
  if config.task == 'speakers':
    config.verification.speakers = 'unheard'
  if config.task in _TASKS:
    config.task, config.classes = _TASKS[config.task]
  # RAVDESS is quiet: the paper's smallest epsilon is 9 dB SNR here.
  sweep = config.sweep
  sweep.epsilons = (
    0.0,
    0.00002,
    0.00005,
    0.0001,
    0.0002,
    0.0005,
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.032,
  )
  sweep.example_epsilon = '0.001'
  # Everything the sweep has, on and from every model.
  config.models = ('wavecnn', 'wavernn', 'wavernn_on_wavecnn')
  sweep.sources = config.models
  sweep.masks = ('all', 'recorded', 'padding')
  sweep.transforms = (
    'lowpass4000',
    'highpass300',
    'bandpass300-3400',
    'median3',
    'resample8000',
    'quantize8',
    'mulaw8',
    'noise20db',
    'mp3',
    'vorbis',
    'opus',
  )
  sweep.attacks = (
    'fgsm',
    'fgm',
    'mi_fgsm',
    'pgd',
    'apgd_ce',
    'apgd_margin',
    'square',
    'universal',
    'mfcc',
    'spectrogram',
  )
  sweep.iterative.epsilons = (0.0001, 0.0002, 0.0005)
  sweep.repair = True
  if 'small' in variant.split(','):
    sweep.num_clips = 72
    sweep.epsilons = (0.0, 0.00005, 0.0002, 0.0005, 0.001, 0.005, 0.02)
    sweep.attacks = ('fgsm', 'pgd', 'apgd_margin', 'square', 'universal')
    sweep.sources = ('wavecnn', 'wavernn')
    sweep.masks = ('all',)  # hardly a recording is shorter than 3 s
    sweep.transforms = ('lowpass4000', 'resample8000', 'mp3')
    sweep.iterative.epsilons = (0.0002,)
    sweep.iterative.num_steps = 10
    sweep.iterative.num_queries = 50
    sweep.universal.num_clips = 96
    sweep.repair = False
    sweep.num_quality_clips = 4
  if 'robust' in variant.split(','):
    paper.judge_robustness(config)
  return config
