"""The study's tables against hand counts; its attacks on a tiny model."""

import dataclasses
import math

import feature_subjects
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import (
  audio,
  errors,
  input_pipeline,
  parallel,
  quality,
  statistics,
  storage,
)
from advspeech import figures as figures_lib
from advspeech.studies.features import (
  clips,
  comparisons,
  equal_error,
  examples,
  figures,
  measures,
  norm_tables,
  norms,
  tables,
)
from advspeech.studies.features import settings as settings_lib
from advspeech.sweep import rates

MFCC = ('mfcc13_griffin_lim', 'fgsm', 'features')
WAVE = ('waveform', 'fgsm', 'waveform')


def row(
  variant,
  kind,
  budget,
  number,
  *,
  wrong,
  attainable=1,
  alone=False,
  priced='',
):
  """One clip's row; `alone` is whether rebuilding it is enough to fool."""
  says = {True: 'b', False: 'a'}
  return {
    'task': 'gender',
    'seed': 0,
    'source': 'wavecnn',
    **dict(zip(settings_lib.Variant._fields, variant, strict=True)),
    'kind': kind,
    'budget': budget,
    'priced': priced,
    'epsilon': 0.5,
    'attainable': attainable,
    'id': f'clip-{number}',
    'speaker': f'voice-{number}',
    'label': 'a',
    'leaves': 'label',
    'feature_l2': 1.0,
    **dict.fromkeys(measures.MEASURES, 1.0),
    **dict.fromkeys(measures.SCORES, ''),
    'conversion_l2': 2.0 if number % 2 else 0.5,
    'target': 'wavecnn',
    'clean_prediction': 'a',
    'unperturbed_prediction': says[alone],
    'prediction': says[wrong],
    'prediction_int16': says[wrong],
  }


def test_errors_are_counted_over_the_clips_that_can_have_the_budget():
  rows = [
    row(MFCC, 'snr', -5.0, i, wrong=i < 3, attainable=int(i < 6), alone=i == 7)
    for i in range(8)
  ]
  (found,) = comparisons.budget_rows(rows)
  assert (found['num_clips'], found['num_attainable']) == (8, 6)
  assert (found['num_errors'], found['error_rate']) == (3, 0.5)
  assert found['leaves'] == 'label'
  assert found['errors_by_class'] == '{"a": [3, 6]}'
  assert found['answers_by_class'] == '{"a": 3, "b": 3}'
  assert (found['ci_low'], found['ci_high']) == statistics.wilson_interval(3, 6)
  assert (found['clean_error'], found['unperturbed_error']) == (0, 1 / 8)
  assert found['conversion_larger'] == 0.5  # clips 1, 3, 5 of 6
  assert found['num_speakers'] == 6
  ends = [found[f'conversion_larger_{end}'] for end in rates.ENDS]
  assert ends[2] <= ends[0] < 0.5 < ends[1] <= ends[3]
  assert set(found) == set(comparisons.BUDGET_COLUMNS)


def test_a_budget_that_no_clip_can_have_is_a_row_of_nan_and_not_missing():
  rows = [row(MFCC, 'snr', 30.0, i, wrong=True, attainable=0) for i in range(4)]
  (found,) = comparisons.budget_rows(rows)
  assert found['num_attainable'] == found['num_errors'] == 0
  assert math.isnan(found['error_rate'])
  assert found['errors_by_class'] == ''


def test_attacks_are_compared_on_the_clips_that_both_can_have():
  rows = [
    row(MFCC, 'snr', -5.0, i, wrong=i == 0, attainable=int(i > 1))
    for i in range(6)
  ] + [row(WAVE, 'snr', -5.0, i, wrong=i % 2 == 0) for i in range(6)]
  (found,) = comparisons.equal_rows(rows)
  assert (found['num_clips'], found['num_attainable']) == (6, 4)
  assert found['error_rate'] == 0
  assert found['end_to_end_error_rate'] == 0.5
  assert found['errors_by_class'] == '{"a": [0, 4]}'
  assert found['end_to_end_errors_by_class'] == '{"a": [2, 4]}'
  assert found['difference'] == -0.5
  wrong = np.zeros(4, bool), np.array([True, False, True, False])
  assert found['mcnemar_p'] == statistics.mcnemar(*wrong).p_value
  assert (found['difference_ci_low'], found['difference_ci_high']) == (
    statistics.paired_difference_interval(*wrong)
  )
  assert set(found) == set(comparisons.EQUAL_COLUMNS)


