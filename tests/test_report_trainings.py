"""What a page says of the next training, and of too few of them."""

import re

import numpy as np
import pytest
import report_runs as runs

from advspeech import claim, storage
from advspeech.report import (
  comparison,
  error_curves,
  page,
  reading,
  run_curves,
  sections,
  shape_claims,
  sweep_claims,
  transfer,
)
from advspeech.studies.gradients import claims as gradient_claims
from advspeech.studies.gradients import tables as gradient_tables

SIX = tuple(range(6))


def differing(seed_rates):
  """Rows of seeds of which each has another error under the attack."""
  rows = []
  for seed, rate in enumerate(seed_rates):
    points = {'': (0.02, 0.02, rate, rate), 'random_sign': (0.02,) * 4}
    rows += runs.sweep(
      lambda target, control, points=points: points[control], seeds=(seed,)
    )
  return rows


def read(tmp_path, rows, seeds):
  return reading.read(runs.write(tmp_path / 'run', rows=rows, seeds=seeds))


def test_with_five_trainings_a_claim_is_about_the_next_one(tmp_path):
  # One of six trainings is not broken: in part, were they asked one by one.
  run = read(tmp_path, differing([0.5, 0.5, 0.5, 0.5, 0.5, 0.02]), SIX)
  assert run.judges == [('wavecnn', None), ('wavernn', None)]
  found = sweep_claims.effective(run)
  assert found.verdict == claim.CONFIRMED
  (words,) = found.found
  assert words.startswith('WaveCNN, mean of trainings: 42.0 % against 2.0 %')
  assert 'corrected' in words
  assert '[35.0, 45.0]' in words


def test_trainings_whose_interval_holds_zero_show_nothing(tmp_path):
  run = read(tmp_path, differing([0.24, 0.02, 0.02, 0.02, 0.02, 0.02]), SIX)
  assert sweep_claims.effective(run).verdict == claim.NOT_SHOWN


def test_the_shape_of_a_curve_is_that_of_the_mean_of_trainings(tmp_path):
  run = read(tmp_path, runs.sweep(seeds=SIX), SIX)
  linear, jump = shape_claims.linear(run), shape_claims.flat_then_jump(run)
  assert (linear.verdict, jump.verdict) == (claim.CONFIRMED,) * 2
  for found in (linear, jump):
    (words,) = found.found
    assert words.startswith('mean of trainings: ')
  assert shape_claims.fluctuates(run).verdict == claim.NOT_SHOWN


def test_one_training_that_falls_does_not_make_the_mean_fall(tmp_path):
  rows = []
  for seed in SIX:
    curve = (0.02, 0.5, 0.1, 0.6) if seed == 0 else (0.02, 0.1, 0.2, 0.6)
    rows += runs.sweep(
      lambda target, control, curve=curve: (0.02,) * 4 if control else curve,
      seeds=(seed,),
    )
  found = shape_claims.fluctuates(read(tmp_path, rows, SIX))
  assert (found.verdict, found.found) == (claim.NOT_SHOWN, ['No curve falls.'])


def test_wavernn_is_attacked_directly_in_the_mean_of_trainings(tmp_path):
  own, _ = runs.direct((0.02, 0.5, 0.5, 0.5), (0.02,) * 4, (0.02,) * 4, SIX)
  attacks = [
    {**row, 'control': '', 'error_rate': row['error_rate'] + row['excess']}
    | dict.fromkeys(('excess', 'excess_low', 'excess_high'), '')
    for row in own
  ]
  rows = differing([0.02] * 6) + own + attacks
  found = sweep_claims.direct(read(tmp_path, rows, SIX))
  assert found.verdict == claim.REFUTED
  assert '50.0 % by its own examples' in found.found[0]


@pytest.mark.usefixtures('undrawn_figures')
def test_two_trainings_have_a_spread_and_no_interval(tmp_path):
  run = read(tmp_path, None, (0, 1))
  assert not run.is_about_trainings
  assert run.judges[0] == ('wavecnn', 0)
  assert 'the spread of 2 is shown' in run.conditions
  (row, _) = sections.spread(run)
  assert row['attacked']['ci_low'] == ''
  text = _page(run)
  assert 'Spread of 2 trainings' in text
  assert 'WaveCNN, mean of trainings' not in text


@pytest.mark.usefixtures('undrawn_figures')
def test_the_page_of_six_trainings_gives_their_means(tmp_path):
  run = read(tmp_path, runs.sweep(seeds=SIX), SIX)
  assert 'hold for the next training too, of which 6' in run.conditions
  text = _page(run)
  assert 'Means over 6 trainings with 95 % intervals' in text
  assert text.count('<td class="text">WaveCNN</td><td>mean</td>') == 1
  assert [row['seed'] for row in sections.in_short(run)] == [None, None]
  assert '<td>+39.0 [34.0, 44.0]</td><td>[34.0, 44.0]</td>' in text
  assert 'exact test on the same clips' not in text.partition('id="figure6"')[0]


