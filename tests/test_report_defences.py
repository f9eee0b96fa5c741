"""Defended runs beside others, clip by clip; and what a run says by itself."""

import os

import numpy as np
import pytest
import report_runs as runs

from advspeech import claim, report, storage
from advspeech.report import (
  comparison,
  defence_claims,
  defence_curves,
  defences,
  reading,
)
from advspeech.report import verdicts as verdicts_lib
from advspeech.report.verdicts import Point, Way
from advspeech.sweep import tables

SIZE = '30dbsnr'
KNOWN = Way('fgsm')
SMALL, LARGE = verdicts_lib.same(SIZE), verdicts_lib.same('20dbsnr')
# What breaks how many of 100 clips at 30 and at 20 dB SNR.
BROKEN = {KNOWN: (40, 80), Way('pgd'): (60, 90)}
SIX = tuple(range(6))


def clips(num, first=0):
  return (np.arange(runs.NUM_CLIPS) + first) % runs.NUM_CLIPS < num


def write(
  folder,
  defence='none',
  broken=BROKEN,
  *,
  clean=2,
  seeds=(0, 1),
  ids=None,
  **changes,
):
  """Writes a run of WaveCNN with the verdicts of its attacks."""
  path = runs.write(
    folder,
    rows=runs.sweep(targets=('wavecnn',), seeds=seeds),
    models=('wavecnn',),
    seeds=seeds,
    **{
      'training.defence.name': defence,
      'training.defence.epsilon': SIZE,
      **changes,
    },
  )
  rows = []
  for seed in seeds:
    for way, (small, large) in broken.items():
      points = (('0', 0.0, clean), (SIZE, 0.001, small))
      for epsilon, size, num in (*points, ('20dbsnr', 0.003, large)):
        rows.append(
          {
            'task': 'gender',
            'seed': seed,
            'source': f'/r/{way.other}-seed{seed}' if way.other else 'wavecnn',
            'target': 'wavecnn',
            'target_seed': seed,
            'attack': way.attack,
            'mask': 'all',
            'transform': way.transform,
            'leaves': 'label',
            'adaptive': way.adaptive,
            'norm': 'l2' if way.attack == 'fgm' else 'linf',
            'epsilon_given': epsilon,
            'epsilon': size,
            'mean_snr_db': float('inf') if not size else 30.0,
            'wrong': tables.verdicts.as_text(clips(num)),
          }
        )
  ids = ids or [f'clip-{i}' for i in range(runs.NUM_CLIPS)]
  attack = os.path.join(path, 'attack')
  storage.write_table(
    os.path.join(attack, 'verdicts.csv'), tables.verdicts.COLUMNS, rows
  )
  storage.write_table(
    os.path.join(attack, 'clips.csv'),
    tables.clips.COLUMNS,
    [{'id': id_, 'speaker': ''} for id_ in ids],
  )
  return path


def group(tmp_path, **by_defence):
  """Returns runs on the same clips, by what each was trained on."""
  found = [
    reading.read(write(tmp_path / name, name, **options))
    for name, options in by_defence.items()
  ]
  (members,) = defences.groups(found)
  return members


def verdicts_of(tmp_path, members, number=-1):
  member = members[number]
  return [x.verdict for x in defence_claims.of_member(members, member)]


def test_what_any_attack_of_a_norm_breaks_is_counted_clip_by_clip(tmp_path):
  path = write(tmp_path / 'a', broken={**BROKEN, Way('fgm'): (50, 50)})
  rows = storage.read_table(os.path.join(path, 'attack', 'verdicts.csv'))
  for row in rows:
    if row['attack'] == 'pgd' and row['epsilon_given'] == SIZE:
      row['wrong'] = tables.verdicts.as_text(clips(30, first=50))
  storage.write_table(
    os.path.join(path, 'attack', 'verdicts.csv'), tables.verdicts.COLUMNS, rows
  )
  found = verdicts_lib.of_run(reading.read(path))
  found = verdicts_lib.with_strongest(found, found.norms)
  for attack, num in (('strongest', 70), ('strongest_l2', 50)):
    wrong = found.at(Point('wavecnn', Way(attack), SMALL), (0, 1))
    assert wrong.sum(1).tolist() == [num, num]
  assert found.at(Point('wavecnn', Way('strongest'), SMALL), (0, 7)) is None


