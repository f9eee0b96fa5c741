"""Tables and figures are made of the arrays alone."""

import numpy as np
import pytest

from advspeech import input_pipeline
from advspeech.studies.gradients import (
  analysis,
  figures,
  growth,
  recurrence,
  summary,
  tables,
)

NAMES = ('wavecnn-seed0', 'wavernn-seed0')
NUM_CLIPS, FRAMES = 5, 50
TIME = FRAMES * 640


@pytest.fixture(scope='module')
def split():
  return input_pipeline.Split(
    ids=np.array([f'clip-{i}' for i in range(NUM_CLIPS)]),
    pcm=np.zeros((NUM_CLIPS, TIME), np.int16),
    num_samples=np.full(NUM_CLIPS, TIME),
    labels=np.array([0, 1, 0, 1, 1]),
  )


def region(rng):
  keys = (
    *('l1', 'l2', 'max', 'mean_abs', 'zero_share', 'outside_energy'),
    *('early_l1_share', 'half_life_ms', 'num_samples'),
    *('index_1', 'index_10', 'index_50'),
  )
  return {key: rng.uniform(1, 2, (NUM_CLIPS, 2)) for key in keys}


@pytest.fixture(scope='module')
def arrays():
  rng = np.random.default_rng(0)
  pairs = ('cosine', 'sign_agreement', 'norm_ratio', 'rank_correlation')
  clips = {
    alignment: {
      'all': region(rng),
      'recorded': region(rng),
      'profile': rng.uniform(size=(NUM_CLIPS, 2, FRAMES)),
      'pairs': {key: rng.uniform(size=(NUM_CLIPS, 1)) for key in pairs},
    }
    for alignment in analysis.ALIGNMENTS
  }
  clips['start']['all']['half_life_ms'][:2, 1] = np.inf
  clips['start']['all']['l1'][:, 1] = clips['start']['all']['l1'][:, 0] / 10
  signs = (
    *('zero_share', 'early_zero_share', 'sign_agreement'),
    *('early_sign_agreement', 'first_perturbed'),
  )
  predictions = np.tile(np.array([0, 1, 0, 1, 1])[:, None, None], (1, 5, 2))
  predictions[:2, 4, 1] = 1 - predictions[:2, 4, 1]
  fidelity = {
    name: {
      'signs': {key: rng.uniform(size=(NUM_CLIPS, 4)) for key in signs},
      'clean': predictions[:, 0, 0],
      'predictions': predictions,
    }
    for name in NAMES
  }
  starts = np.arange(0, FRAMES + 1, 5)
  decay = 0.5 ** ((FRAMES - starts) / 10)
  jacobians = {
    'wavernn-seed0': {
      'norms': np.tile(decay, (NUM_CLIPS, 1)),
      'start': np.tile(starts, (NUM_CLIPS, 1)),
      'one_step': np.linspace(0.5, 1.5, FRAMES)[None].repeat(NUM_CLIPS, 0),
      'forget': np.full((NUM_CLIPS, FRAMES), 0.7),
      'recurrent': recurrence.Recurrent('lstm', 'trained', 1.0, None, {}),
    },
    'untrained tanh': {
      'norms': np.zeros((NUM_CLIPS, len(starts))),
      'one_step': np.zeros((NUM_CLIPS, FRAMES)),
      'start': np.tile(starts, (NUM_CLIPS, 1)),
      'recurrent': recurrence.Recurrent('tanh', 'untrained', None, None, {}),
    },
  }
  return {
    'clips': clips,
    'fidelity': fidelity,
    'jacobians': jacobians,
    'accumulation': {name: accumulation() for name in NAMES},
  }


def accumulation():
  """Loss that grows as n^0.8, linear to 1e-4 and as epsilon^2 after it."""
  epsilons = np.array(growth.EPSILONS)
  measured = np.where(epsilons <= 1e-4, epsilons, epsilons**2 / 1e-4)
  n = np.array([100, 1000, 10_000])
  rise = np.tile((n**0.8)[:, None], (NUM_CLIPS, 1, 2))
  return {
    'epsilon': {
      'n': np.tile(epsilons, (NUM_CLIPS, 1)),
      'predicted': np.tile(epsilons, (NUM_CLIPS, 1)),
      'measured': np.tile(measured, (NUM_CLIPS, 1)),
    },
    'samples': {
      'n': np.tile(n, (NUM_CLIPS, 1)),
      'predicted': rise,
      'measured': rise,
    },
  }