def test_the_price_of_a_conversion_is_compared_with_the_conversion_alone():
  rows = [
    row(MFCC, 'epsilon', 0.0, i, wrong=False, alone=i == 0) for i in range(4)
  ] + [
    row(WAVE, 'price', 0.0, i, wrong=i < 3, priced='mfcc13_griffin_lim')
    for i in range(4)
  ]
  (found,) = comparisons.equal_rows(rows)
  assert (found['representation'], found['kind']) == (MFCC[0], 'price')
  assert found['error_rate'] == 0.25
  assert found['end_to_end_error_rate'] == 0.75


def curve(errors, variant=WAVE, **kwargs):
  """Rows of 8 clips of which so many are wrong at 20, 10 and 0 dB."""
  return [
    row(variant, 'snr', snr_db, i, wrong=i < num, **kwargs)
    for snr_db, num in zip((20.0, 10.0, 0.0), errors, strict=True)
    for i in range(8)
  ]


SETTINGS = settings_lib.Settings(error_rates=(0.5,))


def test_the_snr_of_an_error_lies_on_the_line_between_two_points():
  (found,) = equal_error.equal_error_rows(curve((0, 2, 6)), SETTINGS)
  assert found['snr_db'] == pytest.approx(5)
  assert found['ci_low'] <= 5 <= found['ci_high']
  assert found['note'] == ''


def test_an_error_beyond_what_was_compared_is_not_made_up():
  found = [
    equal_error.equal_error_rows(rows, SETTINGS)[0]
    for rows in (
      curve((0, 1, 3)),
      curve((5, 6, 8)),
      curve((5, 6, 8), attainable=0),
    )
  ]
  assert [f['note'] for f in found] == [
    'not reached',
    'reached at the highest SNR already',
    'no SNR compared is above the conversion loss',
  ]
  assert math.isnan(found[0]['snr_db'])
  assert math.isnan(found[1]['ci_low'])


def norm(feature_l2, adversarial_l2, clip=0):
  return {
    'task': 'gender',
    'seed': 0,
    'representation': 'mfcc13_original',
    'id': f'clip-{clip}',
    'feature_l2': feature_l2,
    'conversion_l2': 1.0,
    'adversarial_l2': adversarial_l2,
    'overall_l2': 5 - adversarial_l2,
  }


def test_rank_correlations_of_sizes():
  sizes = np.linspace(0.1, 2, 12)
  rows = [norm(x, x**2, clip=i % 4) for i, x in enumerate(sizes)]
  (found,) = norm_tables.norm_summary_rows(rows)
  assert found['spearman_adversarial'] == pytest.approx(1)
  assert found['spearman_overall'] == pytest.approx(-1)
  # A law that bends is no spread at one size.
  assert found['spread_db'] == pytest.approx(0, abs=1e-9)


def test_the_spread_of_sizes_is_that_at_one_size():
  rng = np.random.default_rng(0)
  sizes, noise_db = np.exp(rng.uniform(-3, 3, 2000)), rng.uniform(-10, 10, 2000)
  rows = [
    norm(x, x**1.5 * 10 ** (d / 20))
    for x, d in zip(sizes, noise_db, strict=True)
  ]
  (found,) = norm_tables.norm_summary_rows(rows)
  assert found['spread_db'] == pytest.approx(18, abs=1)  # 90 % of 20 dB
  assert math.isnan(found['adversarial_ci_low'])  # one clip