def test_what_any_attack_breaks_is_of_attacks_that_all_runs_were_given(
  tmp_path,
):
  members = group(tmp_path, none={}, pgd={'broken': {KNOWN: (10, 20)}})
  rates = [
    defences.rate(m, Point('wavecnn', Way('strongest'), SMALL)) for m in members
  ]
  assert [row['error_rate'] for row in rates] == [0.4, 0.1]
  # FGSM alone is no stronger attack.
  assert verdicts_of(tmp_path, members)[1] == claim.NOT_TESTED


def test_a_rate_has_the_interval_that_its_trainings_allow():
  speakers = np.array([f'v{i % 8}' for i in range(100)])
  for num, known in ((1, True), (2, False), (5, True)):
    row = verdicts_lib.rate(np.tile(clips(40), (num, 1)), speakers, 0.95)
    assert row['error_rate'] == 0.4
    assert (row['ci_low'] != '') == known
    assert (row['ci_speaker_low'] != '') == known
    less = verdicts_lib.difference(
      np.tile(clips(40), (num, 1)), np.tile(clips(50), (num, 1)), speakers, 0.95
    )
    assert less['excess'] == pytest.approx(-0.1)
    assert (less['excess_low'] != '') == known


def test_runs_on_other_clips_or_without_verdicts_stand_in_no_group(tmp_path):
  ids = [f'other-{i}' for i in range(runs.NUM_CLIPS)]
  found = [
    write(tmp_path / 'plain'),
    write(tmp_path / 'pgd', 'pgd'),
    write(tmp_path / 'again', 'pgd'),
    write(tmp_path / 'other', 'trades', ids=ids),
    runs.write(tmp_path / 'without'),
  ]
  (members,) = defences.groups([reading.read(path) for path in found])
  assert [member.title for member in members] == [
    'no defence',
    'PGD at 30dbsnr (pgd)',
    'PGD at 30dbsnr (again)',
  ]
  assert defences.targets(members) == ['wavecnn']


def test_the_baseline_is_noise_of_the_size_trained_for(tmp_path):
  sizes = {'training.defence.epsilon': '20dbsnr'}
  members = group(tmp_path, none={}, noise=sizes, gaussian={}, pgd={})
  assert defences.baseline(members, members[-1]).run.folder.endswith('gaussian')
  assert defences.undefended(members) is members[0]
  for plain in members[:3]:
    assert defences.baseline(members, plain) is None
  members = group(tmp_path / 'b', none={}, noise=sizes, pgd={})
  assert defences.baseline(members, members[-1]) is None


WEAK = {KNOWN: (10, 30), Way('pgd'): (20, 40)}


@pytest.mark.parametrize('seeds', [(0,), (0, 1), SIX])
def test_a_defence_is_judged_beside_none_and_beside_noise(tmp_path, seeds):
  members = group(
    tmp_path,
    none={'seeds': seeds},
    gaussian={
      'seeds': seeds,
      'broken': {KNOWN: (35, 60), Way('pgd'): (55, 70)},
    },
    pgd={'seeds': seeds, 'broken': WEAK},
  )
  assert verdicts_of(tmp_path, members) == [claim.CONFIRMED] * 3
  known = defence_claims.of_member(members, members[-1])[0]
  assert known.found[0].startswith(
    'WaveCNN, FGSM at epsilon 30dbsnr: 10.0 %; beside no defence -30.0 points ['
  )
  assert '; beside noise -25.0 points [' in known.found[0]
  assert ('(seed 1)' in known.found[0]) == (seeds == (0, 1))


def test_what_noise_does_as_well_is_no_defence(tmp_path):
  members = group(
    tmp_path, none={}, gaussian={'broken': WEAK}, pgd={'broken': WEAK}
  )
  assert verdicts_of(tmp_path, members) == [claim.IN_PART] * 3
  members = group(
    tmp_path / 'b', none={'broken': WEAK}, gaussian={'broken': WEAK}, pgd={}
  )
  assert verdicts_of(tmp_path, members) == [claim.REFUTED] * 3


def test_a_defence_against_fgsm_alone_is_told(tmp_path):
  alone = {KNOWN: (5, 10), Way('pgd'): (60, 90)}
  noise = {KNOWN: (35, 60), Way('pgd'): (60, 85)}
  members = group(
    tmp_path, none={}, gaussian={'broken': noise}, fgsm_rs={'broken': alone}
  )
  known, stronger, _ = verdicts_of(tmp_path, members)
  assert known == claim.CONFIRMED
  assert stronger == claim.NOT_SHOWN