VOICES = np.array([f'voice-{i}' for i in range(NUM_CLIPS)])


def summary_of(arrays, names=NAMES, **who):
  who = {'speakers': VOICES, 'studied': VOICES, **who}
  return summary.summary_rows(names, arrays, 0.95, **who)


def found(rows, **keys):
  (row,) = (r for r in rows if all(r[k] == v for k, v in keys.items()))
  return row


def test_a_row_a_clip_model_region_and_alignment(split, arrays):
  rows, compared = tables.clip_rows(split, NAMES, arrays)
  assert len(rows) == NUM_CLIPS * 2 * 2 * 2
  assert len(compared) == NUM_CLIPS * 2
  row = found(
    rows,
    id='clip-3',
    model='wavernn-seed0',
    alignment='end',
    region='recorded',
  )
  assert row['l1'] == arrays['clips']['end']['recorded']['l1'][3, 1]
  assert (
    compared[0]['cosine'] == (arrays['clips']['start']['pairs']['cosine'][0, 0])
  )


def test_fgsm_rows_count_errors_by_whose_signs(split, arrays):
  rows = tables.fgsm_rows(
    split, arrays['fidelity'], (0.0, 0.01), ('a', 'b'), 0.95
  )
  assert len(rows) == 2 * 5 * 2
  noise = found(
    rows, model='wavernn-seed0', direction='random_sign', epsilon=0.01
  )
  assert noise['num_errors'] == 2
  assert noise['flip_rate'] == 0.4
  assert noise['errors_by_class'] == '{"a": [1, 2], "b": [1, 3]}'
  assert noise['answers_by_class'] == '{"a": 2, "b": 3}'
  assert sum(row['num_errors'] for row in rows) == 4


def test_the_summary_has_what_the_arrays_were_made_of(arrays):
  rows = summary_of(arrays)
  life = found(
    rows,
    part='clips',
    model='wavernn-seed0',
    setting='start, all',
    statistic='halvings_per_s',
  )
  assert (life['num_clips'], life['num_left_out']) == (5, 0)
  assert life['ci_low'] == 0
  assert life['ci_low'] <= life['estimate'] <= life['ci_high']
  share = found(
    rows,
    part='clips',
    model='wavernn-seed0',
    setting='start, all',
    statistic='early_l1_share',
  )
  shares = arrays['clips']['start']['all']['early_l1_share'][:, 1]
  assert share['of'] == 'median'
  assert share['estimate'] == np.median(shares) != np.mean(shares)
  for what in ('predicted', 'measured'):
    exponent = found(
      rows,
      model='wavecnn-seed0',
      setting='samples, epsilon 1e-06',
      statistic=f'{what}_exponent',
    )
    assert exponent['estimate'] == pytest.approx(0.8)
  until = found(rows, model='wavecnn-seed0', statistic='linear_until')
  below = [e for e in growth.EPSILONS if e <= 1.1e-4]
  assert until['estimate'] == pytest.approx(below[-1])
  # Half in ten frames of 40 ms.
  reach = found(
    rows,
    part='jacobians',
    model='wavernn-seed0',
    statistic='halvings_per_s',
  )
  assert reach['estimate'] == pytest.approx(2.5)
  for what, value in (('median', 1.0), ('max', 1.5)):
    one_step = found(rows, model='wavernn-seed0', statistic=f'one_step_{what}')
    assert one_step['estimate'] == pytest.approx(value)
  # A constant ratio has no spread to be measured in.
  effect = found(
    rows, part='effects', setting='start, all', statistic='log10_l1'
  )
  assert effect['other'] == 'wavernn-seed0'
  assert effect['estimate'] > 10 or np.isnan(effect['estimate'])


