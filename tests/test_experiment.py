"""Configs are checked, folders belong to one config, figures come of tables."""

import contextlib
import functools
import json
import logging
import os
import types

import numpy as np
import pytest

from advspeech import (
  checkpoint,
  errors,
  experiment,
  figures,
  input_pipeline,
  report,
  studies,
  sweep,
  training,
)
from advspeech.experiment import attacking, data, key_types, stages, validation
from advspeech.report import attack_curves, error_curves, transfer
from advspeech.studies.gradients import parts
from advspeech.training import rate_search
from configs import (
  crema_d,
  emodb,
  folder,
  iemocap,
  paper,
  quickstart,
  ravdess,
  savee,
)

CORPORA = {
  ravdess: (
    'gender',
    'emotion',
    'speaker',
    'emotions',
    'calm_fearful',
    'speakers',
  ),
  iemocap: ('gender', 'emotion', 'speaker'),
  crema_d: ('gender', 'emotion', 'speaker'),
  emodb: ('gender', 'emotion', 'speaker'),
  savee: ('emotion', 'speaker'),
  folder: ('label', 'speaker', 'gender', 'emotion', 'session'),
}


@pytest.mark.parametrize(
  'config',
  [
    paper.get_config(),
    quickstart.get_config(),
    *(
      module.get_config(task + size)
      for module, names in CORPORA.items()
      for task in names
      for size in ('', ',small', ',small,robust')
    ),
  ],
)
def test_every_config_is_valid(config):
  experiment.validate(config)


@pytest.mark.parametrize('module', [ravdess, iemocap, crema_d])
def test_a_corpus_at_paper_size_is_the_papers_recipe(module):
  config = module.get_config('emotion')
  assert config.clip_s == 6.0
  assert config.model.features == 32
  assert config.training.batch_size == 100
  assert config.training.num_epochs == 200
  assert config.seeds == (0, 1)


def test_iemocap_is_the_papers_recipe_to_the_last_value():
  ours, papers = iemocap.get_config(), paper.get_config()
  papers.corpus.name = 'iemocap'
  assert ours.to_dict() == papers.to_dict()


def test_an_unknown_size_says_what_there_is():
  with pytest.raises(ValueError, match="'disjoint' or 'robust', got 'tiny'"):
    ravdess.get_config('gender,small,tiny')
  with pytest.raises(ValueError, match="must be 'disjoint', got 'tiny'"):
    quickstart.get_config('tiny')


@pytest.mark.parametrize('module', [ravdess, iemocap])
def test_a_robust_variant_differs_in_the_sweep_alone(module):
  plain, robust = (
    module.get_config(f'emotion,small{word}') for word in ('', ',robust')
  )
  assert {'square', 'apgd_margin', 'apgd_margin-doubled'} < {
    *robust.sweep.attacks
  }
  assert robust.sweep.transforms
  assert robust.training.to_dict() == plain.training.to_dict()
  plain.sweep = robust.sweep
  assert robust.to_dict() == plain.to_dict()


@pytest.mark.parametrize(
  ('mixed', 'disjoint'),
  [
    (quickstart.get_config(), quickstart.get_config('disjoint')),
    *(
      (module.get_config(f'emotion{size}'), module.get_config(f'emotion{both}'))
      for module in (ravdess, crema_d, iemocap)
      for size, both in (
        ('', ',disjoint'),
        (',small', ',small,disjoint'),
        (',small', ',disjoint,small'),
      )
    ),
  ],
)
def test_a_disjoint_variant_differs_in_the_split_alone(mixed, disjoint):
  experiment.validate(disjoint)
  assert mixed.split.kind == 'stratified'
  mixed.split.kind = 'speaker_disjoint'
  assert disjoint.to_dict() == mixed.to_dict()


def test_a_name_alone_is_no_list_of_names():
  config = quickstart.get_config()
  with config.ignore_type():  # as in a config of the user's own
    config.models = 'wavecnn'
  with pytest.raises(errors.InputError, match=r"models must be .*'wavecnn';"):
    experiment.validate(config)


MODEL = 'tests.tiny_models:TinyModel'
TWICE = 'must name everything once'
NOTHING = 'leaves nothing to attack'