def test_without_a_run_on_noise_the_claim_stays_open(tmp_path):
  members = group(tmp_path, none={}, pgd={'broken': WEAK})
  found = defence_claims.of_member(members, members[-1])
  assert [x.verdict for x in found] == [claim.IN_PART] * 3
  assert found[0].found[-1] == 'No run trained on noise of this size is here.'


def test_an_epsilon_that_was_not_tried_tells_nothing(tmp_path):
  size = {'training.defence.epsilon': '33dbsnr'}
  members = group(tmp_path, none={}, pgd=size)
  for found in defence_claims.of_member(members, members[-1]):
    assert found.verdict == claim.NOT_TESTED
  alone = defence_claims.of_run(members[-1].run)
  assert alone.verdict == claim.NOT_TESTED
  assert alone.found[0].startswith(
    'No such attack was made at epsilon 33dbsnr: see '
  )


def test_examples_of_an_undefended_run_are_beside_those_on_noise(tmp_path):
  other = Way('fgsm', 'none/wavecnn')
  members = group(
    tmp_path,
    none={},
    gaussian={'broken': {**BROKEN, other: (30, 60)}},
    pgd={'broken': {**WEAK, other: (5, 10)}},
  )
  unknown = defence_claims.of_member(members, members[-1])[2]
  assert unknown.found[0].startswith(
    'WaveCNN, any of them made on none/wavecnn at epsilon 30dbsnr: 5.0 %; '
    'beside noise -25.0 points ['
  )
  # At 20 dB, by the known attack; 30 % and not 80.
  assert 'FGSM at epsilon 20dbsnr: 30.0 %' in unknown.found[1]


@pytest.mark.parametrize(
  ('broken', 'verdict'),
  [
    ({KNOWN: (10, 30), Way('pgd'): (12, 40)}, claim.CONFIRMED),
    ({KNOWN: (10, 30), Way('pgd'): (60, 70)}, claim.IN_PART),
    ({KNOWN: (60, 70), Way('pgd'): (70, 80)}, claim.REFUTED),
    ({KNOWN: (26, 70), Way('pgd'): (28, 80)}, claim.NOT_SHOWN),
  ],
)
@pytest.mark.parametrize('seeds', [(0, 1), SIX])
def test_a_run_by_itself_is_held_against_halfway_to_a_guess(
  tmp_path, broken, verdict, seeds
):
  run = reading.read(write(tmp_path / 'pgd', 'pgd', broken, seeds=seeds))
  found = defence_claims.of_run(run)
  assert found.verdict == verdict
  assert found.found[0].startswith('WaveCNN, FGSM at epsilon 30dbsnr: ')
  assert found.found[0].endswith('clean 2.0 %')
  assert ('(seed 0)' in found.found[0]) == (seeds == (0, 1))


@pytest.mark.parametrize(
  ('defence', 'words'),
  [('none', 'No model of this run'), ('noise', 'were trained on random signs')],
)
def test_a_run_without_a_defence_tells_nothing_of_one(tmp_path, defence, words):
  run = reading.read(write(tmp_path / 'run', defence))
  found = defence_claims.of_run(run)
  assert found.verdict == claim.NOT_TESTED
  assert words in found.found[0]


def test_a_table_has_transforms_with_the_attack_that_knows_them(tmp_path):
  behind = {
    Way('fgsm', '', 'mp3', adaptive): (20 + adaptive, 50) for adaptive in (0, 1)
  }
  members = group(
    tmp_path, none={'broken': {**BROKEN, **behind}}, pgd={'broken': WEAK}
  )
  rows = defences.error_rows(members, 'wavecnn')
  shown = [(r['way'], r['size'].text) for r in rows]
  assert shown[:3] == [(KNOWN, '0'), (KNOWN, SIZE), (KNOWN, '20dbsnr')]
  # Clean clips once, and once behind the filter.
  assert [x for x in shown if x[1] == '0'] == [
    (KNOWN, '0'),
    (Way('fgsm', '', 'mp3', 0), '0'),
  ]
  known = rows[shown.index((Way('fgsm', '', 'mp3', 1), SIZE))]
  assert known['rates'][0]['error_rate'] == 0.21
  assert known['rates'][1] is None