def _page(run):
  """Returns the page, without what is said where a mouse rests."""
  with open(page.write(run.folder), encoding='utf-8') as file:
    return re.sub(r'<span title="[^"]*">(.*?)</span>', r'\1', file.read())


def test_figure_6_draws_the_mean_thick_and_each_training_thin(tmp_path):
  run = read(tmp_path, runs.sweep(seeds=SIX), SIX)
  fig = error_curves.error_against_epsilon(run.first, 0.95, run.over_trainings)
  lines = [x for x in fig.axes[0].lines if len(x.get_xdata()) == 4]
  thin = [x for x in lines if x.get_linewidth() < 1]
  thick = [x for x in lines if x.get_linewidth() >= 2]
  assert (len(thin), len(thick)) == (12, 2)  # six seeds and one mean, twice
  mean = next(x for x in thick if x.get_linestyle() == '-').get_ydata()
  assert mean == pytest.approx([2, 12, 22, 42])
  notes = ' '.join(text.get_text() for text in fig.texts)
  assert 'means over 6 trainings' in notes
  assert 'for the next training too' in notes


def test_figure_6_of_two_trainings_has_a_line_each(tmp_path):
  run = read(tmp_path, None, (0, 1))
  fig = error_curves.error_against_epsilon(run.first, 0.95, run.over_trainings)
  lines = [x for x in fig.axes[0].lines if len(x.get_xdata()) == 4]
  assert len(lines) == 4
  assert 'trainings' not in ' '.join(text.get_text() for text in fig.texts)


def test_the_transfer_matrix_of_six_trainings_is_one_of_models(tmp_path):
  run = read(tmp_path, runs.sweep(seeds=SIX), SIX)
  rows = [
    {'seed': None, 'target_seed': None, **row}
    for row in run.trainings
    if row['epsilon'] == 0.02 and not row['control']
  ]
  axes, _ = transfer.transfer_matrix(rows).axes
  assert [t.get_text() for t in axes.texts] == ['42\n[37, 47]', '40\n[35, 45]']
  assert [t.get_text() for t in axes.get_xticklabels()] == [
    'WaveCNN',
    'WaveRNN',
  ]


@pytest.mark.parametrize(('seeds', 'is_band'), [((0, 1), False), (SIX, True)])
def test_runs_beside_each_other_show_their_spread_or_their_interval(
  tmp_path, seeds, is_band
):
  rates = np.linspace(0.3, 0.5, len(seeds))
  run = read(tmp_path, differing(rates), seeds)
  panel = run_curves.error_over_runs({'a': run.over_trainings}).axes[0]
  names = {type(x).__name__ for x in panel.collections}
  assert ('LineCollection' in names) == (not is_band)
  if not is_band:
    bars = [x.get_segments() for x in panel.collections]
    spread = {tuple(np.round(s[:, 1])) for segments in bars for s in segments}
    assert (30, 50) in spread
  rows = comparison.fragility({'a': run})
  assert len(rows) == (2 if is_band else 4)


def test_claims_on_gradients_go_by_the_mean_of_trainings(tmp_path):
  run = read(tmp_path, runs.sweep(seeds=SIX), SIX)
  folder = tmp_path / 'run' / 'studies' / 'gradients'
  runs.write_gradients(folder)
  seeds = [
    runs.estimate(
      *('jacobians', f'wavernn-seed{s}', 'trained', name, value, low, high)
    )
    for s in SIX
    for name, value, low, high in (
      ('halvings_per_s', 20.0, 19.0, 21.0),
      ('forget_gate', 0.7, 0.7, 0.7),
    )
  ]
  means = [
    {**row, 'model': 'wavernn-mean', 'num_trainings': 6} for row in seeds[:2]
  ]
  learned = {
    **dict.fromkeys(gradient_tables.FGSM_COLUMNS, ''),
    **{'epsilon': 0.0, 'num_clips': 100, 'error_rate': 0.1},
  }
  rows = [{**learned, 'model': f'wavernn-seed{s}'} for s in SIX]
  for one_guesses, verdict in (
    (False, claim.CONFIRMED),
    (True, claim.NOT_SHOWN),
  ):
    rows[-1]['error_rate'] = 0.5 if one_guesses else 0.1
    storage.write_table(folder / 'fgsm.csv', tuple(rows[0]), rows)
    storage.write_table(folder / 'summary.csv', tuple(seeds[0]), seeds + means)
    found = gradient_claims.vanishing(run.studies['gradients'])
    assert found.verdict == verdict
    (words,) = found.found
    assert words.startswith('WaveRNN, mean of trainings: halvings a second 20')
    assert ('not known to be better' in words) == one_guesses