@pytest.mark.parametrize(
  ('key', 'value', 'message'),
  [
    ('task', 'age', r"config\.task must be one of gender.*got 'age'"),
    ('corpus.name', 'timit', r'config\.corpus\.name must be one of espeak'),
    ('split.kind', 'random', 'must be one of stratified, speaker_disjoint'),
    ('model.norm', 'layer', 'must be one of batch, none'),
    ('model.init', 'lecun', 'must be one of glorot, he'),
    ('model.gate_init', 'zero', 'must be one of constant, chrono'),
    ('models', ('wavenet',), 'must be one of wavecnn, wavernn'),
    ('source', 'wavenet', 'must be one of wavecnn, wavernn'),
    ('clip_s', 1.01, 'whole frames of 40 ms, got 1.01 s'),
    ('model.input_pool', 3, 'must divide a frame of 640 samples, got 3'),
    ('seeds', (), 'must name at least one each'),
    ('models', (), 'must name at least one each'),
    ('seeds', (-1,), r'from 0 to 2\^32 - 1, got \(-1,\)'),
    ('seeds', (2**32,), r'from 0 to 2\^32 - 1, got \(4294967296,\)'),
    ('seeds', (0, 0), r'config\.seeds must name everything once, got 0 and 0'),
    (
      'models',
      ('wavecnn', 'wavecnn'),
      r"models must .*'wavecnn' and 'wavecnn'",
    ),
    ('studies', ('features',) * 2, f'config.studies {TWICE}'),
    ('classes', ('a', 'b', 'a'), f'config.classes {TWICE}'),
    ('sweep.attacks', ('fgsm', 'pgd', 'fgsm'), f'attacks {TWICE}'),
    ('sweep.masks', ('all', ' ALL'), "once, got 'all' and ' ALL'"),
    ('sweep.masks', ('recorded+1-2s', '1.0-2s + recorded'), TWICE),
    ('sweep.transforms', ('mp3', 'mp3'), f'transforms {TWICE}'),
    ('sweep.checkpoints', ('a/b', './a/b/'), f'checkpoints {TWICE}'),
    ('sweep.checkpoints', ('wavernn',), r'write \./wavernn$'),
    ('sweep.sources', ('wavecnn', 'wavecnn'), f'sources {TWICE}'),
    ('sweep.epsilons', (0.0, 0.01, '0.02fs'), "once, got 0.01 and '0.02fs'"),
    ('sweep.epsilons', (0.0, '0.01', 0.01), TWICE),
    ('sweep.epsilons', (0.0, '20dbsnr', '20.0 dBSNR'), TWICE),
    ('sweep.iterative.epsilons', (0.1, 0.10), TWICE),
    ('sweep.feature_level.epsilons', (4, 4.0), TWICE),
    ('sweep.masks', ('9000-9500hz',), f'mask 9000-9500hz {NOTHING}: a band'),
    ('sweep.masks', ('7000-8001hz',), f'mask 7000-8001hz {NOTHING}: a band'),
    ('sweep.masks', ('0.01-0.02hz',), f'{NOTHING}: .*widen the band'),
    ('sweep.masks', ('30-40s',), f'mask 30-40s {NOTHING} in clips of 6 s;'),
    ('sweep.masks', ('1.00001-1.00002s',), f'{NOTHING} in clips'),
    ('sweep.epsilons', (0.0, 1.5), r'must lie in \[0, 1\].*got 1.5'),
    ('sweep.epsilons', (-0.1,), r'not negative.*got -0.1'),
    ('sweep.epsilons', (), 'must name at least one each'),
    ('sweep.epsilons', (0.0, '0dbmask', '0.0dBmask'), TWICE),
    ('air.epsilon', '0dbmask', "'0dbmask' is a masking threshold"),
    ('sweep.epsilons', ('3db',), "such as '0.02', '0.04fs'.*got '3db'"),
    (
      'sweep.attacks',
      ('fgsn',),
      "sweep.attacks must be one of fgsm, .*got 'fgsn'",
    ),
    ('sweep.attacks', ('fgsm', 'mel'), "universal_filter, mfcc, .*got 'mel'"),
    ('sweep.attacks', ('mfcc',), 'must begin with an .* waveform.*got mfcc'),
    ('sweep.feature_level.epsilons', (), 'must name at least one'),
    ('sweep.feature_level.epsilons', ('20dbsnr',), '0 to 100.*got 20dbsnr'),
    ('sweep.feature_level.epsilons', (-1.0,), 'not negative.*got -1.0'),
    ('sweep.feature_level.epsilons', (400.0,), '0 to 100.*got 400'),
    ('sweep.feature_level.example_epsilon', 400.0, '0 to 100.*got 400'),
    ('sweep.masks', ('voiced',), "a mask must be all, .*got 'voiced'"),
    ('sweep.masks', ('3-1s',), "a mask must be all, .*got '3-1s'"),
    (
      'sweep.transform_attacks',
      ('pgd',),
      r'among config\.sweep\.attacks, fgsm',
    ),
    ('sweep.transforms', ('echo',), "a transform must be one of .*got 'echo'"),
    ('sweep.sources', ('wavenet',), "must be among config.models.*'wavenet'"),
    ('studies', ('gradient',), "substitute, queries, or .*'gradient'"),
    ('air.transform', 'device', "'room', or one of these .*'device'"),
    ('air.draws', (0,), r'from 1 to 1000, one at least, got \(0,\)'),
    ('air.epsilon', '0', r'epsilon must lie in \(0, 1\].*got 0'),
    ('air.attacks', ('mfcc',), "on the waveform of one clip, got 'mfcc'"),
    ('smoothing.mask', 'padding', "one of all, recorded, got 'padding'"),
    ('substitute.arms', ('papernot',), "jacobian, natural.*got 'papernot'"),
    ('substitute.regimes', (), r'regimes must name at least one, got \(\)'),
    ('substitute.attacks', ('fgsm-targeted',), "not targeted, got 'fgsm-t"),
    ('substitute.transforms', (), "for the arm 'transforms', got"),
    ('substitute.epsilons', (0.0,), r'must lie in \(0, 1\].*got 0'),
    ('substitute.model', 'resnet', "one of wavecnn, .*got 'resnet'"),
    ('queries.attacks', ('fgsm',), "square, nes, hopskipjump, got 'fgsm'"),
    ('queries.attacks', (), r'attacks must name at least one, got \(\)'),
    ('queries.norm', 'l1', "norm must be of linf, l2, got 'l1'"),
    ('queries.epsilon', '0', r'epsilon must lie in \(0, 1\].*got 0'),
    ('smoothing.sigmas', ('20dbsnr',), 'the same for every clip.*20dbsnr'),
    ('smoothing.sigmas', (0.0,), r'must lie in \(0, 1\].*got 0'),
    ('smoothing.sigmas', (), r'name at least one, got \(\)'),
    ('gradients.split', 'dev', "one of train, validation, test, got 'dev'"),
    ('gradients.examples', ('a', 'a'), f'gradients.examples {TWICE}'),
    ('gradients.checkpoints', ('a/b', 'a/b/'), f'checkpoints {TWICE}'),
    ('models', ('wavernn_on_wavecnn',), 'needs wavecnn beside it'),
    ('clip.pad', 'left', 'must be one of end, center, front, got'),
    ('clip.cut', 'end', 'must be one of start, center, got'),
    ('clip.normalize', 'rms', 'must be one of none, peak, got'),
    ('corpus.channels', 'left', "'mean' or the number of a channel, .*'left'"),
    ('corpus.channels', '-1', "'mean' or the number of a channel, .*'-1'"),
    ('split.kind', 'leave_one_session_out', 'needs the session to test on'),
    ('lr_search.low', 0.01, 'must be below config.lr_search.high, got 0.01 a'),
  ],
)
def test_a_value_that_cannot_be_run_is_named(key, value, message):
  config = paper.get_config()
  config.update_from_flattened_dict({key: value})
  with pytest.raises(errors.InputError, match=message):
    experiment.validate(config)