def test_a_mean_of_few_clips_has_no_interval(arrays):
  """BCa of eight skewed values holds their mean in 76 % of experiments."""
  few = summary_of(arrays)
  exponents = [row for row in few if row['statistic'] == 'measured_exponent']
  assert exponents
  for row in exponents:
    assert row['num_clips'] == NUM_CLIPS
    assert row['estimate'] == pytest.approx(0.8)
    assert np.isnan([row['ci_low'], row['ci_high']]).all()
  more = {
    varied: {
      key: np.tile(x, (3, *[1] * (x.ndim - 1))) for key, x in part.items()
    }
    for varied, part in arrays['accumulation']['wavecnn-seed0'].items()
  }
  more['samples']['measured'][0] = -1
  accumulated = {'wavecnn-seed0': more}
  enough = summary_of(
    {**arrays, 'jacobians': {}, 'accumulation': accumulated},
    studied=VOICES.repeat(3),
  )
  row = found(
    enough,
    model='wavecnn-seed0',
    setting='samples, epsilon 1e-06',
    statistic='measured_exponent',
  )
  assert (row['num_clips'], row['num_left_out']) == (3 * NUM_CLIPS - 1, 1)
  assert row['ci_low'] <= 0.8 + 1e-9
  assert row['ci_high'] >= 0.8 - 1e-9


@pytest.mark.parametrize('number', [5, 8])
def test_estimates_have_an_interval_by_speaker_where_there_are_enough(number):
  """Clips of one voice are alike: of other voices little is known."""
  voices = np.repeat([f'voice-{i}' for i in range(number)], 6)
  by_voice = np.repeat(np.linspace(0, 1, number), 6)[:, None]
  part = {'early_l1_share': by_voice, 'outside_energy': by_voice}
  arrays = {
    'clips': {'start': {'all': part, 'recorded': part, 'pairs': {}}},
    **{key: {} for key in ('fidelity', 'jacobians', 'accumulation')},
  }
  rows = summary_of(arrays, ['wavecnn-seed0'], speakers=voices)
  for statistic in part:  # a median, and a mean
    row = found(rows, setting='start, all', statistic=statistic)
    inner, outer = (
      [row[f'ci{of}_{end}'] for end in ('low', 'high')]
      for of in ('', '_speaker')
    )
    assert row['num_speakers'] == number
    if number < 6:
      assert outer == ['', '']
    else:
      assert outer[0] < inner[0] - 0.05 < inner[1] + 0.05 < outer[1]


@pytest.mark.parametrize('epsilons', [(0.0,), ()])
def test_without_an_epsilon_of_all_clips_signs_are_drawn_alone(
  split, arrays, epsilons
):
  fidelity = arrays['fidelity']
  fig = figures.arithmetics(
    tables.sign_rows(split, fidelity),
    tables.fgsm_rows(split, fidelity, epsilons, ('a', 'b'), 0.95),
  )
  assert len(fig.axes) == len(NAMES)