def test_many_perturbations_of_few_clips_are_few():
  rng = np.random.default_rng(1)
  widths = []
  for num_clips in (48, 4):
    levels = np.exp(2 * rng.normal(size=num_clips))
    rows = [
      norm(x, x * levels[i % num_clips], i % num_clips)
      for i, x in enumerate(np.exp(rng.uniform(0, 1, 192)))
    ]
    (found,) = norm_tables.norm_summary_rows(rows)
    widths.append(found['adversarial_ci_high'] - found['adversarial_ci_low'])
  assert widths[1] > 1.2 * widths[0]


TIME = feature_subjects.TIME


@pytest.fixture(scope='module')
def study():
  return feature_subjects.make_study()


def attack(classifiers, split, settings):
  return clips.attack_clips(
    classifiers,
    'wavecnn',
    split,
    task='gender',
    seed=0,
    classes=('f', 'm'),
    settings=settings,
  )


@pytest.fixture(scope='module')
def attacked(study):
  split, classifiers, settings = study
  return attack(classifiers, split, settings)


@pytest.mark.slow
def test_every_attainable_clip_has_the_size_asked_for(attacked):
  checked = 0
  for found in attacked:
    if found['kind'] == 'snr' and found['attainable']:
      assert found['overall_snr_db'] == pytest.approx(found['budget'], abs=0.3)
      checked += 1
    if found['kind'] == 'max_norm' and found['attainable']:
      assert found['overall_max_norm'] == pytest.approx(
        found['budget'], rel=0.05
      )
      checked += 1
    if found['priced'] == 'mfcc13_original':
      (mfcc,) = [
        other
        for other in attacked
        if (other['id'], other['kind'], other['budget'])
        == (found['id'], 'epsilon', 0)
        and other['representation'] == 'mfcc13_original'
      ]
      assert found['overall_snr_db'] == pytest.approx(
        mfcc['conversion_snr_db'], abs=0.3
      )
      checked += 1
  assert checked > 3 * 2 * 3


@pytest.mark.slow
def test_what_the_conversion_exceeds_is_reported_and_left_unperturbed(attacked):
  lost = [
    found
    for found in attacked
    if found['representation'] == 'mfcc13_original'
    and found['kind'] == 'snr'
    and found['budget'] == 20
  ]
  assert len(lost) == 3
  for found in lost:
    assert not found['attainable']
    assert found['conversion_snr_db'] < 20
    assert found['epsilon'] == found['adversarial_max_norm'] == 0


@pytest.mark.slow
def test_the_waveform_has_no_conversion_loss_and_the_rest_adds_up(attacked):
  for found in attacked:
    if found['representation'] == 'waveform':
      assert found['conversion_max_norm'] == 0
      assert found['conversion_snr_db'] == math.inf
      assert found['overall_l2'] == pytest.approx(found['adversarial_l2'])
    assert found['overall_l2'] <= 1.0001 * (
      found['conversion_l2'] + found['adversarial_l2']
    )
    if found['kind'] == 'epsilon' and found['budget'] == 0:
      assert found['overall_l2'] == found['conversion_l2']
      assert found['prediction'] == found['unperturbed_prediction']


@pytest.mark.slow
def test_rows_go_to_disk_and_back(attacked, tmp_path):
  path = str(tmp_path / 'clips.csv')
  storage.write_table(path, clips.CLIP_COLUMNS, attacked)
  back = storage.read_table(path)
  assert [x['id'] for x in back] == [x['id'] for x in attacked]
  a, b = (comparisons.budget_rows(rows) for rows in (attacked, back))
  assert [x['error_rate'] for x in a] == pytest.approx(
    [x['error_rate'] for x in b], nan_ok=True
  )