# Of every number in a config: values it may have, and values it may not.
NUMBERS = {
  'clip_s': ((0.04, 3600), (0.0, -6.0, 3601)),
  'split.seed': ((0, 2**32 - 1), (-1, 2**32, 1.0)),
  'input.memory_budget_mb': ((0, 0.5), (-1,)),
  'input.device_budget_mb': ((0, 0.5), (-1,)),
  'gradients.num_clips': ((2, -1), (1, 0, -2, 4.0)),
  'gradients.num_studied': ((2,), (1, 0, -1, 4.0)),
  'model.features': ((1, 65536), (0, -1, 1.5, 65537)),
  'model.hidden_features': ((1, 65536), (0, -1, 1.5, 65537)),
  'model.input_pool': ((1, 640), (0, -1, 2.0, 1280)),
  'model.input_gain': ((1e-3, 64), (0, -1.0, 1e7)),
  'model.norm_momentum': ((0.0, 0.99), (-0.1, 1.0, 2)),
  'model.forget_bias': ((-100, 0, 1.0), (-101, 1e30)),
  'training.batch_size': ((1, 65536), (0, -8, 8.0, 65537)),
  'training.num_epochs': ((1, 1000), (0, -1, 3.0, 10**7)),
  'training.learning_rate': ((1e-5, 1.0), (0.0, -1.0, 1.5, 1e-40)),
  'training.decay_factor': ((0.1, 1.0), (0.0, -0.1, 5.0)),
  'training.defence.clean_share': ((0, 0.5), (1, -0.1)),
  'training.defence.warmup_share': ((0, 1.0), (-0.1, 1.5)),
  'training.defence.num_steps': ((1, 50), (0, 2.0)),
  'training.defence.trades_beta': ((0.5, 6), (0, -1)),
  'training.save_every_s': ((1e-9, 1e9), (0.0, -60.0)),
  'lr_search.low': ((1e-6,), (0.0, -1e-5, 1.5)),
  'lr_search.high': ((1.0,), (0.0, -1e-5, 1.5)),
  'lr_search.num_epochs': ((1, 1000), (0, -1, 3.0, 10**7)),
  'lr_search.num_rounds': ((1, 20), (0, -1, 3.0, 21)),
  'sweep.num_clips': ((1, -1), (0, -2, 4.0)),
  'sweep.transform_draws': ((1, 1000), (0, -1, 4.0)),
  'sweep.iterative.num_steps': ((1, 1000), (0, -1, 4.0)),
  'sweep.iterative.num_restarts': ((1, 100), (0, -1, 4.0)),
  'sweep.iterative.num_queries': ((1, 10**6), (0, -1, 4.0)),
  'sweep.universal.num_clips': ((1, 10**6), (0, -1, 4.0)),
  'sweep.universal.num_passes': ((1, 100), (0, -1, 4.0)),
  'sweep.confidence': ((0.5, 0.999), (0.0, 1.0, 95)),
  'sweep.batch_size': ((1, 65536), (0, -8, 8.0, 65537)),
  'sweep.memory_mb': ((1, 0.5), (0, -1)),
  'sweep.epsilon_devices': ((1, 8), (0, -1, 2.0)),
  'sweep.num_examples': ((0, 5, -1), (-2, 4.0)),
  'sweep.num_quality_clips': ((0, 5, -1), (-2, 4.0)),
  'features.num_clips': ((1, -1), (0, -2, 4.0)),
  'features.num_scored': ((0, 5, -1), (-2, 4.0)),
  'rounding.num_orders': ((1, 8), (0, -1, 2.0)),
  'smoothing.num_guessing': ((1, 100), (0, -1, 4.0)),
  'smoothing.num_certifying': ((1, 10_000), (0, -1, 4.0)),
  'smoothing.num_clips': ((1, -1), (0, -2, 4.0)),
  'smoothing.alpha': ((0.001, 0.5), (0, 1, -0.1)),
  'substitute.num_clips': ((2, -1), (1, 0, 4.0)),
  'substitute.num_seeds': ((2, 500), (1, 0, 4.0)),
  'substitute.num_enrolled': ((1, 50), (0, -1, 4.0)),
  'substitute.num_examples': ((0, 9), (-1, 101, 4.0)),
  'substitute.num_rounds': ((1, 20), (0, 21, 4.0)),
  'substitute.num_new': ((1, 10**6), (0, -1, 4.0)),
  'substitute.num_epochs': ((1, 100), (0, -1, 4.0)),
  'substitute.batch_size': ((1, 65536), (0, -8, 8.0)),
  'substitute.ratio': ((0.1, 10), (0.0, -1, 11)),
  'substitute.flip_every': ((1, 100), (0, -1, 3.0)),
  'queries.num_queries': ((1, 10**6), (0, -1, 4.0)),
  'queries.num_starts': ((1, 1000), (0, -1, 4.0)),
  'queries.num_examples': ((0, 9), (-1, 101, 4.0)),
  'queries.num_clips': ((1, -1), (0, -2, 4.0)),
  'air.num_clips': ((2, 100), (1, 0, -1, 4.0)),
  'air.num_examples': ((0, 9), (-1, 101, 4.0)),
  'air.num_rooms': ((5, 100), (4, 101, 8.0)),
  'privacy.num_steps': ((1, 50), (0, -1, 4.0)),
  'privacy.num_clips': ((1, -1), (0, -2, 4.0)),
  'privacy.num_enrolled': ((1, 9), (0, -1, 4.0)),
  'privacy.num_fitted': ((2, 9), (1, 0, 4.0)),
  'privacy.num_examples': ((0, 9), (-1, 101, 4.0)),
  'privacy.retraining.num_steps': ((0, 50), (-1, 4.0)),
  'privacy.retraining.learning_rate': ((1e-5, 1), (0.0, -1, 2)),
  'privacy.retraining.batch_size': ((1, 64), (0, -8, 8.0)),
  'verification.num_trials': ((1, 500), (0, -1, 4.0)),
  'verification.num_validation': ((1, 500), (0, -1, 4.0)),
  'verification.num_enrolled': ((1, 9), (0, -1, 4.0)),
  'verification.far': ((0.001, 0.5), (0.0, -0.1, 1.0)),
  'verification.num_examples': ((0, 9), (-1, 101, 4.0)),
}
NO_NUMBERS = (float('nan'), float('inf'), -float('inf'), True, '1', None)


def with_value(key, value):
  """The recipe with one value of any type."""
  config = section = paper.get_config()
  *names, last = key.split('.')
  for name in names:
    section = section[name]
  del section[last]  # and with it its type
  section[last] = value
  return config


@pytest.mark.parametrize('key', key_types.NUMBERS)
def test_a_number_that_cannot_be_meant_is_named(key):
  good, bad = NUMBERS[key]
  for value in good:
    experiment.validate(with_value(key, value))
  allowed = key_types.NUMBERS[key]
  kind = 'whole number' if allowed.startswith('whole') else 'number'
  for value in (*bad, *NO_NUMBERS):
    with pytest.raises(errors.InputError) as raised:
      experiment.validate(with_value(key, value))
    assert str(raised.value) == (
      f'config.{key} must be a {kind} in {allowed.removeprefix("whole ")}, '
      f'got {value!r}'
    )


OWN = 'tests.tiny_models:TinyModel'


def own_config(**options):
  config = paper.get_config()
  config.models, config.source = (OWN,), OWN
  config.model_options = options
  config.studies = ()
  return config


def test_a_model_of_ones_own_need_not_have_frames():
  config = own_config(tinymodel={'width': 3})
  config.clip_s = 1.01
  experiment.validate(config)
  config.studies = ('gradients',)
  with pytest.raises(errors.InputError, match='40 ms for the study of grad'):
    experiment.validate(config)


@pytest.mark.parametrize(
  ('options', 'key', 'value', 'message'),
  [
    ({'tiny': {}}, 'clip_s', 1.0, "in config.models, tinymodel, got 'tiny'"),
    ({'tinymodel': {'depth': 1}}, 'clip_s', 1.0, 'width, dropout of .*depth'),
    ({}, 'models', ('no.such:Model',), 'there is no module no.such in'),
    ({}, 'models', (OWN, 'tiny_models:TinyModel'), 'both be called tinymodel'),
    ({}, 'training.precision', 'bfloat16', 'precision must be float32, got'),
    ({}, 'training.augmentation', 'echo', 'a transform must be one of'),
    ({}, 'sweep.victims', ('no.such:fn',), 'there is no module no.such in'),
    ({}, 'sweep.victims', ('energy',), 'victims must be package.module:attr'),
    ({}, 'sweep.attacks', ('fgsm', 'no.such:fn'), 'no module no.such in'),
    ({}, 'sweep.attacks', (f'{OWN}', 'fgsm'), 'must be a function of .problem'),
  ],
)
def test_what_is_ones_own_is_looked_at_before_any_work(
  options, key, value, message
):
  config = own_config(**options)
  config.update_from_flattened_dict({key: value})
  with pytest.raises(errors.InputError, match=message):
    experiment.validate(config)


