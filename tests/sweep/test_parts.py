"""A sweep's parts on disk: resumed, damaged, claimed; and its tables."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sweep_subjects
from sweep_subjects import CLASSES, NUM_CLIPS, make_planned, make_settings

from advspeech import (
  attacks,
  audio,
  errors,
  over_clips,
  preemption,
  statistics,
  storage,
  sweep,
)
from advspeech.sweep import (
  examples,
  judging,
  own_attacks,
  parts,
  rates,
  tables,
)
from advspeech.sweep.tables import (
  clips,
  columns,
  curves,
  direct,
  minimal,
  points,
  quality,
  samples,
  transforms,
  verdicts,
)

pytestmark = pytest.mark.usefixtures('shallow_networks')

PLAN = (
  make_planned('fgsm'),
  make_planned('pgd', epsilons=(0.0, 0.1)),
  make_planned('universal', epsilons=(0.0, 0.1)),
  make_planned(transform='quantize8'),
  make_planned('mfcc', epsilons=(0.0, 8.0)),
)


@pytest.fixture(scope='module')
def split():
  return sweep_subjects.make_split()


@pytest.fixture(scope='module')
def members(split):
  # Two of one module, which compile faster than two modules; the last one knows
  # the labels of half the clips only.
  first, _, other = sweep_subjects.make_members(split)
  some = np.where(np.arange(NUM_CLIPS) % 2, split.labels, -1).astype(np.int32)
  return [
    first,
    dataclasses.replace(other, name='wavernn', seed=0),
    dataclasses.replace(other, labels=some),
  ]


def make_work(folder, members, split, plan=PLAN, **settings):
  return sweep.Sweep(
    folder=str(folder),
    plan=plan,
    members=members,
    split=split,
    attacks={c.attack: sweep_subjects.make_attack(c.attack) for c in plan},
    settings=make_settings(repair=True, **settings),
    fitting=split,
    num_passes=2,
  )


@pytest.fixture(scope='module')
def work(tmp_path_factory, members, split):
  made = make_work(tmp_path_factory.mktemp('attack'), members, split)
  sweep.run(made)
  return made


def load(work):
  return sweep.load_results(work, 'gender', 0.95)


@pytest.fixture(scope='module')
def results(work):
  return load(work)


@pytest.fixture(scope='module')
def rows(results):
  return list(points.point_rows(results))


def contents(folder):
  return {p.name: p.read_bytes() for p in sorted(folder.rglob('*.npz'))}


def test_what_is_stopped_goes_on_to_the_same_bytes(
  work, members, split, tmp_path, monkeypatch
):
  again = make_work(tmp_path, members, split)
  checks = itertools.count()

  def stop_at_the_third():
    if next(checks) == 2:
      raise preemption.Stopped(preemption.signal.SIGTERM)

  monkeypatch.setattr(preemption, 'check', stop_at_the_third)
  with pytest.raises(preemption.Stopped):
    sweep.run(again)
  there = contents(tmp_path)
  assert 0 < len(there) < len(contents(work_path(work)))
  # A part cut short, as no kill leaves one, is made again too.
  cut = tmp_path / 'parts' / next(iter(there))
  cut.write_bytes(cut.read_bytes()[:100])
  monkeypatch.undo()
  sweep.run(again)
  assert contents(tmp_path) == contents(work_path(work))


def work_path(work):
  import pathlib

  return pathlib.Path(work.folder)


def test_what_is_done_is_not_done_again(work, monkeypatch):
  monkeypatch.setattr(judging, 'judge', None)
  sweep.run(work)


def _changed(work, what):
  """Returns a sweep that differs in one thing from another."""
  split, members, plan = work.split, work.members, work.plan
  if what == 'clips':
    return {'split': dataclasses.replace(split, pcm=split.pcm + np.int16(1))}
  if what == 'models':
    return {'members': [*members[1:], members[0]]}
  if what == 'epsilons':
    other = dataclasses.replace(plan[0], epsilons=plan[1].epsilons)
    return {'plan': (other, *plan[1:])}
  if what in ('num_steps', 'num_restarts', 'num_queries'):
    counts = {**sweep_subjects.COUNTS, what: 7}
    pgd = attacks.make('pgd', **counts, representations={})
    return {'attacks': {**work.attacks, 'pgd': pgd}}
  if what == 'options of a model':
    model = members[0].classifier.model
    classifier = dataclasses.replace(
      members[0].classifier, model=model.clone(dropout=0.5)
    )
    first = dataclasses.replace(members[0], classifier=classifier)
    return {'members': [first, *members[1:]]}
  fitting = dataclasses.replace(work.fitting, labels=work.fitting.labels[::-1])
  return {'fitting': fitting}


@pytest.mark.parametrize(
  'what',
  [
    *('clips', 'models', 'epsilons', 'fitting clips', 'options of a model'),
    *('num_steps', 'num_restarts', 'num_queries'),
  ],
)
def test_a_folder_of_another_sweep_is_refused(work, what):
  other = dataclasses.replace(work, **_changed(work, what))
  with pytest.raises(errors.InputError, match='of other models, clips or'):
    sweep.run(other)


def test_sources_that_look_alike_share_no_file(
  tmp_path, members, split, monkeypatch
):
  """Names are paths; made fit for files they were one and the same."""
  names = ('runs/a/wavecnn-seed0', 'runs_a/wavecnn-seed0', 'x' * 210)
  many = [
    dataclasses.replace(member, name=name, seed=0)
    for member, name in zip(members, names, strict=True)
  ]
  plan = [make_planned(source=i, epsilons=(0.0, 0.1)) for i in range(3)]
  made = make_work(tmp_path, many, split, plan)

  def judge(planned, members, split, *args, rows, **kwargs):
    clips = rows.stop - rows.start
    answer = np.full((2, 1, 3, clips), planned.source, np.int32)
    sizes = np.zeros((2, 4, clips))
    return judging.Judgements(
      answer[0, 0], answer, sizes, sizes, sizes[:, 0], sizes[:, 0], sizes[:, 0]
    )

  def make(sweep, planned, rows, strength):
    return np.full((len(rows), sweep_subjects.TIME), 0.5, np.float32)

  monkeypatch.setattr(judging, 'judge', judge)
  monkeypatch.setattr(examples, 'attacked_rows', make)
  sweep.run(made)
  for i, planned in enumerate(plan):
    assert (parts.judgements(made, planned).predictions == i).all()
  files = [
    entry[kind]
    for entry in sweep.write_examples(made, 1, 0.1, 8.0)
    for kind in ('adversarial', 'adversarial_float32')
  ]
  assert len(set(files)) == len(files) == 6


def test_universal_directions_are_learnt_once_and_within_the_ball(work):
  directions = parts.directions(work, PLAN[2])
  assert directions.shape == (2, sweep_subjects.TIME)
  assert np.abs(directions).max() <= 1
  assert directions[1].any()


def test_rows_count_what_the_judgements_say(
  work, rows, split, tmp_path, results
):
  judged = results.judged[PLAN[0]]
  names = sweep.variants(PLAN[0], work.settings)
  row = find(rows, 'wavernn', '', '0.1')
  predictions = judged.predictions[2, :, 1]
  assert row['num_errors'] == int((predictions[0] != split.labels).sum())
  assert row['error_rate'] == row['num_errors'] / NUM_CLIPS
  assert (row['ci_low'], row['ci_high']) == statistics.wilson_interval(
    row['num_errors'], NUM_CLIPS
  )
  assert row['bootstrap_low'] <= row['error_rate'] <= row['bootstrap_high']
  assert row['flip_rate'] == (predictions[0] != judged.clean[1]).mean()
  right = judged.clean[1] == split.labels
  broken = (predictions[0] != split.labels)[right]
  assert 0 < row['num_right_clean'] == right.sum() < NUM_CLIPS
  assert row['broken_rate'] == broken.mean() != row['error_rate']
  assert (row['broken_low'], row['broken_high']) == statistics.wilson_interval(
    int(broken.sum()), len(broken)
  )
  assert find(rows, 'wavernn', '', '0')['broken_rate'] == 0
  for name in ('int16', 'repaired'):
    expected = (predictions[names.index(name)] != split.labels).mean()
    assert row[f'error_rate_{name}'] == expected
  assert row['epsilon_lsb'] == pytest.approx(6553.6)

  path = str(tmp_path / 'sweep.csv')
  storage.write_table(path, points.COLUMNS, rows)
  back = storage.read_table(path)
  assert list(back[0]) == list(points.COLUMNS)
  for a, b in zip(rows, back, strict=True):
    for key in points.COLUMNS:
      same = isinstance(a[key], str)
      assert same or b[key] == pytest.approx(a[key], rel=1e-5)


def find(rows, target, control, epsilon, attack='fgsm', transform=''):
  return next(
    row
    for row in rows
    if (row['target'], row['target_seed']) == (target, 0)
    and (row['control'], row['attack']) == (control, attack)
    and (row['epsilon_given'], row['transform']) == (epsilon, transform)
  )


def test_every_attack_has_its_controls_and_is_tested_against_each(
  work, rows, split, results
):
  for planned in PLAN:
    if not planned.is_plain:
      continue
    judged = results.judged[planned]
    names = sweep.variants(planned, work.settings)
    wrong = judged.predictions[-1, :, 0] != split.labels
    attacked = wrong[names.index('memory')]
    epsilon = '8MFCC' if planned.attack == 'mfcc' else '0.1'
    for control in sweep.CONTROLS:
      noisy = wrong[names.index(control)]
      row = find(rows, 'wavecnn', control, epsilon, planned.attack)
      assert row['excess'] == attacked.mean() - noisy.mean()
      assert row['mcnemar_p'] == statistics.mcnemar(attacked, noisy).p_value
      assert row['excess_low'] <= row['excess'] <= row['excess_high']


def test_a_radius_of_features_names_its_unit_and_is_no_amplitude(
  work, rows, split, results
):
  judged = results.judged[PLAN[-1]]
  amplitudes = ('epsilon_fs', 'epsilon_lsb', 'epsilon_dbfs', 'below_one_lsb')
  row = find(rows, 'wavernn', '', '8MFCC', 'mfcc')
  assert (row['epsilon'], row['epsilon_unit']) == (8, 'MFCC')
  assert [row[name] for name in amplitudes] == [''] * 4
  wrong = judged.predictions[1, :, 1] != split.labels
  assert row['error_rate'] == wrong[0].mean()
  assert row['error_rate_int16'] == wrong[2].mean()
  assert row['mean_snr_db'] == pytest.approx(judged.snr_db[1, 0].mean())
  assert row['error_rate_repaired'] == ''
  rebuilt = find(rows, 'wavernn', '', '0MFCC', 'mfcc')
  assert rebuilt['mean_snr_db'] < 20
  waveform = find(rows, 'wavernn', '', '0.1')
  assert waveform['epsilon_unit'] == 'half of full scale'
  assert all(waveform[name] != '' for name in amplitudes)


def test_a_falling_curve_of_features_is_reported_in_their_unit(work, results):
  """Epsilon 1e-5 would be below one LSB, were it one of samples."""
  judged = results.judged[PLAN[-1]]
  labels = np.zeros(NUM_CLIPS, np.int32)
  falling = np.zeros_like(judged.predictions)
  falling[0] = 1
  planned = make_planned('mfcc', epsilons=(0.0, 1e-5))
  member = dataclasses.replace(work.members[0], labels=labels)
  one = dataclasses.replace(
    results,
    sweep=dataclasses.replace(work, plan=(planned,), members=[member]),
    judged={planned: judged._replace(predictions=falling)},
  )
  found = sweep.findings(one)
  assert 'below_one_lsb' not in {f['name'] for f in found}
  (fall,) = (f for f in found if f['name'] == 'non_monotone_curve')
  fields = ('attack', 'source', 'seed', 'unit', 'mask', 'target')
  assert [fall[name] for name in fields] == [
    *('mfcc', 'wavecnn', 0),
    *('MFCC', 'all', 'wavecnn'),
  ]
  assert sweep.finding_title(fall) == (
    'mfcc on wavecnn seed 0 (epsilons in MFCC), mask all, judged by wavecnn'
  )
  assert sweep.finding_title(fall, str.upper, str.title) == (
    'MFCC on Wavecnn seed 0 (epsilons in MFCC), mask all, judged by Wavecnn'
  )


def of_plan(results, plan, predictions, members=None):
  """Returns results of a plan with answers 0 (right) and 1 (wrong)."""
  judged = results.judged[PLAN[0]]
  members = members or [results.sweep.members[0]]
  return dataclasses.replace(
    results,
    sweep=dataclasses.replace(
      results.sweep,
      plan=plan,
      members=[
        dataclasses.replace(m, labels=np.zeros(NUM_CLIPS, np.int32))
        for m in members
      ],
      attacks={p.attack: sweep_subjects.make_attack(p.attack) for p in plan},
    ),
    judged={
      planned: judged._replace(
        predictions=np.broadcast_to(
          np.asarray(x)[:, None, None],
          (len(planned.epsilons), 7, len(members), NUM_CLIPS),
        ).astype(np.int32)
      )
      for planned, x in zip(plan, predictions, strict=True)
    },
  )


def named(found, name):
  return [f for f in found if f['name'] == name]


RIGHT, WRONG = np.zeros(NUM_CLIPS), np.ones(NUM_CLIPS)


def test_a_model_that_queries_break_and_gradients_do_not_is_named(results):
  plan = (make_planned('fgsm'), make_planned('square'))
  few, many = [RIGHT] * 3, [RIGHT, WRONG, WRONG]
  # The gradient breaks more, as it should.
  found = sweep.findings(of_plan(results, plan, (many, few)))
  assert named(found, 'masked_gradients') == []
  (finding,) = named(
    sweep.findings(of_plan(results, plan, (few, many))), 'masked_gradients'
  )
  assert (finding['source'], finding['attack']) == ('wavecnn', None)
  assert finding['values']['other'] == 'square'


def test_an_attack_that_had_not_ended_is_named(results):
  plan = (make_planned('fgsm'), make_planned('pgd'))
  plan += (make_planned('pgd-doubled'),)
  few, many = [RIGHT] * 3, [RIGHT, RIGHT, WRONG]
  (finding,) = named(
    own_attacks_of(of_plan(results, plan, (many, few, many))), 'not_converged'
  )
  assert finding['attack'] == 'pgd'
  assert finding['values']['epsilon'] == '0.1'
  for pair in ((many, many), (many, few)):
    found = own_attacks_of(of_plan(results, plan, (many, *pair)))
    assert named(found, 'not_converged') == []


@pytest.mark.parametrize(
  ('attack', 'loud', 'is_found'),
  [
    ('fgm', 'random_sign', False),  # 20 dB louder than an attack in L2
    ('fgm', 'gaussian', True),
    ('fgm', 'shuffled', True),
    ('fgsm', 'random_sign', True),
    ('fgsm', 'gaussian', True),
  ],
)
def test_an_attack_is_held_against_noise_that_is_as_large_in_its_norm(
  results, attack, loud, is_found
):
  planned = make_planned(attack, epsilons=(0.0, 0.1))
  one = of_plan(results, (planned,), ([RIGHT, WRONG],))
  names = one.variants(planned)
  judged = one.judged[planned]
  answers = judged.predictions.copy()
  for control in sweep.CONTROLS:
    answers[1, names.index(control)] = control == loud
  clean = np.zeros_like(judged.clean)
  judged = {planned: judged._replace(predictions=answers, clean=clean)}
  found = sweep.findings(dataclasses.replace(one, judged=judged))
  assert bool(named(found, 'control_as_strong')) == is_found


def own_attacks_of(results):
  return [
    {**dataclasses.asdict(finding), 'attack': attack}
    for finding, attack in own_attacks.findings(results, 0)
  ]


@pytest.mark.parametrize(
  ('attack', 'largest', 'last', 'num_left'),
  [
    ('pgd', '-20dbsnr', RIGHT, NUM_CLIPS),
    ('pgd', '-20dbsnr', WRONG, 0),
    ('pgd', '-19dbsnr', RIGHT, 0),  # too small a ball to say
    ('fgsm', '-20dbsnr', RIGHT, 0),  # one step need not get there
    ('square', '-20dbsnr', RIGHT, 0),  # nor few queries
    ('pgd_l2', '-20dbsnr', RIGHT, NUM_CLIPS),
  ],
)
def test_clips_that_withstand_every_perturbation_are_counted(
  results, attack, largest, last, num_left
):
  plan = (make_planned(attack, epsilons=(0.0, '10dbsnr', largest)),)
  one = of_plan(results, plan, ([RIGHT, RIGHT, last],))
  found = named(own_attacks_of(one), 'unbroken_clips')
  assert [f['values']['num_unbroken'] for f in found] == (
    [num_left] if num_left else []
  )


@pytest.mark.slow
def test_a_sweep_at_masking_thresholds_is_tabled_beside_norms(
  members, split, tmp_path
):
  plan = (make_planned('pgd', 'recorded', (0.0, '0dbmask', '12dbmask', 0.01)),)
  made = make_work(tmp_path, members[:1], split, plan)
  sweep.run(made)
  found = load(made)
  masking = found.levels.masking_rms.mean(dtype=float)
  by_epsilon = {
    (row['control'], row['epsilon_given']): row
    for row in points.point_rows(found)
    if row['attack'] == 'pgd'
  }
  for control in ('', 'random_sign'):
    soft, loud = (by_epsilon[control, f'{x}dbmask'] for x in (0, 12))
    assert soft['epsilon'] == pytest.approx(masking, rel=1e-5)
    assert loud['epsilon'] == pytest.approx(masking * 10**0.6, rel=1e-5)
    assert loud['mean_snr_db'] < soft['mean_snr_db'] - 6
  shares = {
    row['epsilon_given']: row['unmasked_share']
    for row in quality.rows(found, 1)
  }
  assert shares['0'] == shares['0dbmask'] == 0
  assert shares['12dbmask'] > 0.1


def test_a_mask_leaves_clips_that_may_withstand(results):
  plan = (make_planned('pgd', mask='padding', epsilons=('-20dbsnr',)),)
  one = of_plan(results, plan, ([RIGHT],))
  assert named(own_attacks_of(one), 'unbroken_clips') == []


def test_transfer_that_breaks_more_than_a_models_own_attack_is_named(results):
  members = results.sweep.members[:2]
  plan = (make_planned('pgd'), make_planned('fgsm', source=1))
  one = of_plan(
    results, plan, ([RIGHT] * 3, [RIGHT, RIGHT, WRONG]), members=members
  )
  (finding,) = named(own_attacks_of(one), 'masked_gradients')
  assert finding['values']['other'] == 'fgsm on wavernn seed 0'
  one = of_plan(results, plan, ([RIGHT, RIGHT, WRONG],) * 2, members=members)
  assert named(own_attacks_of(one), 'masked_gradients') == []


def test_an_attack_on_a_model_itself_is_paired_with_one_on_another(
  members, split, tmp_path
):
  plan = (make_planned('fgsm'), make_planned('fgsm', source=1))
  both = make_work(tmp_path, members, split, plan)
  sweep.run(both)
  results = load(both)
  found = list(direct.rows(results))
  # Two sources of seed 0, each judged by the other at three epsilons.
  assert [(r['source'], r['target'], r['epsilon']) for r in found] == [
    (source, target, epsilon)
    for source, target in (('wavecnn', 'wavernn'), ('wavernn', 'wavecnn'))
    for epsilon in sweep_subjects.EPSILONS
  ]
  on_cnn, on_rnn = (
    results.judged[planned].predictions[2, 0, 1] != split.labels
    for planned in plan
  )
  row = found[2]
  assert set(row) == set(direct.COLUMNS)
  assert row['error_rate'] == on_cnn.mean()
  assert row['direct_error_rate'] == on_rnn.mean()
  assert row['more'] == on_rnn.mean() - on_cnn.mean()
  assert row['mcnemar_p'] == statistics.mcnemar(on_rnn, on_cnn).p_value
  assert row['more_speaker_low'] <= row['more_low'] <= row['more']
  # All judges of both, the second model's curve under the first one's attack.
  shapes = list(curves.rows(results))
  assert len(shapes) == 2 * len(members)
  wrong = results.judged[plan[0]].predictions[:, 0, 1] != split.labels
  expected = curves.shape(
    wrong[None], np.array(sweep_subjects.EPSILONS), split.speakers
  )
  assert set(shapes[1]) == set(curves.COLUMNS)
  assert {key: shapes[1][key] for key in expected} == expected


def test_clips_without_a_label_count_in_flips_alone(rows):
  row = next(
    r for r in rows if (r['target_seed'], r['epsilon_given']) == (1, '0.1')
  )
  assert row['num_clips'] == NUM_CLIPS / 2
  assert row['num_errors'] <= NUM_CLIPS / 2
  assert (row['flip_rate'] * NUM_CLIPS) % 1 == pytest.approx(0, abs=1e-9)


def test_every_rate_has_an_interval_by_speaker_where_enough_are_known(rows):
  for row in rows:
    few = row['target_seed'] == 1  # whose labels are of half the clips
    assert row['num_speakers'] == (NUM_CLIPS // 2 if few else NUM_CLIPS)
    keys = ('ci', 'excess') if row['control'] else ('ci',)
    for key in keys:
      low, high = (row[f'{key}_speaker_{end}'] for end in ('low', 'high'))
      if few:
        assert low == high == ''
      else:
        assert low <= row[f'{key}_low'] < row[f'{key}_high'] <= high
    if row['attack'] not in points.STRONGEST.values():
      assert row['flip_ci_speaker_low'] <= row['flip_ci_low']


def test_transformed_clips_have_no_controls(rows):
  transformed = [row for row in rows if row['transform'] == 'quantize8']
  assert len(transformed) == 3 * 3
  assert {row['control'] for row in transformed} == {''}
  assert {row['error_rate_int16'] for row in transformed} == {''}


def test_what_a_transform_takes_is_measured_on_the_same_clips(
  work, split, results
):
  found = list(transforms.rows(results))
  assert len(found) == 2 * 3  # epsilons above 0, judges
  plain, behind = (results.judged[PLAN[i]] for i in (0, 3))
  for t, e in itertools.product(range(3), (1, 2)):
    member = work.members[t]
    known = member.labels >= 0
    (row,) = (
      r
      for r in found
      if (r['target'], r['target_seed']) == (member.name, member.seed)
      and r['epsilon_given'] == f'{sweep_subjects.EPSILONS[e]:g}'
    )
    assert set(row) == set(transforms.COLUMNS)
    assert (row['transform'], row['num_clips']) == ('quantize8', known.sum())

    def rise(judged, t=t, e=e, known=known, labels=member.labels):
      wrong = judged.predictions[:, 0, t, known] != labels[known]
      return wrong[e].mean() - wrong[0].mean()

    assert row['rise'] == pytest.approx(rise(behind))
    assert row['rise_without'] == pytest.approx(rise(plain))
    assert (row['taken_speaker_low'] == '') == (known.sum() < NUM_CLIPS)
    assert row['taken'] == pytest.approx(rise(plain) - rise(behind))
    assert row['over_half'] == pytest.approx(rise(behind) - rise(plain) / 2)
    for name in ('rise', 'rise_without', 'taken', 'over_half'):
      assert row[f'{name}_low'] <= row[name] + 1e-9
      assert row[name] <= row[f'{name}_high'] + 1e-9
  assert any(row['rise_without'] > 0 for row in found)


def test_samples_have_one_row_a_clip_and_point(work, split, results):
  rows = list(samples.rows(results))
  assert len(rows) == (3 + 2 + 2 + 3 + 2) * 3 * NUM_CLIPS
  assert set(rows[0]) == set(samples.COLUMNS)
  assert {row['id'] for row in rows} == set(split.ids)
  judged = results.judged[PLAN[0]]
  chosen = [
    row
    for row in rows
    if (row['target'], row['attack'], row['transform'], row['epsilon_given'])
    == ('wavernn', 'fgsm', '', '0.1')
  ]
  assert [row['prediction'] for row in chosen] == [
    CLASSES[p] for p in judged.predictions[2, 0, 1]
  ]


def test_verdicts_have_a_sign_a_clip_for_judges_of_the_attacked_seed(
  work, split, results
):
  rows = list(verdicts.rows(results))
  # Neither of features, nor by a model without all labels.
  assert {row['attack'] for row in rows} == {'fgsm', 'pgd', 'universal'}
  assert {row['target'] for row in rows} == {'wavecnn', 'wavernn'}
  for row in rows:
    if (row['attack'], row['transform']) != ('fgsm', ''):
      continue
    e = [x.text for x in PLAN[0].epsilons].index(row['epsilon_given'])
    t = [m.name for m in work.members].index(row['target'])
    answers = results.judged[PLAN[0]].predictions[e, 0, t]
    wrong = answers != work.members[t].labels
    np.testing.assert_array_equal(verdicts.from_text(row['wrong']), wrong)
  assert [row['id'] for row in clips.rows(results)] == list(split.ids)


def test_the_smallest_epsilon_is_the_first_that_breaks_the_clip(
  work, split, results
):
  found = [
    row
    for row in minimal.rows(results)
    if (row['target'], row['attack'], row['seed']) == ('wavernn', 'fgsm', 0)
  ]
  judged = results.judged[PLAN[0]]
  epsilons = np.array(sweep_subjects.EPSILONS)
  for success, reference in (
    ('label', split.labels),
    ('own', judged.clean[1]),
  ):
    some = [row for row in found if row['success'] == success]
    assert len(some) == NUM_CLIPS
    for i, row in enumerate(some):
      broken = judged.predictions[:, 0, 1, i] != reference[i]
      expected = epsilons[broken].min() if broken.any() else np.inf
      assert row['epsilon'] == pytest.approx(expected)


def test_the_smallest_change_of_features_may_be_none(work, split, results):
  found = [
    row
    for row in minimal.rows(results)
    if (row['attack'], row['success']) == ('mfcc', 'own')
  ]
  judged = results.judged[PLAN[-1]]
  rebuilt = (judged.predictions[0, 0] != judged.clean).ravel()
  assert [row['epsilon'] == 0 for row in found] == list(rebuilt)
  assert rebuilt.any()
  assert {row['epsilon_unit'] for row in found} == {'MFCC'}


def test_the_strongest_breaks_what_any_attack_breaks(work, results):
  strongest = list(points.strongest_rows(results))
  # Only where all attacks were made: at 0 and 0.1.
  assert {row['epsilon_given'] for row in strongest} == {'0', '0.1'}
  last = {
    planned.attack: results.judged[planned].predictions[-1, 0, 0]
    for planned in PLAN[:3]
  }
  wrong = np.any([p != work.split.labels for p in last.values()], 0)
  row = next(
    r
    for r in strongest
    if (r['target'], r['target_seed'], r['epsilon_given'])
    == ('wavecnn', 0, '0.1')
  )
  assert row['attack'] == points.STRONGEST['linf']
  assert row['error_rate'] == wrong.mean()
  right = results.judged[PLAN[0]].clean[0] == work.split.labels
  assert row['broken_rate'] == wrong[right].mean()


def test_the_strongest_are_of_one_norm(work, monkeypatch, results):
  """An L2 ball of the same radius holds far larger samples."""
  names = ('fgsm', 'bim', 'fgm', 'bim_l2')
  plan = tuple(make_planned(name, epsilons=(0.0, 0.1)) for name in names)
  labels = work.split.labels
  wrong = (labels + 1) % len(CLASSES)
  # Each breaks a clip of its own.
  answers = {
    name: np.where(np.arange(NUM_CLIPS) == i, wrong, labels)
    for i, name in enumerate(names)
  }
  some = results.judged[PLAN[0]]

  def judgements(planned):
    found = np.broadcast_to(answers[planned.attack], (2, 1, 1, NUM_CLIPS))
    return some._replace(predictions=found)

  one = dataclasses.replace(
    results,
    sweep=dataclasses.replace(
      work,
      plan=plan,
      members=work.members[:1],
      attacks={name: sweep_subjects.make_attack(name) for name in names},
    ),
    judged={planned: judgements(planned) for planned in plan},
  )
  rows = list(points.strongest_rows(one))
  assert [(row['attack'], row['num_errors']) for row in rows] == [
    *[(points.STRONGEST['linf'], 2)] * 2,
    *[(points.STRONGEST['l2'], 2)] * 2,
  ]


def test_a_gradient_that_is_not_a_number_is_found_in_any_clip(
  work, members, monkeypatch, results
):
  gradient = jax.grad

  def broken(fn):
    def spoilt(x, *args):
      grads = gradient(fn)(x, *args)
      quiet = jnp.abs(x - 0.5).sum(-1) < between
      return jnp.where(quiet[:, None], jnp.nan, grads)

    return spoilt

  clips = audio.from_pcm(jnp.asarray(work.split.pcm))
  between = jnp.sort(jnp.abs(clips - 0.5).sum(-1))[:2].mean()
  monkeypatch.setattr(jax, 'grad', broken)
  over_clips.steps.cache_clear()
  found = sweep.findings(
    dataclasses.replace(
      results,
      sweep=dataclasses.replace(work, plan=PLAN[:1]),
      judged={PLAN[0]: results.judged[PLAN[0]]},
    )
  )
  over_clips.steps.cache_clear()
  (finding,) = (f for f in found if f['name'] == 'nonfinite_gradients')
  assert finding['values']['share_nonfinite'] == pytest.approx(1 / NUM_CLIPS)


def test_files_written_say_what_the_clip_in_memory_says(work, split):
  entries = sweep.write_examples(work, -1, 0.05, 4.0)
  assert len(entries) == NUM_CLIPS * 4  # fgsm, pgd, universal, mfcc
  assert {e['epsilon'] for e in entries if e['attack'] == 'mfcc'} == {'4MFCC'}
  folder = work_path(work) / 'audio'
  for entry in entries:
    i = list(split.ids).index(entry['id'])
    assert entry['said_float32'] == entry['said_memory']
    original = audio.load(folder / entry['original'])
    np.testing.assert_array_equal(
      original, split.pcm[i, : split.num_samples[i]]
    )
    if entry['attack'] == 'mfcc':
      continue
    moved = audio.load(folder / entry['adversarial']).astype(int) - split.pcm[i]
    # 0.05 is 3276.8 steps; nothing wraps and nothing is rescaled.
    assert np.abs(moved).max() <= 3277
  fgsm = [e for e in entries if e['attack'] == 'fgsm']
  moved = audio.load(folder / fgsm[0]['adversarial']).astype(int) - split.pcm[0]
  assert set(np.abs(moved)) <= {0, 3276, 3277}
  assert (moved != 0).mean() > 0.9


def test_no_examples_are_written_when_none_are_wanted(work):
  assert not sweep.write_examples(work, 0, 0.05, 4.0)


def test_quality_is_measured_for_every_attack_and_epsilon(work, results):
  rows = list(quality.rows(results, 2))
  assert len(rows) == (3 + 2 + 2 + 2) * 2
  assert set(rows[0]) == set(quality.COLUMNS)
  assert 'stoi' in quality.measures()
  assert {row['leaves'] for row in rows} == {'label'}


def test_what_an_attack_leads_away_from_is_in_every_row(rows):
  assert {row['leaves'] for row in rows} == {'label'}
  targeted = sweep_subjects.make_attack('fgsm-targeted')
  assert columns.leaves(targeted) == ''


@pytest.mark.parametrize(
  ('holds', 'num_clips'), [(0.5, 72), (0.9, 72), (0.98, 240)]
)
def test_what_a_transform_takes_is_covered(holds, num_clips):
  """Of clips that an attack breaks a filter leaves so many broken."""
  rng = np.random.default_rng(0)
  clean_rate, broken_rate, num_runs = 0.1, 0.4, 1000
  rise = (1 - clean_rate) * broken_rate
  hits = np.zeros(2)
  for _ in range(num_runs):
    clean, breaks, lasts = (
      rng.random(num_clips) < p for p in (clean_rate, broken_rate, holds)
    )
    taken = rates.taken(
      *((clean | breaks, clean), (clean | (breaks & lasts), clean)),
      *(np.full(num_clips, ''), 0.95),
    )
    hits += (
      taken['taken_low'] <= rise * (1 - holds) <= taken['taken_high'],
      taken['over_half_low'] <= rise * (holds - 0.5) <= taken['over_half_high'],
    )
  assert (hits / num_runs > 0.93).all(), hits / num_runs


def test_where_nothing_changes_the_interval_still_has_a_width():
  broken, clean = np.arange(72) < 30, np.arange(72) < 8
  nobody = np.full(72, '')
  taken = rates.taken((broken, clean), (broken, clean), nobody, 0.95)
  assert taken['taken'] == 0
  assert taken['taken_low'] < -0.01 < 0.01 < taken['taken_high'] < 0.1


def test_all_tables_are_written_with_values_of_their_columns_types(
  results, tmp_path
):
  sweep.write_tables(results, str(tmp_path), 1)
  for name, table in {**tables.TABLES, 'quality': quality}.items():
    rows = storage.read_table(tmp_path / f'{name}.csv', may_be_empty=True)
    # No source was attacked beside another, and of one seed alone.
    assert bool(rows) == (name not in ('direct', 'trainings')), name
    for row in rows:
      assert list(row) == list(table.COLUMNS)
      for key, kind in table.COLUMNS.items():
        kinds = (int, float) if kind is float else kind
        assert row[key] == '' or isinstance(row[key], kinds), (name, key)