@pytest.mark.slow
def test_a_stopped_study_goes_on_with_the_next_seed(
  study, attacked, tmp_path, monkeypatch
):
  split, classifiers, settings = study
  seeds = []

  def attack(*args, seed, **kwargs):
    seeds.append(seed)
    if seeds == [0, 1]:
      raise KeyboardInterrupt
    return [{**found, 'seed': seed} for found in attacked]

  monkeypatch.setattr(tables, 'attack_clips', attack)

  def write(source='wavecnn', seeds=None, **changes):
    tables.write(
      str(tmp_path),
      seeds or {0: classifiers, 1: classifiers},
      source,
      split,
      task='gender',
      classes=('f', 'm'),
      settings=dataclasses.replace(settings, **changes),
    )

  with pytest.raises(KeyboardInterrupt):
    write()
  with pytest.raises(errors.InputError, match=r'another study \(source, num_'):
    write('wavernn', num_halvings=3)
  changed = {'wavecnn': dataclasses.replace(classifiers['wavecnn'], epoch=2)}
  with pytest.raises(errors.InputError, match=r'another study \(models differ'):
    write(seeds={1: changed})
  assert not (tmp_path / 'budgets.csv').exists()
  write()
  assert seeds == [0, 1, 1]
  for name, draw in figures.plans(str(tmp_path)).items():
    figures_lib.save(draw(), str(tmp_path / name))
  budgets = storage.read_table(tmp_path / 'budgets.csv')
  assert {found['seed'] for found in budgets} == {0, 1}
  norms = storage.read_table(tmp_path / 'norms.csv')
  assert len(norms) == 3 * 2  # clips, perturbations, one representation
  assert storage.read_json(tmp_path / 'examples.json', kind=list) == []
  assert (tmp_path / 'norms.svg').exists()

  # One of its seeds again, and another: nothing of the first is lost.
  seeds[:] = [2]
  before = {path.name: path.read_bytes() for path in tmp_path.glob('*.*')}
  write(seeds={1: classifiers})
  assert seeds == [2]
  after = {path.name: path.read_bytes() for path in tmp_path.glob('*.*')}
  assert after == before
  write(seeds={5: classifiers})
  assert seeds == [2, 5]
  budgets = storage.read_table(tmp_path / 'budgets.csv')
  assert {found['seed'] for found in budgets} == {0, 1, 5}
  for name in ('norms.csv', 'norms_summary.csv', 'examples.json'):
    assert (tmp_path / name).read_bytes() == before[name]


@pytest.mark.slow
def test_what_is_heard_is_the_answer_to_the_file(study, attacked, tmp_path):
  split, classifiers, _ = study
  shown = {
    'end-to-end': settings_lib.Variant('waveform', 'fgsm', 'waveform'),
    'spectrogram': settings_lib.Variant(
      'spectrogram_original', 'fgsm', 'waveform'
    ),
    'mfcc': settings_lib.Variant('mfcc13_griffin_lim', 'fgsm', 'features'),
  }

  def fooling(id_, variant, int16):
    return {
      **attacked[0],
      **variant._asdict(),
      'id': id_,
      'target': 'wavecnn',
      'label': 'f',
      'clean_prediction': 'f',
      'unperturbed_prediction': 'f',
      'prediction': 'm',
      'prediction_int16': int16,
      'attainable': 1,
      'epsilon': 0.002,
      'overall_snr_db': 5.0,
    }

  # Clip a is right again once it was saved: it is no example.
  rows = [
    fooling(id_, variant, int16)
    for id_, int16 in (('a', 'f'), ('b', 'x'))
    for variant in shown.values()
  ]
  entries = examples.write_examples(
    str(tmp_path), classifiers['wavecnn'], split, rows, 'wavecnn'
  )
  assert {entry['id'] for entry in entries} == {'b'}
  heard = {entry['kind']: entry['prediction'] for entry in entries}
  assert heard == {
    'original': 'f',
    'mfcc-unperturbed': 'f',
    **dict.fromkeys(shown, 'x'),
  }
  for entry in entries:
    assert len(audio.load(tmp_path / entry['file'])) == TIME