def test_a_key_that_is_missing_is_named():
  config = paper.get_config()
  del config.training.decay_factor
  with pytest.raises(
    errors.InputError, match=r'config\.training\.decay_factor is missing; begin'
  ):
    experiment.validate(config)


@pytest.mark.parametrize(
  ('key', 'message'),
  [
    *((key, 'True or False') for key in key_types.SWITCHES),
    *((key, 'text') for key in key_types.TEXTS),
  ],
)
def test_a_switch_is_true_or_false_and_a_text_is_text(key, message):
  with pytest.raises(
    errors.InputError, match=rf'config.{key} must be {message}, got 5$'
  ):
    experiment.validate(with_value(key, 5))


def test_no_key_of_the_recipe_goes_unchecked():
  def flat(tree, prefix=''):
    for key, value in tree.items():
      if isinstance(value, dict):
        yield from flat(value, f'{prefix}{key}.')
      else:
        yield prefix + key, value

  found = {int: set(), float: set(), bool: set(), str: set(), tuple: set()}
  for key, value in flat(paper.get_config().to_dict()):
    found[type(value)].add(key)
  of_features = {'sweep.feature_level.example_epsilon'}
  assert found[int] | found[float] == {*key_types.NUMBERS} | of_features
  assert found[bool] == {*key_types.SWITCHES}
  choices = {'task', 'source', 'corpus.name', 'split.kind'}
  choices |= {f'model.{key}' for key in ('norm', 'init', 'gate_init')}
  choices |= {f'clip.{key}' for key in ('pad', 'cut', 'normalize')}
  choices |= {'training.precision', 'sweep.precision'}
  assert found[str] == {*key_types.TEXTS} | choices


def test_what_is_written_as_sound_may_be_attacked_by_its_snr():
  config = paper.get_config()
  config.sweep.example_epsilon = '20dbsnr'
  experiment.validate(config)


def test_only_some_attacks_keep_to_masking_thresholds():
  config = paper.get_config()
  config.sweep.epsilons = (0.0, '0dbmask')
  config.sweep.attacks = ('fgsm', 'apgd_margin', 'mfcc')
  experiment.validate(config)
  for name in ('square', 'nes', 'fgm', 'pgd_l2', 'universal'):
    config.sweep.attacks = ('fgsm', name)
    with pytest.raises(errors.InputError, match=f'{name} cannot keep to a'):
      experiment.validate(config)
  # Where iterative attacks have epsilons of their own.
  config.sweep.iterative.epsilons = (0.0, 0.01)
  experiment.validate(config)


def test_features_cannot_be_attacked_in_a_band():
  config = paper.get_config()
  config.sweep.attacks = ('fgsm', 'spectrogram_pgd')
  experiment.validate(config)
  config.sweep.masks = ('all', '300-3400hz')  # of the first attack alone
  experiment.validate(config)
  config.sweep.masks = ('recorded+300-3400hz',)
  with pytest.raises(errors.InputError, match=r'cannot stay in a band.*3400hz'):
    experiment.validate(config)


@pytest.mark.parametrize(
  ('attacks', 'masks', 'told'),
  [
    (('fgsm', 'square'), ('1000-2000hz',), 'square cannot stay in a band'),
    (('square',), ('all', '1000-2000hz'), 'square cannot stay in a band'),
    (('fgsm', 'square'), ('all', '1000-2000hz'), ''),
    (('fgsm', 'universal', 'apgd_margin'), ('1000-2000hz',), ''),
  ],
)
def test_square_cannot_attack_in_a_band(attacks, masks, told):
  config = paper.get_config()
  config.sweep.attacks, config.sweep.masks = attacks, masks
  with (
    pytest.raises(errors.InputError, match=told)
    if told
    else contextlib.nullcontext()
  ):
    experiment.validate(config)


@pytest.mark.parametrize(
  ('epsilons', 'told'),
  [
    ((0.01, 0.02), 'must have 0 among them'),
    (('0dbsnr', '0dbfs'), 'must have 0 among them'),
    (('0lsb', '20dbsnr'), ''),
    (('0dbmask', '3dbmask'), 'must have 0 among them'),
    (('0', '-6dbmask', '0dbmask', 0.01), ''),
  ],
)
def test_the_clean_point_must_be_in_the_sweep(epsilons, told):
  config = paper.get_config()
  config.sweep.epsilons = epsilons
  with (
    pytest.raises(errors.InputError, match=told)
    if told
    else contextlib.nullcontext()
  ):
    experiment.validate(config)


def test_the_first_attack_has_the_clean_point_if_it_has_steps():
  config = paper.get_config()
  config.sweep.attacks = ('pgd', 'fgsm')
  experiment.validate(config)
  config.sweep.iterative.epsilons = (0.01,)
  with pytest.raises(errors.InputError, match=r'iterative.epsilons, which pgd'):
    experiment.validate(config)
  config.sweep.iterative.epsilons = (0.0, 0.01)
  experiment.validate(config)


def test_a_source_of_another_task_needs_a_label_for_every_clip():
  def member(classes, labels):
    metadata = {'task': 'emotion', 'classes': classes}
    classifier = checkpoint.Classifier(None, None, metadata, 1)
    return sweep.Member('runs/other', 0, classifier, np.array(labels))

  config = paper.get_config()
  config.sweep.sources = ('runs/other',)
  for names, classes, labels, told in (
    (('fgsm',), ['anger', 'sad'], [0, -1, 1], 'no label for 1 of 3 clips'),
    (('fgsm',), ['anger', 'sad'], [0, 1, 1], ''),
    (('universal',), ['anger', 'sad'], [0, 1, 1], 'universal on runs/other'),
    (('universal',), ['female', 'male'], [0, 1, 1], ''),
  ):
    config.sweep.attacks = names
    members = [member(classes, labels)]
    plan = sweep.plan(config, members)
    assert plan
    with (
      pytest.raises(errors.InputError, match=told)
      if told
      else contextlib.nullcontext()
    ):
      attacking.check_sources(config, plan, members, ['female', 'male'])


@pytest.mark.parametrize(
  ('named', 'attacked'), [((), [0, 1]), (('wavernn',), [1])]
)
def test_every_model_is_attacked_unless_some_are_named(named, attacked):
  config = paper.get_config()
  config.sweep.sources = named
  members = [sweep.Member(name, 0, None, None) for name in config.models]
  plan = sweep.plan(config, members)
  assert [planned.source for planned in plan] == attacked