def test_gradients_are_shown_of_runs_that_studied_them(tmp_path):
  members = group(tmp_path, none={}, pgd={})
  assert defences.gradient_rows(members) == []
  folder = os.path.join(members[1].run.folder, 'studies', 'gradients')
  os.makedirs(folder)
  rows = [
    runs.estimate('clips', f'wavecnn-{x}', 'start, recorded', 'l2', i, 0, 1)
    for i, x in enumerate(('seed0', 'seed1', 'mean'))
  ]
  storage.write_table(os.path.join(folder, 'summary.csv'), list(rows[0]), rows)
  (row,) = defences.gradient_rows(members)
  assert (row['title'], row['target'], row['seed']) == (
    'PGD at 30dbsnr',
    'wavecnn',
    None,
  )
  assert [x and x['estimate'] for x in row['estimates']] == [2, None, None]


def test_a_curve_is_drawn_for_every_run_and_way(tmp_path):
  members = group(tmp_path, none={}, pgd={'broken': WEAK})
  fig = defence_curves.errors_by_run(members, ['wavecnn'])
  left, right = fig.axes[:2]
  for panel, expected in ((left, (40, 10)), (right, (60, 20))):
    shown = [line.get_ydata()[1] for line in panel.lines[:2]]
    assert tuple(shown) == expected


@pytest.mark.usefixtures('undrawn_figures')
@pytest.mark.parametrize('seeds', [(0, 1), SIX])
def test_the_page_has_the_defences_table_claims_and_figure(tmp_path, seeds):
  paths = [
    write(tmp_path / 'none', seeds=seeds),
    write(tmp_path / 'noise', 'noise', {KNOWN: (35, 60)}, seeds=seeds),
    write(tmp_path / 'pgd', 'pgd', WEAK, seeds=seeds),
    write(
      tmp_path / 'large',
      'pgd',
      WEAK,
      seeds=seeds,
      **{'training.defence.epsilon': '20dbsnr'},
    ),
  ]
  page = report.compare(str(tmp_path), paths)
  with open(page, encoding='utf-8') as file:
    text = file.read()
  assert 'less random signs at 30dbsnr' in text
  assert text.count('class="verdict confirmed"') >= 1
  assert 'gender, synthetic speech, trained on PGD at 30dbsnr' in text
  spread = (
    '-25.0 (-25.0 to -25.0)' if len(seeds) == 2 else '-25.0 <span title="betw'
  )
  assert spread in text
  for name in ('defences-0', 'matched-0'):
    assert (tmp_path / 'comparison' / f'{name}.svg').exists()
    assert f'href="{name}.svg"' in text
  titles = list(comparison.titled([reading.read(path) for path in paths]))
  assert titles[0] == 'gender, synthetic speech'


def test_defences_are_matched_by_clean_error_where_they_have_sizes(tmp_path):
  large = {'training.defence.epsilon': '20dbsnr'}
  found = [
    write(tmp_path / 'none'),
    write(tmp_path / 'large', 'pgd', WEAK, clean=9, **large),
    write(
      tmp_path / 'small',
      'pgd',
      {KNOWN: (30, 50), Way('pgd'): (35, 55)},
      clean=4,
    ),
    write(tmp_path / 'noise', 'noise', clean=3),
  ]
  (members,) = defences.groups([reading.read(path) for path in found])
  assert defence_curves.sizes_of(members) == {'pgd': [2, 1], 'noise': [3]}
  fig = defence_curves.errors_against_clean(members, ['wavecnn'])
  at_30, at_20 = fig.axes
  assert [p.get_title() for p in fig.axes] == [
    'WaveCNN, epsilon 30dbsnr',
    'WaveCNN, epsilon 20dbsnr',
  ]
  for panel, expected in (
    (at_30, [[(4, 35), (9, 20)], [(3, 60)], [(2, 60)]]),
    (at_20, [[(4, 55), (9, 40)], [(3, 90)], [(2, 90)]]),
  ):
    shown = [line.get_xydata() for line in panel.lines]
    shown = [[tuple(map(round, xy)) for xy in points] for points in shown]
    assert shown == expected
  assert defence_curves.sizes_of(members[:1] + members[2:]) == {}