def test_every_figure_shows_every_model(split, arrays, tmp_path):
  rows, _ = tables.clip_rows(split, NAMES, arrays)
  drawn = {
    'comparison': figures.comparison(rows, NAMES),
    'jacobians': figures.jacobian_decay(
      tables.jacobian_rows(arrays['jacobians']), NUM_CLIPS
    ),
    'accumulation': figures.accumulation(
      tables.accumulation_rows(split, arrays['accumulation'])
    ),
    'arithmetics': figures.arithmetics(
      tables.sign_rows(split, arrays['fidelity']),
      tables.fgsm_rows(
        split, arrays['fidelity'], (0.0, 0.01), ('a', 'b'), 0.95
      ),
    ),
    'profile': figures.profiles(
      arrays['clips']['start']['profile'],
      NAMES,
      split.num_samples / 16_000,
      'start',
    ),
    'figure5': figures.gradient_traces(
      {
        'id': np.array(['clip-0']),
        'model': np.array(NAMES),
        'audio': np.full((1, TIME), 0.5),
        'span': np.array([[0, TIME // 2]]),
        'gradient': np.random.default_rng(0).normal(size=(1, 2, TIME)),
      },
      0,
    ),
  }
  for name, fig in drawn.items():
    for axes in fig.axes:
      if axes.get_visible():
        assert axes.get_ylabel(), name
    path = tmp_path / f'{name}.svg'
    fig.savefig(path)
    text = path.read_text()
    for model in ('WaveCNN', 'WaveRNN'):
      assert model in text or name == 'jacobians', name
  assert 'forget bias 1, trained' in (tmp_path / 'jacobians.svg').read_text()


def test_lengths_and_rates_have_labels_on_their_axes():
  """Which span no decade: a logarithmic axis has none of its own."""
  row = {'model': 'wavernn-seed0', 'predicted': 1.0, 'measured': 1.0}
  lengths = {'length_cut': (16_000, 25_600), 'rate': (12_800, 25_600)}
  fig = figures.accumulation(
    [
      {**row, 'id': 'a', 'varied': varied, 'n': n, 'epsilon': 1e-6}
      for varied, numbers in lengths.items()
      for n in numbers
    ]
    + [{**row, 'id': 'a', 'varied': 'epsilon', 'n': 25_600, 'epsilon': 1e-6}]
  )
  labels = [
    [t.get_text() for t in panel.get_xticklabels()] for panel in fig.axes[1:3]
  ]
  assert labels == [['1', '1.6'], ['8', '16']]


def test_clips_without_gradient_count_in_the_profile(tmp_path):
  profile = np.ones((8, 1, FRAMES))
  profile[:3, 0, 10:] = 0  # the lower quartile
  profile[:5, 0, 20:] = 0  # the median too
  fig = figures.profiles(profile, ['wavecnn-seed0'], np.ones(8), 'start')
  (panel,) = fig.axes
  np.testing.assert_array_equal(
    panel.lines[0].get_ydata(), np.where(np.arange(FRAMES) < 20, 1, 0)
  )
  vertices = panel.collections[0].get_paths()[0].vertices
  assert vertices[:, 1].min() == 0
  fig.savefig(tmp_path / 'profile.png')
  assert panel.get_ylim()[0] > 0


@pytest.mark.slow
def test_six_trainings_have_a_mean_whose_interval_holds_the_next():
  rng = np.random.default_rng(0)
  names = [f'{m}-seed{s}' for m in ('wavecnn', 'wavernn') for s in range(6)]
  shifts = np.tile(np.linspace(0, 5, 6), 2)
  early = rng.uniform(0, 0.1, (30, 12)) + shifts / 10
  part = {
    'early_l1_share': early,
    'l1': 10 ** (early - 3 * (np.arange(12) < 6)),
  }
  part |= {key: np.ones((30, 12)) for key in ('max', 'index_10', 'index_50')}
  pairs = {'cosine': rng.uniform(size=(30, 66))}
  arrays = {
    'clips': {
      'start': {'all': part, 'recorded': part, 'pairs': pairs},
    },
    **{key: {} for key in ('fidelity', 'jacobians', 'accumulation')},
  }
  voices = np.arange(30).astype(str)
  rows = summary_of(arrays, names, speakers=voices, studied=voices)
  where = {'setting': 'start, all', 'statistic': 'early_l1_share'}
  mean = found(rows, part='clips', model='wavecnn-mean', **where)
  one = found(rows, part='clips', model='wavecnn-seed0', **where)
  assert (mean['num_trainings'], one['num_trainings']) == (6, 1)
  medians = np.median(early[:, :6], 0)
  assert mean['estimate'] == pytest.approx(medians.mean())
  assert one['ci_high'] < 0.1 < mean['ci_low'] < 0.2
  assert 0.35 < mean['ci_high'] < 0.6
  # Ten to the third apart on every clip, in pairs of one seed.
  effects = [
    row
    for row in rows
    if (row['part'], row['statistic']) == ('effects', 'log10_l1')
    and row['num_trainings'] > 1
  ]
  assert {(row['model'], row['other']) for row in effects} == {
    ('wavecnn-mean', 'wavernn-mean')
  }
  assert found(rows, part='pairs', num_trainings=6)['num_clips'] == 30
  assert figures.member_title('wavecnn-mean') == 'WaveCNN, mean of trainings'