@pytest.mark.parametrize(
  ('named', 'behind'), [((), ['fgsm']), (('pgd', 'fgsm'), ['pgd', 'fgsm'])]
)
def test_transforms_are_behind_the_first_attack_or_those_named(named, behind):
  config = paper.get_config()
  config.sweep.attacks = ('fgsm', 'pgd')
  config.sweep.transforms = ('mp3', 'median3')
  config.sweep.transform_attacks = named
  member = sweep.Member('wavecnn', 0, None, None)
  plan = [x for x in sweep.plan(config, [member]) if x.transform]
  assert [(x.transform, x.attack, x.adaptive) for x in plan] == [
    (transform, attack, adaptive)
    for transform in ('mp3', 'median3')
    for attack in behind
    for adaptive in (False, True)
  ]


def test_epsilons_of_features_are_for_attacks_on_features():
  config = paper.get_config()
  config.sweep.attacks = ('fgsm', 'mfcc', 'spectrogram_pgd-targeted')
  config.sweep.feature_level.epsilons = (0.0, 4.0)
  config.sweep.iterative.epsilons = (0.1,)
  member = sweep.Member('wavecnn', 0, None, None)
  fgsm, *on_features = sweep.plan(config, [member])
  assert fgsm.epsilons == sweep.parse_epsilons(config.sweep.epsilons)
  assert [[e.text for e in planned.epsilons] for planned in on_features] == [
    ['0MFCC', '4MFCC'],
    ['0dB', '4dB'],
  ]


@pytest.mark.parametrize('kind', ['speaker_disjoint', 'leave_one_session_out'])
def test_speakers_cannot_be_told_apart_that_were_never_heard(kind):
  config = paper.get_config()
  config.task, config.split.kind, config.split.session = 'speaker', kind, '1'
  with pytest.raises(errors.InputError, match=rf'kind={kind} rules out; use'):
    experiment.validate(config)


def test_a_split_by_group_is_by_what_a_corpus_says_of_clips():
  config = paper.get_config()
  config.split.kind, config.split.by = 'group', 'statement'
  experiment.validate(config)
  config.split.by = 'room'
  with pytest.raises(errors.InputError, match=r'split\.by must be one of spea'):
    experiment.validate(config)
  config.task, config.split.by = 'speaker', 'speaker'
  with pytest.raises(errors.InputError, match='kind=group rules out; use'):
    experiment.validate(config)


def test_a_folder_belongs_to_the_config_that_made_it(tmp_path):
  config = quickstart.get_config()
  experiment.Run.open(config, str(tmp_path))
  config.training.learning_rate /= 10  # nothing was trained yet
  experiment.Run.open(config, str(tmp_path))
  (tmp_path / 'wavecnn-seed0' / 'checkpoints' / '1').mkdir(parents=True)
  experiment.Run.open(config, str(tmp_path))
  epochs = config.training.num_epochs
  config.training.num_epochs += 1
  with pytest.raises(
    errors.InputError,
    match=rf'another config \(training.num_epochs is {epochs} there and '
    rf'{epochs + 1} now\); use another --workdir or remove \S*/wavecnn-seed0$',
  ):
    experiment.Run.open(config, str(tmp_path))


def test_another_sweep_needs_no_other_folder_until_it_was_run(tmp_path):
  config = quickstart.get_config()
  experiment.Run.open(config, str(tmp_path))
  config.sweep.epsilons = (0.0, 0.5)
  experiment.Run.open(config, str(tmp_path))
  assert json.loads((tmp_path / 'config.json').read_text())['sweep'][
    'epsilons'
  ] == [0.0, 0.5]
  (tmp_path / 'attack').mkdir()
  (tmp_path / 'attack' / 'seed0.npz').touch()
  config.sweep.epsilons = (0.0, 0.7)
  with pytest.raises(errors.InputError, match=r'or remove \S*/attack$'):
    experiment.Run.open(config, str(tmp_path))


def test_where_the_data_lies_is_no_other_config(tmp_path):
  config = quickstart.get_config()
  experiment.Run.open(config, str(tmp_path))
  config.data_dir = '/elsewhere'
  config.corpus.folder = '/mnt/ravdess'
  experiment.Run.open(config, str(tmp_path))


@pytest.mark.parametrize(
  ('key', 'value'),
  [
    ('studies', ('features',)),
    ('gradients.num_studied', 5),
    ('corpus.folder', '/mnt/ravdess'),
  ],
)
def test_config_json_says_what_was_run_last(tmp_path, key, value, caplog):
  """Also where no result depends on it; the page that showed it is removed."""
  config = quickstart.get_config()
  experiment.Run.open(config, str(tmp_path))
  (tmp_path / 'wavecnn-seed0' / 'checkpoints' / '1').mkdir(parents=True)
  (tmp_path / 'attack').mkdir()
  (tmp_path / 'attack' / 'sweep.csv').touch()
  page = tmp_path / 'report' / 'index.html'
  page.parent.mkdir()
  page.touch()
  experiment.Run.open(config, str(tmp_path))
  assert page.exists()
  config.update_from_flattened_dict({key: value})
  with caplog.at_level(logging.INFO, 'advspeech'):
    experiment.Run.open(config, str(tmp_path))
    experiment.Run.open(config, str(tmp_path))
  found = json.loads((tmp_path / 'config.json').read_text())
  assert found == json.loads(json.dumps(config.to_dict()))
  assert not page.exists()
  assert caplog.messages == [
    f'{page} shows an earlier config and is removed; python -m launch.report '
    f'--workdir={tmp_path} draws it again'
  ]


def rows(attack_names=('fgsm',)):
  return [
    {
      'task': 'gender',
      'seed': seed,
      'source': 'wavecnn',
      'target': target,
      'target_seed': seed,
      'attack': attack,
      'control': control,
      'epsilon': epsilon,
      'epsilon_given': f'{epsilon}',
      'num_clips': 240,
      'num_speakers': '',
      'ci_speaker_low': '',
      'ci_speaker_high': '',
      'mean_snr_db': 30 - 1000 * epsilon if epsilon else float('inf'),
      'error_rate': 0.1 + 10 * epsilon * (not control),
      'ci_low': 0.05,
      'ci_high': 0.4,
      'num_classes': 2,
    }
    for seed in (0, 1)
    for target in ('wavecnn', 'wavernn')
    for attack in attack_names
    for control in ('', 'random_sign')
    for epsilon in (0.0, 0.01, 0.02)
  ]