def test_clips_are_spread_over_the_split():
  split = input_pipeline.Split(
    *(np.arange(10), np.zeros((10, 4)), np.arange(10), np.arange(10))
  )
  found = input_pipeline.spread(split, 4)
  np.testing.assert_array_equal(found.ids, [0, 3, 6, 9])
  assert len(input_pipeline.spread(split, 99)) == 10


@pytest.mark.slow
def test_results_do_not_depend_on_the_number_of_devices(
  study, attacked, monkeypatch
):
  split, classifiers, settings = study

  def sizes_of():
    return norms.norm_rows(split, task='gender', seed=0, settings=settings)

  assert len(jax.devices()) == 4
  sizes = sizes_of()
  one = parallel.make_mesh(devices=jax.devices()[:1])
  monkeypatch.setattr(parallel, 'make_mesh', lambda: one)
  assert attack(classifiers, split, settings) == attacked
  assert sizes_of() == sizes
  assert len({row['amplitude'] for row in sizes}) == len(split) * 2


@pytest.mark.slow
def test_clips_scored_are_spread_over_the_split(study, monkeypatch):
  split, classifiers, settings = study
  monkeypatch.setattr(
    quality, 'stoi', lambda *_: quality.Scores((0.5,), num_undefined=0)
  )
  few = dataclasses.replace(
    settings, num_scored=2, variants=settings.variants[-1:], max_norms=()
  )
  rows = attack(classifiers, split, few)
  scored = {row['id'] for row in rows if row['overall_stoi'] != ''}
  assert scored == {'a', 'c'}


@pytest.mark.slow
def test_random_signs_are_each_clips_own(study, attacked):
  """And not those of another seed."""
  split, classifiers, settings = study
  signs = settings.variants[-1:]
  settings = dataclasses.replace(settings, variants=signs, num_scored=0)
  order = np.array([2, 0])
  some = input_pipeline.subset(split, order)

  def sizes(rows):
    return {
      (row['id'], row['kind'], row['budget']): row['overall_snr_db']
      for row in rows
      if row['method'] == 'random_sign' and row['kind'] != 'price'
    }

  whole, part = sizes(attacked), sizes(attack(classifiers, some, settings))
  assert part.items() <= whole.items()
  other = clips.attack_clips(
    classifiers,
    'wavecnn',
    some,
    task='gender',
    seed=1,
    classes=('f', 'm'),
    settings=settings,
  )
  assert sizes(other) != part


@pytest.mark.slow
def test_changes_of_features_stay_within_the_recording():
  mask = jnp.zeros(16_000).at[4000:9000].set(1)
  for i in range(20):
    change, amplitude = norms.rectangle(
      jax.random.key(i), mask, shape=(100, 13)
    )
    frames, bins = np.nonzero(np.asarray(change))
    assert 0.5 <= amplitude <= 16
    np.testing.assert_allclose(np.abs(change[frames, bins]), amplitude)
    assert 25 <= frames.min() <= frames.max() < 56
    height, width = np.ptp(frames) + 1, np.ptp(bins) + 1
    assert len(frames) == height * width  # a rectangle without holes


def test_two_perturbations_may_contradict_in_size():
  def row(id_, feature, adversarial):
    return {
      **dict.fromkeys(norms.NORM_COLUMNS, 0),
      **{'task': 'gender', 'representation': 'mfcc13_original', 'id': id_},
      **{'feature_l2': feature, 'adversarial_l2': adversarial},
    }

  agreeing = [row('a', 1, 1), row('b', 2, 2), row('c', 4, 4)]
  assert norm_tables.norm_example_rows(agreeing) == []
  rows = [*agreeing, row('d', 3, 0.25), row('e', 0.5, 0.9)]
  (found,) = norm_tables.norm_example_rows(rows)
  assert set(found) == set(norm_tables.NORM_EXAMPLE_COLUMNS)
  # e is 6 times smaller than d in features and 3.6 times larger in audio; a is
  # 3 and 4 times, b 1.5 and 8.
  assert (found['small_id'], found['large_id']) == ('e', 'd')