def test_figure_6_shows_every_curve_with_its_control_and_chance(tmp_path):
  fig = error_curves.error_against_epsilon(rows())
  panels, above = fig.axes[:2], fig.axes[2:]
  assert [axes.get_title() for axes in panels] == [
    'WaveCNN (white box)',
    'WaveRNN (made on WaveCNN)',
  ]
  for axes, snr_axis in zip(panels, above, strict=True):
    curves = [line for line in axes.lines if len(line.get_xdata()) == 3]
    assert len(curves) == 4
    assert sum(line.get_linestyle() == '--' for line in curves) == 2
    assert len(axes.collections) == 4
    fgsm = curves[0]
    assert fgsm.get_ydata().tolist() == pytest.approx([10, 20, 30])
    assert any(set(line.get_ydata()) == {50.0} for line in axes.lines)
    labels = [t.get_text() for t in snr_axis.get_xticklabels()]
    assert labels == ['20', '10']
    assert snr_axis.get_xlim() == axes.get_xlim()
  figures.save(fig, str(tmp_path / 'figure6'))
  assert (tmp_path / 'figure6.png').stat().st_size > 10_000
  assert b'<svg' in (tmp_path / 'figure6.svg').read_bytes()[:1000]


def test_epsilons_over_decades_get_a_logarithmic_axis():
  wide = [{**r, 'epsilon': r['epsilon'] and r['epsilon'] ** 3} for r in rows()]
  wide += [{**r, 'epsilon': 0.1} for r in rows() if r['epsilon'] == 0.02]
  for axes in error_curves.error_against_epsilon(wide).axes:
    assert axes.get_xscale() == 'symlog'


def test_every_attack_is_a_curve_and_controls_are_those_of_the_first():
  fig = attack_curves.error_by_attack(rows(('fgsm', 'pgd', 'square')))
  for axes in fig.axes[:2]:
    curves = [line for line in axes.lines if len(line.get_xdata()) == 3]
    assert [line.get_label() for line in curves] == [
      *('FGSM', 'PGD', 'square', 'random sign')
    ]
    # Means over the two seeds.
    assert curves[1].get_ydata().tolist() == pytest.approx([10, 20, 30])
    assert curves[3].get_ydata().tolist() == pytest.approx([10, 10, 10])


def test_the_transfer_matrix_says_who_breaks_whom():
  some = [r for r in rows() if r['epsilon'] == 0.02 and not r['control']]
  some += [{**some[0], 'source': 'wavernn', 'error_rate': 0.77}]
  axes, _ = transfer.transfer_matrix(some).axes
  assert [t.get_text() for t in axes.get_yticklabels()] == [
    *('WaveCNN\nseed 0', 'WaveRNN\nseed 0', 'WaveCNN\nseed 1')
  ]
  assert [t.get_text() for t in axes.get_xticklabels()] == [
    *('WaveCNN\nseed 0', 'WaveRNN\nseed 0'),
    *('WaveCNN\nseed 1', 'WaveRNN\nseed 1'),
  ]
  # Row by row; pairs that were not tried stay empty.
  assert [t.get_text() for t in axes.texts] == ['30', '30', '77', '30', '30']


def test_the_transfer_matrix_frames_the_model_attacked():
  """Which is off the diagonal where more models judge than are attacked."""
  some = [r for r in rows() if r['epsilon'] == 0.02 and not r['control']]
  axes, _ = transfer.transfer_matrix(some).axes
  frames = [p.get_xy() for p in axes.patches]
  assert [(round(x), round(y)) for x, y in frames] == [(0, 0), (2, 1)]


def test_figure_6_has_a_paler_band_by_speaker_around_each():
  known = {'num_speakers': 8, 'ci_speaker_low': 0.02, 'ci_speaker_high': 0.6}
  fig = error_curves.error_against_epsilon([{**row, **known} for row in rows()])
  for axes in fig.axes[:2]:
    dark, pale = axes.collections[::2], axes.collections[1::2]
    for inner, outer in zip(dark, pale, strict=True):
      assert outer.get_alpha() < inner.get_alpha()
      ends = [band.get_paths()[0].get_extents() for band in (inner, outer)]
      assert (ends[0].ymin, ends[0].ymax) == pytest.approx((5, 40))
      assert (ends[1].ymin, ends[1].ymax) == pytest.approx((2, 60))


def test_names_in_any_script_are_told_apart(monkeypatch, recwarn):
  """Boxes, which all names would become, are not drawn."""
  names = ('愤怒', '悲伤', '행복', 'ärgerlich', '$x$')
  assert len({figures.plain(name) for name in names}) == len(names)
  named = [{**row, 'target': names[0]} for row in rows()]
  transfer.transfer_matrix(
    [row for row in named if row['epsilon'] and not row['control']][:1]
  ).canvas.draw()
  assert not [w for w in recwarn if 'Glyph' in str(w.message)]
  latin = frozenset(range(0x20, 0x250))
  monkeypatch.setattr(figures, 'drawable', lambda: latin)
  assert figures.plain('愤怒a') == 'U+6124U+6012a'


def test_figures_are_the_same_bytes_each_time(tmp_path):
  for name in ('a', 'b'):
    figures.save(
      error_curves.error_against_epsilon(rows()), str(tmp_path / name)
    )
  for suffix in ('png', 'svg'):
    a, b = ((tmp_path / f'{n}.{suffix}').read_bytes() for n in 'ab')
    assert a == b


def test_a_model_that_is_not_trained_to_its_end_is_not_attacked(tmp_path):
  config = quickstart.get_config()
  config.training.batch_size = config.sweep.batch_size = 8
  with pytest.raises(
    errors.InputError, match=r'wavecnn-seed0 is not trained to its end; run'
  ):
    experiment.attack(experiment.Run.open(config, str(tmp_path)))


def test_both_batch_sizes_are_checked_before_any_work(tmp_path):
  config = quickstart.get_config()
  config.sweep.batch_size = 6
  with pytest.raises(
    errors.InputError, match=r'config.sweep.batch_size must.*got 6 and 4'
  ):
    experiment.reproduce(config, str(tmp_path / 'run'))
  assert not (tmp_path / 'run').exists()


def test_a_run_is_complete_with_its_studies(tmp_path, monkeypatch):
  """What is there is not made again, and the page is drawn after the rest."""
  done = []

  def leave(name, *leaves):
    def run(*args):
      done.append(name)
      for path in leaves:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text('')

    return run

  for name in studies.NAMES:
    study = studies.resolve(name)
    path = f'studies/{name}/{study.table}'
    monkeypatch.setattr(study, 'run', leave(name, path))
    monkeypatch.setattr(study, 'figures', lambda results: [])
  data = types.SimpleNamespace(task=types.SimpleNamespace(classes=('a', 'b')))
  monkeypatch.setattr(experiment.Run, 'data', data)
  for name, *leaves in (
    ('train', 'wavecnn-seed0/summary.json', 'wavernn-seed0/summary.json'),
    ('attack', 'attack/sweep.csv'),
    ('write_page', 'report/index.html'),
  ):
    monkeypatch.setattr(stages, name, leave(name, *leaves))
  prepared = []
  monkeypatch.setattr(stages.data, 'is_prepared', lambda config: bool(prepared))
  monkeypatch.setattr(
    stages.data, 'prepare', lambda *_: prepared.append(done.append('prepare'))
  )
  config = quickstart.get_config()
  config.seeds = (0,)
  for names, expected in (
    ((), ['prepare', 'train', 'attack', 'write_page']),
    # The page does not show it yet.
    (('gradients',), ['gradients', 'write_page']),
    (('gradients',), []),
    (('gradients', 'features'), ['features', 'write_page']),
    # The page shows another study less; what is there is not made again.
    (('features',), ['write_page']),
    (('features',), []),
  ):
    config.studies = names
    done.clear()
    experiment.reproduce(config, str(tmp_path))
    assert done == expected
  prepared.clear()  # a corpus that is gone is not missed
  experiment.reproduce(config, str(tmp_path))
  assert done == []
  (tmp_path / 'attack' / 'sweep.csv').unlink()
  experiment.reproduce(config, str(tmp_path))
  assert done[:2] == ['prepare', 'attack']


def test_studies_are_refused_before_any_work(tmp_path, monkeypatch):
  def refuse(study, config):
    raise errors.InputError(f'{study.name} wants other devices')

  monkeypatch.setattr(studies.Study, 'check_devices', refuse)
  with pytest.raises(errors.InputError, match='gradients wants other devices'):
    experiment.reproduce(quickstart.get_config(), str(tmp_path / 'run'))
  assert not (tmp_path / 'run').exists()


def test_epsilons_that_differ_from_clip_to_clip_are_no_radii_of_a_study():
  assert sweep.absolute_epsilons(('0', '20dbsnr', '0.02', '655.36lsb')) == (
    *(0.0, 0.02, 0.01),
  )


def test_a_model_or_seed_of_no_config_is_refused(tmp_path):
  run = experiment.Run.open(quickstart.get_config(), str(tmp_path))
  with pytest.raises(errors.InputError, match='one of wavecnn, wavernn'):
    experiment.train(run, ['wavenet'])
  with pytest.raises(errors.InputError, match=r'one of 0, 1 \(config.seeds\)'):
    experiment.train(run, None, [7])


def test_models_of_one_name_are_all_studied(tmp_path, monkeypatch):
  config = paper.get_config()
  metadata = {
    'task': 'gender',
    'classes': ['female', 'male'],
    'clip_samples': 96_000,
    'clip': config.clip.to_dict(),
  }
  monkeypatch.setattr(
    checkpoint,
    'load_classifier',
    lambda path, precision: checkpoint.Classifier(None, path, metadata, 1),
  )
  studied = {}
  monkeypatch.setattr(
    parts, 'write', lambda folder, found, *_, **__: studied.update(found)
  )
  paths = [str(tmp_path / name / 'run' / 'm') for name in 'xyz']
  config.gradients.checkpoints = tuple(paths)
  run = types.SimpleNamespace(
    config=config,
    classes=('female', 'male'),
    data=types.SimpleNamespace(splits={'test': []}),
  )
  studies.resolve('gradients').run(run, str(tmp_path))
  assert {name: c.variables for name, c in studied.items()} == dict(
    zip(('x/run/m', 'y/run/m', 'z/run/m'), paths, strict=True)
  )


def test_a_rate_is_searched_for_every_architecture(tmp_path, monkeypatch):
  config = quickstart.get_config()
  config.models = ('wavecnn', 'wavernn_on_wavecnn')
  searched = []

  def search(config, workdir, *, model_name, splits, classes):
    searched.append(model_name)
    row = {'validation_accuracy': 0.9, 'validation_loss': 0.5, 'seed': 0}
    row.update(num_clips=9, round=0, note='')
    rows = [{**row, 'learning_rate': rate} for rate in (1e-4, 1e-3)]
    return 1e-3, rows

  monkeypatch.setattr(rate_search, 'search', search)
  data = types.SimpleNamespace(
    task=types.SimpleNamespace(classes=()), splits={}
  )
  monkeypatch.setattr(experiment.Run, 'data', data)
  (tmp_path / 'lr_search').mkdir()
  asked = ['wavernn_on_wavecnn']
  run = experiment.Run.open(config, str(tmp_path))
  found = experiment.search_rates(run, asked)
  assert found == {'wavernn': 1e-3}
  found = experiment.search_rates(run)
  assert found == {'wavecnn': 1e-3, 'wavernn': 1e-3}
  assert searched == ['wavernn', 'wavecnn']
  with pytest.raises(
    errors.InputError,
    match=r'--model must be one of wavecnn, wavernn_on_wavecnn '
    r'\(config.models\), got wavernn; name one',
  ):
    experiment.search_rates(run, ['wavernn'])


@pytest.mark.parametrize(
  ('side_by_side', 'words'),
  [
    (False, '4 trainings, one after another, on 4 devices'),
    (True, '4 trainings, 4 at a time, on 1 device each'),
  ],
)
def test_seeds_of_a_model_share_what_is_compiled(
  tmp_path, monkeypatch, caplog, side_by_side, words
):
  config = quickstart.get_config()
  config.models, config.source = (MODEL, 'wavecnn'), MODEL
  config.training.side_by_side = side_by_side
  split = input_pipeline.Split(
    ids=np.array(['a']),
    pcm=np.zeros((1, validation.clip_samples(config)), np.int16),
    num_samples=np.array([9]),
    labels=np.zeros(1, np.int32),
  )
  data = types.SimpleNamespace(
    splits={'train': split}, task=types.SimpleNamespace(classes=('a', 'b'))
  )
  monkeypatch.setattr(experiment.Run, 'data', data)
  given = {}

  def train(config, folder, *, model_name, seed, program, **_):
    given[model_name, seed] = program
    return {'test': {'accuracy': 1.0}, 'best_epoch': 1}

  monkeypatch.setattr(training, 'train_and_evaluate', train)
  with caplog.at_level(logging.INFO, 'advspeech'):
    experiment.train(experiment.Run.open(config, str(tmp_path)))
  assert words in caplog.messages
  if not side_by_side:  # on the same devices
    assert given[MODEL, 0] is given[MODEL, 1]
    assert given['wavecnn', 0] is given['wavecnn', 1]
  assert given[MODEL, 0] is not given['wavecnn', 0]


def test_a_front_end_is_taken_from_a_training_that_ended(tmp_path):
  config = quickstart.get_config()
  config.models = (*config.models, 'wavernn_on_wavecnn')
  run = experiment.Run.open(config, str(tmp_path))
  # Begun, but not ended.
  (tmp_path / 'wavecnn-seed0' / 'checkpoints' / '1').mkdir(parents=True)
  for use in (
    lambda: experiment.train(run, ['wavernn_on_wavecnn'], [0]),
    lambda: run.classifier('wavecnn', 0),
    lambda: experiment.attack(run),
  ):
    with pytest.raises(
      errors.InputError,
      match=r'wavecnn-seed0 is not trained to its end; run python -m '
      r'launch\.train --model=wavecnn --seed=0 with the same --config and',
    ):
      use()


def test_a_front_end_that_was_trained_anew_is_no_shared_one(
  tmp_path, monkeypatch
):
  config = quickstart.get_config()
  config.models = (*config.models, 'wavernn_on_wavecnn')
  weights = {'wavecnn': 1.0, 'wavernn_on_wavecnn': 1.0}
  for name in weights:
    (tmp_path / f'{name}-seed0').mkdir()
    (tmp_path / f'{name}-seed0' / 'summary.json').touch()

  def load_classifier(path, metadata, precision):
    name = os.path.basename(path).removesuffix('-seed0')
    variables = {'params': {'frontend': np.full(3, weights[name])}}
    return checkpoint.Classifier(None, variables, metadata, 1)

  monkeypatch.setattr(checkpoint, 'load_classifier', load_classifier)
  data = types.SimpleNamespace(task=types.SimpleNamespace(classes=('a', 'b')))
  monkeypatch.setattr(experiment.Run, 'data', data)
  run = experiment.Run.open(config, str(tmp_path))
  assert run.classifier('wavernn_on_wavecnn', 0)
  weights['wavecnn'] = 1.5
  run = experiment.Run.open(config, str(tmp_path))
  assert run.classifier('wavecnn', 0)
  with pytest.raises(errors.InputError, match='has another front end than wav'):
    run.classifier('wavernn_on_wavecnn', 0)


def test_a_report_before_the_attack_says_what_to_run(tmp_path):
  with pytest.raises(errors.InputError, match=r'run python -m launch\.attack'):
    report.write(str(tmp_path))


def test_config_json_is_the_config(tmp_path):
  config = quickstart.get_config()
  experiment.Run.open(config, str(tmp_path))
  saved = json.loads((tmp_path / 'config.json').read_text())
  assert saved['training']['num_epochs'] == config.training.num_epochs


def test_more_models_and_seeds_may_come_to_a_trained_folder(tmp_path):
  config = quickstart.get_config()
  experiment.Run.open(config, str(tmp_path))
  (tmp_path / 'wavecnn-seed0' / 'checkpoints' / '1').mkdir(parents=True)
  config.models = (*config.models, 'wavernn_on_wavecnn')
  config.seeds = (0, 1, 2)
  experiment.Run.open(config, str(tmp_path))
  saved = json.loads((tmp_path / 'config.json').read_text())
  assert saved['seeds'] == [0, 1, 2]


def test_a_model_of_another_task_gets_its_own_labels_where_it_has_any():
  corpus = types.SimpleNamespace(
    ids=np.array(['a', 'b', 'c', 'd']),
    speaker=np.array(['1', '2', '1', '2']),
    sex=np.array(['female', 'male', 'female', 'male']),
    emotion=np.array(['sad', 'angry', 'happy', 'angry']),
  )
  split = types.SimpleNamespace(ids=np.array(['d', 'c', 'a']))
  labels = attacking.labels_of(
    {'task': 'emotion', 'classes': ['angry', 'sad']}, corpus, split
  )
  assert labels.tolist() == [0, -1, 1]


@pytest.mark.parametrize(
  ('task', 'classes', 'labels'),
  [
    # Its own names and column, in its own order; whoever else there is.
    ('speaker', ['3', '2'], [1, 0, -1]),
    ('speaker', ['1', '2', '4', '5'], [1, -1, 0]),
    ('label', ['yes', 'no'], [1, -1, 0]),
    ('gender', ['male', 'female'], [0, 0, 0]),
    ('emotion', ['happy', 'calm'], [-1, 0, -1]),
  ],
)
def test_a_model_is_asked_in_the_classes_it_was_trained_with(
  task, classes, labels
):
  corpus = types.SimpleNamespace(
    ids=np.array(['a', 'b', 'c', 'd']),
    speaker=np.array(['1', '2', '3', '2']),
    sex=np.array(['male'] * 4),
    emotion=np.array(['sad', 'angry', 'happy', 'angry']),
    label=np.array(['yes', '', '', 'no']),
  )
  split = types.SimpleNamespace(ids=np.array(['d', 'c', 'a']))
  metadata = {'task': task, 'classes': classes}
  assert attacking.labels_of(metadata, corpus, split).tolist() == labels


def test_a_model_of_other_clips_is_refused():
  config = paper.get_config()
  metadata = {'clip_samples': 96_000, 'clip': config.clip.to_dict()}
  check = functools.partial(
    checkpoint.check_clips, 'runs/a', clip_s=config.clip_s, clip=config.clip
  )
  check(metadata)
  for change, told in (
    ({'clip_samples': 48_000}, 'runs/a was trained with clip_s 3.0, .* 6.0;'),
    (
      {'clip': {'pad': 'end', 'cut': 'start', 'normalize': 'peak'}},
      r'with clip\.normalize peak, the config says none;',
    ),
  ):
    with pytest.raises(errors.InputError, match=told):
      check({**metadata, **change})


def test_an_audit_says_what_is_in_each_split_and_what_is_not(caplog):
  corpus = types.SimpleNamespace(
    ids=np.array([f'u{i}' for i in range(6)]),
    speaker=np.array(['ann', 'bob', 'ann', '', 'eve', 'bob']),
    statement=np.array(['hello', 'bye', 'hello', 'bye', 'hello', 'hello']),
    take=np.full(6, ''),
  )
  task = types.SimpleNamespace(classes=('yes', 'no', 'maybe'))

  def split(rows, labels):
    return input_pipeline.Split(
      corpus.ids[rows],
      np.zeros((len(rows), 1), np.int16),
      np.array([24_000] * len(rows)),
      np.array(labels, np.int32),
    )

  splits = {
    'train': split([0, 1, 2], [0, 1, 2]),
    'validation': split([3], [1]),
    'test': split([4, 5], [2, 0]),
  }
  with caplog.at_level(logging.INFO, 'advspeech'):
    found = data.audit(corpus, task, splits)
  assert 'shared' not in found['train']
  assert found['validation']['shared'] == {
    'speaker': None,
    'statement': 1,
    'speaker and statement': None,
    'take': None,
  }
  assert found['test']['shared'] == {
    'speaker': 1,
    'statement': 2,
    'speaker and statement': 0,
    'take': None,
  }
  train, validation, _, without, test, shared, without_no = caplog.records
  assert shared.getMessage() == (
    'test: in training too are the speaker of 1 clips, the statement of 2 '
    'clips, the speaker and statement of 0 clips'
  )
  assert train.getMessage() == (
    'train: 3 clips (1 yes, 1 no, 1 maybe), 2 speakers, 4 s of sound'
  )
  assert validation.getMessage() == (
    'validation: 1 clips (0 yes, 1 no, 0 maybe), unknown speakers, 2 s of sound'
  )
  assert test.getMessage() == (
    'test: 2 clips (1 yes, 0 no, 1 maybe), 2 speakers, 3 s of sound'
  )
  assert without.levelname == without_no.levelname == 'WARNING'
  assert 'validation has no clip of yes, maybe' in without.getMessage()
  assert 'test has no clip of no;' in without_no.getMessage()
