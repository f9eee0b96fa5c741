"""Claims, sounds and Table 1 of the page are what the tables and files say."""

import base64
import collections
import dataclasses
import io
import json
import pathlib
import re
import shutil

import jax
import mutations
import numpy as np
import pytest
import report_runs as runs
import soundfile

from advspeech import (
  audio,
  claim,
  errors,
  figures,
  models,
  provenance,
  report,
  storage,
  studies,
)
from advspeech.report import (
  architecture,
  claims,
  comparison,
  error_curves,
  page,
  players,
  protection_claims,
  reading,
  sections,
  shape_claims,
  sweep_claims,
)
from advspeech.studies.features import claims as feature_claims
from advspeech.studies.gradients import claims as gradient_claims
from advspeech.sweep.findings import FIELDS
from configs import paper


def read(folder, **changes):
  return reading.read(runs.write(folder / 'run', **changes))


def test_sounds_are_the_files_bit_for_bit_and_the_difference_says_its_gain(
  tmp_path,
):
  run = read(tmp_path)
  (clip, _), num_left_out = players.clips(run)
  assert num_left_out == 0
  (pair,) = clip.pairs

  def decoded(sound):
    data = base64.b64decode(sound.uri.partition(',')[2])
    return soundfile.read(io.BytesIO(data), dtype='int16')[0]

  for kind, sound in (
    ('original', clip.original),
    ('adversarial', pair.adversarial),
  ):
    path = run.path('attack', 'audio', run.examples[0][kind])
    on_disk, rate = soundfile.read(path, dtype='int16')
    assert rate == audio.SAMPLE_RATE_HZ
    np.testing.assert_array_equal(decoded(sound), on_disk)
  # 0.01 of the model's unit is 0.02 of full scale, amplified to 0.5.
  assert pair.gain == pytest.approx(25, rel=1e-3)
  spoken = decoded(clip.original).astype(float) / 2**15
  assert pair.snr_db == pytest.approx(
    10 * np.log10(np.mean(spoken**2) / 0.02**2), abs=0.05
  )
  difference = decoded(pair.difference)
  assert len(difference) == runs.TIME
  assert (np.abs(np.abs(difference.astype(int)) - 16384) <= 40).all()


def test_a_sound_that_was_cut_is_not_played_shorter(tmp_path):
  run = read(tmp_path)
  path = tmp_path / 'run' / 'attack' / 'audio' / run.examples[0]['original']
  data = path.read_bytes()
  path.write_bytes(data[: len(data) // 2])
  with pytest.raises(errors.InputError, match=r'\.wav cannot be read'):
    players.clips(run)


def test_a_difference_follows_the_recording_to_the_clips_end(tmp_path):
  run = read(tmp_path, **{'clip.pad': 'front'})
  (clip, _), _ = players.clips(run)
  # The files here are padded behind: put in front they no longer cancel.
  assert clip.pairs[0].gain < 5


def test_sounds_beyond_the_room_of_a_page_are_counted(tmp_path, monkeypatch):
  monkeypatch.setattr(players, 'MAX_BYTES', 100_000)
  clips, num_left_out = players.clips(read(tmp_path))
  assert sum(len(clip.pairs) for clip in clips) + num_left_out == 2
  assert num_left_out == 1


@pytest.mark.parametrize('pool', [1, 2])
@pytest.mark.parametrize('norm', ['batch', 'none'])
@pytest.mark.parametrize('name', models.ALL_NAMES)
def test_table_1_as_built_counts_what_the_model_has(name, norm, pool):
  config = paper.get_config().model
  config.update({'norm': norm, 'input_pool': pool, 'features': 8})
  described = {'name': name, 'num_classes': 3, **config.to_dict()}
  time = 50 * 640
  model = models.create_model(**described)
  shapes = jax.eval_shape(
    lambda: model.init(
      jax.random.key(0), jax.numpy.zeros((1, time)), train=False
    )
  )
  groups = architecture.groups(
    {'model': described, 'clip_samples': time, 'sample_rate_hz': 16_000}
  )
  assert sum(g.num_parameters for g in groups) == sum(
    x.size for x in jax.tree.leaves(shapes['params'])
  )


def test_a_model_of_ones_own_is_one_row_of_the_table():
  described = {'name': 'my.nets:Mel', 'num_classes': 3, 'width': 8}
  (group,) = architecture.groups({'model': described, 'num_parameters': 99})
  assert group == ('my.nets:Mel (width 8)', '3', 99)


def test_table_1_at_the_papers_size_is_the_papers():
  config = {**paper.get_config().model.to_dict(), 'norm': 'none'}
  groups = architecture.groups(
    {
      'model': {'name': 'wavecnn', 'num_classes': 2, **config},
      'clip_samples': 96_000,
      'sample_rate_hz': 16_000,
    }
  )
  assert sum(g.num_parameters for g in groups) == 550_786
  assert groups[1].output == (
    '150 frames x 3 x 32 (lengths 640, 320, 160, 80, 40, 20, 10, 5, 3)'
  )
  assert groups[4].output == '256'


def rates(**by_target):
  """Returns what `runs.sweep` takes: errors and noise by target."""
  return lambda target, control: by_target[
    'noise' if control and 'noise' in by_target else target
  ]


NONE = (0.02, 0.02, 0.02, 0.02)


def test_an_attack_is_effective_where_it_beats_noise_on_every_seed(tmp_path):
  found = sweep_claims.effective(read(tmp_path))
  assert found.verdict == claim.CONFIRMED
  assert found.found[0].startswith(
    'WaveCNN, seed 0: 42.0 % against 3.0 % under noise at epsilon 0.02 (+39.0 '
    'points ['
  )


def test_an_attack_that_does_what_noise_does_is_not_shown(tmp_path):
  rising = (0.02, 0.2, 0.3, 0.5)
  rows = runs.sweep(rates(wavecnn=rising, wavernn=rising, noise=rising))
  run = read(tmp_path, rows=rows)
  assert sweep_claims.effective(run).verdict == claim.NOT_SHOWN
  assert sweep_claims.transferred(run).verdict == claim.NOT_SHOWN
  assert sweep_claims.robust_to_noise(run).verdict == claim.NOT_SHOWN


def test_noise_that_breaks_as_well_refutes_robustness_to_it(tmp_path):
  attacked, noisy = (0.02, 0.5, 0.6, 0.9), (0.02, 0.3, 0.3, 0.5)
  rows = runs.sweep(rates(wavecnn=attacked, wavernn=attacked, noise=noisy))
  run = read(tmp_path, rows=rows)
  assert sweep_claims.robust_to_noise(run).verdict == claim.REFUTED


def test_every_epsilon_is_looked_at_and_the_one_that_shows_it_named(tmp_path):
  """Where the excess is largest noise breaks the model too; elsewhere not."""
  attacked, noisy = (0.02, 0.5, 0.6, 0.99), (0.02, 0.02, 0.02, 0.3)
  rows = runs.sweep(rates(wavecnn=attacked, wavernn=attacked, noise=noisy))
  found = sweep_claims.robust_to_noise(read(tmp_path, rows=rows))
  assert found.verdict == claim.CONFIRMED
  assert all('60.0 % against 2.0 % under noise' in x for x in found.found)


def test_a_smaller_excess_may_be_the_significant_one(tmp_path):
  # At 0.02 the excess is larger, and so uneven that it may be chance.
  run = read(tmp_path)
  changed = {
    ('wavernn', 0.01): {'excess': 0.05, 'mcnemar_p': 0.003},
    ('wavernn', 0.02): {'excess': 0.08, 'mcnemar_p': 0.04},
  }
  rows = [
    {
      **row,
      'mcnemar_p': 1.0,
      **changed.get((row['target'], row['epsilon']), {}),
    }
    if row['control']
    else row
    for row in run.rows
  ]
  found = sweep_claims.transferred(dataclasses.replace(run, rows=rows))
  assert found.verdict == claim.CONFIRMED
  assert all('at epsilon 0.01 (' in sentence for sentence in found.found)


@pytest.mark.usefixtures('undrawn_figures')
def test_the_page_tells_errors_and_answers_of_every_class(tmp_path):
  run = read(tmp_path)
  shares = [
    [(c['name'], c['error_rate'], c['share']) for c in sections.by_class(row)]
    for row in (run.at('wavecnn', 0, e) for e in (0.0, 0.02))
  ]
  assert shares[0] == [('female', 0.04, 0.48), ('male', 0.0, 0.52)]
  assert shares[1] == [
    ('female', 0.84, pytest.approx(0.08)),
    ('male', 0.0, pytest.approx(0.92)),
  ]
  with open(report.write(run.folder), encoding='utf-8') as file:
    page = file.read()
  assert '<bdi>female</bdi> 84.0, <bdi>male</bdi> 0.0' in page
  assert '<bdi>female</bdi> 8.0, <bdi>male</bdi> 92.0' in page
  assert (tmp_path / 'run' / 'report' / 'classes.svg').exists()


def test_an_excess_that_few_voices_make_is_shown_and_not_confirmed(tmp_path):
  sure = read(tmp_path / 'sure', rows=runs.by_speaker(runs.sweep(), 0.05))
  wide = read(tmp_path / 'wide', rows=runs.by_speaker(runs.sweep(), 0.5))
  for found, verdict in (
    (sweep_claims.effective(sure), claim.CONFIRMED),
    (sweep_claims.effective(wide), claim.NOT_SHOWN),
    (sweep_claims.robust_to_noise(wide), claim.NOT_SHOWN),
  ):
    assert found.verdict == verdict
  (said, _) = sweep_claims.effective(wide).found
  assert ', by speaker [-11.0, 89.0], corrected p' in said
  rule = sweep_claims.effective(wide).rule
  assert 'a bootstrap that draws these, the level of both shared out' in rule


def test_a_change_of_answers_is_reported_by_speaker(tmp_path):
  flips, noisy = (0, 0.6, 0.8, 1.0), (0, 0.1, 0.1, 0.1)
  rows = runs.sweep(rates(wavecnn=flips, wavernn=flips, noise=noisy))
  for spread, verdict in ((0.05, claim.CONFIRMED), (0.45, claim.NOT_SHOWN)):
    run = read(tmp_path / str(spread), rows=runs.by_speaker(rows, spread))
    found = sweep_claims.smallest(run)
    assert found.verdict == verdict
    assert 'of the answers, by speaker [' in found.found[0]


@pytest.mark.parametrize(
  ('number', 'words'),
  [
    (8, 'those by speaker take the 8 voices'),
    (5, 'they are of 5 voices, too few for an interval by speaker'),
    ('', 'whose voices they are is not known'),
  ],
)
@pytest.mark.usefixtures('undrawn_figures')
def test_conditions_of_intervals_are_reported_beside_them(
  tmp_path, number, words
):
  rows = runs.by_speaker(runs.sweep(), 0.1, number)
  if number != 8:
    rows = [{**row, 'num_speakers': number} for row in runs.sweep()]
  run = read(tmp_path, rows=rows)
  assert words in run.conditions
  assert 'this split and one draw of noise' in run.conditions
  enough = number == 8
  fig = error_curves.error_against_epsilon(run.first)
  notes = ' '.join(text.get_text() for text in fig.texts)
  assert ('voices (pale)' in ' '.join(notes.split())) == enough
  if number != 5:  # a page takes seconds
    page = pathlib.Path(report.write(run.folder)).read_text(encoding='utf-8')
    assert page.count(run.conditions) >= 4
    assert ('<span class="voices">by speaker [' in page) == enough


def _random_run(run, rng):
  """Returns a run with errors, excesses and p of no pattern at all."""
  rows = []
  for row in run.rows:
    rate, flips = rng.choice([0.0, 0.02, 0.1, 0.5]), rng.choice([0.3, 0.5, 0.8])
    low, high = flips - 0.1, flips + rng.choice([0.1, 0.3])
    rows.append(
      {
        **row,
        'error_rate': rate,
        'ci_high': rate + 0.05,
        'flip_rate': flips,
        **{'flip_ci_low': low, 'flip_ci_high': high},
      }
    )
    if row['control']:
      rows[-1] |= {
        'excess': rng.choice([-0.1, 0.0, 0.1, 0.3]),
        'mcnemar_p': rng.choice([0.001, 0.016, 0.017, 0.04, 1.0]),
        # With three epsilons 0.016 is enough and 0.017 is not.
        'excess_speaker_p': ('', 0.0, 0.016, 0.017, 1.0)[rng.integers(5)],
      }
  return dataclasses.replace(run, rows=rows)


def _is_more(noise):
  """The rule's words on noise, at three epsilons."""
  more = noise['excess'] > 0 and noise['mcnemar_p'] * 3 < 0.05
  return more and noise['excess_speaker_p'] in ('', 0.0, 0.016)


def _small(run, judge):
  """The rule on a small perturbation: 0.01 is the largest of 20 dB."""
  low, high, noisy = (
    run.at(*judge, 0.01, control)[f'flip_ci_{end}']
    for control, end in (('', 'low'), ('', 'high'), ('random_sign', 'high'))
  )
  if low > 0.5 and low > noisy:
    return True
  return False if high < 0.5 else None


def test_verdicts_are_their_printed_rules_applied_to_every_epsilon(tmp_path):
  rng = np.random.default_rng(0)
  of_itself, _ = runs.direct(NONE, NONE, NONE)
  blank = read(tmp_path, rows=runs.sweep() + of_itself)
  # Medians of no rule, read anew each time.
  (tmp_path / 'run' / 'attack' / 'minimal.csv').unlink()
  epsilons = sorted({row['epsilon'] for row in blank.rows} - {0})
  seen = collections.Counter()
  for _ in range(100):
    run = _random_run(blank, rng)
    broken, spared = {}, {}
    for name, seed in run.judges:
      clean = run.at(name, seed, 0)
      for e in epsilons:
        noise = run.at(name, seed, e, 'random_sign')
        broken[name, seed, e] = _is_more(noise)
        spared[name, seed, e] = noise['error_rate'] <= clean['ci_high']
    directly = {
      seed: any(
        _is_more(row)
        for row in run.rows
        if (row['source'], row['seed']) == ('wavernn', seed) and row['epsilon']
      )
      for seed in (0, 1)
    }

    def some(judge, broken=broken):
      return any(broken[*judge, e] for e in epsilons)

    def robust(judge, broken=broken, spared=spared, some=some):
      if not some(judge):
        return None
      return any(broken[*judge, e] and spared[*judge, e] for e in epsilons)

    cnn, rnn = ([(name, s) for s in (0, 1)] for name in ('wavecnn', 'wavernn'))
    for found, answers in (
      (sweep_claims.effective(run), [some(j) or None for j in cnn]),
      (sweep_claims.transferred(run), [some(j) or None for j in rnn]),
      (sweep_claims.robust_to_noise(run), [robust(j) for j in cnn + rnn]),
      (
        sweep_claims.direct(run),
        [False if directly[j[1]] else some(j) or None for j in rnn],
      ),
      (sweep_claims.smallest(run), [_small(run, j) for j in cnn + rnn]),
    ):
      assert found.verdict == claim.verdict(answers), found.text
      seen[found.verdict] += 1
  assert min(seen[v] for v in (claim.CONFIRMED, claim.IN_PART)) > 20


def test_an_attack_in_l2_is_held_against_noise_of_its_own_norm(tmp_path):
  """Random signs of its max-norm would be 20 dB louder than the attack."""
  loud, quiet = (0.02, 0.9, 0.9, 0.9), (0.02, 0.02, 0.02, 0.02)
  rows = []
  for row in runs.sweep(rates(wavecnn=(0.02, 0.3, 0.5, 0.6), wavernn=quiet)):
    row['attack'] = 'fgm'
    if not row['control']:
      rows.append(row)
      continue
    attacked = {'wavecnn': (0.02, 0.3, 0.5, 0.6)}.get(row['target'], quiet)
    e = runs.EPSILONS.index(row['epsilon'])
    for control, noisy in (('random_sign', loud), ('gaussian', quiet)):
      found = runs.row(
        **{
          **{k: row[k] for k in ('seed', 'target', 'epsilon', 'attack')},
          'control': control,
          'error_rate': noisy[e],
        }
      )
      rows.append(found | runs.excess(attacked[e], noisy[e]))
  run = read(tmp_path, rows=rows, **{'sweep.attacks': ('fgm',)})
  assert run.control == 'gaussian'
  assert run.telling_epsilon > 0
  found = sweep_claims.effective(run)
  assert found.verdict == claim.CONFIRMED
  assert 'Gaussian noise of the same L2 norm' in found.rule
  noise = sections.in_short(run)[0]['noise']
  assert (noise['control'], noise['error_rate']) == ('gaussian', 0.02)


def test_the_telling_epsilon_is_one_at_which_something_was_done(tmp_path):
  rows = [
    {**row, **({'excess': -0.1} if row['epsilon'] else {'excess': 0.0})}
    if row['control']
    else row
    for row in runs.sweep()
  ]
  assert read(tmp_path, rows=rows).telling_epsilon > 0


def test_seeds_that_disagree_make_a_claim_true_in_part(tmp_path):
  rows = runs.sweep(seeds=(0,)) + runs.sweep(
    rates(wavecnn=NONE, wavernn=NONE, noise=NONE), seeds=(1,)
  )
  found = sweep_claims.effective(read(tmp_path, rows=rows))
  assert found.verdict == claim.IN_PART


def test_a_chance_excess_at_one_of_many_epsilons_is_no_effect(tmp_path):
  # 7 against 1 of 100 clips: McNemar p = 0.03, of three epsilons tried.
  attacked = (0.01, 0.07, 0.01, 0.01)
  quiet = (0.01, 0.01, 0.01, 0.01)
  rows = runs.sweep(rates(wavecnn=attacked, wavernn=quiet, noise=quiet))
  assert min(r['mcnemar_p'] for r in rows if r['control']) < 0.05
  run = read(tmp_path, rows=rows)
  assert sweep_claims.effective(run).verdict == claim.NOT_SHOWN
  assert sweep_claims.robust_to_noise(run).verdict == claim.NOT_SHOWN


@pytest.mark.parametrize(
  ('own', 'transferred', 'verdict'),
  [
    (NONE, (0.02, 0.02, 0.2, 0.4), claim.CONFIRMED),
    ((0.02, 0.2, 0.4, 0.5), (0.02, 0.02, 0.2, 0.4), claim.REFUTED),
    ((0.02, 0.2, 0.4, 0.5), NONE, claim.REFUTED),
    (NONE, NONE, claim.NOT_SHOWN),
    # 7 against 2 of 100 clips at one of three epsilons is chance.
    ((0.02, 0.02, 0.07, 0.02), NONE, claim.NOT_SHOWN),
  ],
)
def test_a_direct_attack_on_wavernn_is_held_against_noise_and_the_transferred(
  tmp_path, own, transferred, verdict
):
  rows = runs.sweep(
    rates(wavecnn=(0.02, 0.2, 0.3, 0.5), wavernn=transferred, noise=NONE)
  )
  of_itself, pairs = runs.direct(own, transferred, NONE)
  run = read(tmp_path, rows=rows + of_itself)
  storage.write_table(run.path('attack', 'direct.csv'), runs.DIRECT, pairs)
  found = sweep_claims.direct(reading.read(run.folder))
  assert found.verdict == verdict
  assert len(found.found) == 2
  if own[3] == 0.5:
    assert found.found[0].startswith(
      'WaveRNN, seed 0: at epsilon 0.02 50.0 % by its own examples (+48.0 '
      'points ['
    )
    assert 'above noise at 3 and ' in found.found[0]


def test_without_an_attack_on_itself_wavernn_is_not_tested(tmp_path):
  found = sweep_claims.direct(read(tmp_path))
  assert found.verdict == claim.NOT_TESTED
  assert found.found == ['Add wavernn to config.sweep.sources.']


@pytest.mark.parametrize(
  ('low', 'high', 'verdict'),
  [
    (0.8, 0.95, claim.CONFIRMED),
    (0.9, 1.1, claim.NOT_SHOWN),
    (1.5, 2.1, claim.REFUTED),
  ],
)
def test_one_step_is_held_against_the_bound_of_equation_10(
  tmp_path, low, high, verdict
):
  run = read(tmp_path)
  runs.write_everything_else(tmp_path / 'run')
  path = tmp_path / 'run' / 'studies' / 'gradients' / 'summary.csv'
  rows = [
    runs.estimate(
      *('jacobians', model, training, f'one_step_{what}'), *interval
    )
    for model, training, interval in (
      ('wavernn-seed0', 'trained', ((low + high) / 2, low, high)),
      ('untrained tanh', 'untrained', (0.9, 0.9, 0.9)),
    )
    for what in ('median', 'max')
  ]
  storage.write_table(path, tuple(rows[0]), rows)
  found = gradient_claims.one_step(run.studies['gradients'])
  assert found.verdict == verdict
  assert found.found[0].startswith(
    'WaveRNN, seed 0 (trained): bound 1; largest step of a clip '
  )


def test_shapes_of_the_curves(tmp_path):
  run = read(tmp_path)
  assert shape_claims.linear(run).verdict == claim.CONFIRMED
  assert shape_claims.flat_then_jump(run).verdict == claim.CONFIRMED
  bent, steady = (0.02, 0.9, 0.9, 0.9), (0.02, 0.2, 0.3, 0.5)
  rows = runs.sweep(rates(wavecnn=bent, wavernn=steady, noise=NONE))
  run = read(tmp_path / 'bent', rows=rows)
  assert shape_claims.linear(run).verdict == claim.REFUTED
  assert shape_claims.flat_then_jump(run).verdict == claim.REFUTED


def test_a_shape_that_few_voices_make_is_not_shown(tmp_path):
  """One voice in five errs, from the first epsilon on: of others who knows."""
  rows = runs.sweep(rates(wavecnn=(0.0, 0.2, 0.2, 0.2), wavernn=NONE))
  run = read(tmp_path, rows=rows)
  assert shape_claims.linear(run).verdict == claim.REFUTED
  voices = np.arange(runs.NUM_CLIPS) // (runs.NUM_CLIPS // 10)
  by_voice = runs.curves(run.rows, voices.astype(str))
  run = dataclasses.replace(run, curves=by_voice)
  assert shape_claims.linear(run).verdict == claim.NOT_SHOWN


def test_curves_without_a_rise_have_no_shape(tmp_path):
  falling, one_more = (0.2, 0.18, 0.16, 0.14), (0.02, 0.02, 0.02, 0.03)
  for curve in (NONE, falling, one_more):
    rows = runs.sweep(rates(wavecnn=curve, wavernn=curve, noise=NONE))
    run = read(tmp_path / str(curve[3] + curve[0]), rows=rows)
    assert shape_claims.linear(run).verdict == claim.NOT_SHOWN
    found = shape_claims.flat_then_jump(run)
    assert found.verdict == claim.NOT_SHOWN
    assert found.found[0] == ('seed 0: the error does not rise beyond chance')


def test_a_jump_that_noise_makes_too_is_not_the_attacks(tmp_path):
  jump = (0.02, 0.02, 0.02, 0.5)
  rows = runs.sweep(rates(wavecnn=jump, wavernn=jump, noise=jump))
  found = shape_claims.flat_then_jump(read(tmp_path, rows=rows))
  assert found.verdict == claim.NOT_SHOWN
  assert 'under noise it comes as far' in found.found[0]


@pytest.mark.parametrize(
  ('mask', 'curve', 'verdict'),
  [
    ('all', (0.02, 0.5, 0.2, 0.6), claim.CONFIRMED),
    ('all', (0.02, 0.5, 0.48, 0.6), claim.NOT_SHOWN),
    ('padding', (0.02, 0.5, 0.2, 0.6), claim.NOT_SHOWN),
  ],
)
def test_a_fall_is_of_the_papers_curve_and_beyond_chance(
  tmp_path, mask, curve, verdict
):
  falling = runs.sweep(rates(wavecnn=NONE, wavernn=curve, noise=NONE))
  rows = [{**row, 'mask': mask} for row in falling]
  if mask != 'all':
    rows += runs.sweep(rates(wavecnn=NONE, wavernn=NONE, noise=NONE))
  found = shape_claims.fluctuates(read(tmp_path, rows=rows))
  assert found.verdict == verdict
  if verdict == claim.CONFIRMED:
    assert found.found[0].startswith(
      'seed 0: from 50.0 % at epsilon 0.005 to 20.0 % at 0.01, corrected p '
    )


def filtered():
  """Returns the rows of a sweep behind a low pass."""
  return runs.sweep() + [
    runs.row(seed=seed, target=target, transform='lowpass4000', epsilon=epsilon)
    for seed in (0, 1)
    for target in ('wavecnn', 'wavernn')
    for epsilon in (0.0, 0.02)
  ]


@pytest.mark.parametrize(
  ('over_half', 'verdict', 'counts'),
  [
    ((0.15, 0.1), claim.CONFIRMED, 'in 2, less in 0, either in 0'),
    ((-0.15, -0.2), claim.REFUTED, 'in 0, less in 2, either in 0'),
    ((-0.05, 0.05), claim.NOT_SHOWN, 'in 0, less in 0, either in 2'),
    ((-0.15, 0.05), claim.REFUTED, 'in 0, less in 1, either in 1'),
    ((-0.15, 0.15), claim.IN_PART, 'in 1, less in 1, either in 0'),
  ],
)
def test_a_filter_that_takes_half_of_the_rise_refutes_the_paper(
  tmp_path, over_half, verdict, counts
):
  """Of the models that are broken: WaveRNN's error hardly rises."""
  transforms = [
    runs.taken(seed, target, rise, margin)
    for seed, margin in enumerate(over_half)
    for target, rise in (('wavecnn', 0.4), ('wavernn', 0.09))
  ]
  run = read(tmp_path, rows=filtered(), transforms=transforms)
  found = protection_claims.filters(run)
  assert found.verdict == verdict
  left = 100 * (0.2 + sum(over_half) / 2)
  assert found.found[0] == (
    f'lowpass4000: {left:.1f} of 40.0 points left (mean of 2 models that are '
    f'broken); at least half {counts}.'
  )


def test_a_filter_has_nothing_to_take_where_no_error_rises(tmp_path):
  transforms = [
    runs.taken(seed, target, 0.05, 0.2)
    for seed in (0, 1)
    for target in ('wavecnn', 'wavernn')
  ]
  run = read(tmp_path, rows=filtered(), transforms=transforms)
  found = protection_claims.filters(run)
  assert found.verdict == claim.NOT_SHOWN
  assert found.found[0] == 'lowpass4000: no error rises without it.'


def test_without_its_table_a_filter_is_not_tested(tmp_path):
  folder = runs.write(tmp_path / 'run', rows=filtered())
  (tmp_path / 'run' / 'attack' / 'transforms.csv').unlink()
  found = protection_claims.filters(reading.read(folder))
  assert found.verdict == claim.NOT_TESTED
  assert 'transforms.csv is not there' in found.found[0]


def test_a_shared_front_end_is_compared_with_one_of_its_own(tmp_path):
  targets = ('wavecnn', 'wavernn', 'wavernn_on_wavecnn')
  models = {'models': targets}
  strong, weak = (0.02, 0.4, 0.6, 0.8), (0.02, 0.2, 0.3, 0.4)
  for own, shared, verdict in (
    # The shared one is broken more, but its own front end saves no WaveRNN.
    (weak, strong, claim.IN_PART),
    (strong, weak, claim.REFUTED),
    # A clip or two more are no answer, nor where nothing is broken.
    (weak, (0.02, 0.22, 0.32, 0.42), claim.NOT_SHOWN),
    (NONE, (0.02, 0.03, 0.03, 0.03), claim.NOT_SHOWN),
  ):
    rows = runs.sweep(
      rates(wavecnn=strong, wavernn=own, wavernn_on_wavecnn=shared, noise=NONE),
      targets,
    )
    folder = tmp_path / f'{verdict}-{own[1]}'
    found = sweep_claims.shared_frontend(read(folder, rows=rows, **models))
    assert found.verdict == verdict, found
  found = sweep_claims.shared_frontend(
    read(
      tmp_path / 'saved',
      rows=runs.sweep(
        rates(
          wavecnn=(0.02, 0.2, 0.3, 0.5),
          wavernn=NONE,
          wavernn_on_wavecnn=(0.02, 0.2, 0.3, 0.5),
          noise=NONE,
        ),
        targets,
      ),
      **models,
    )
  )
  assert found.verdict == claim.CONFIRMED


@pytest.mark.parametrize(
  ('task', 'other', 'verdict'),
  [
    ('emotion', NONE, claim.CONFIRMED),
    ('emotion', None, claim.REFUTED),  # broken like the run's own
    ('emotion', (0.5, 0.5, 0.5, 0.5), claim.NOT_SHOWN),  # knew nothing before
    ('gender', NONE, claim.NOT_TESTED),  # no other trait
  ],
)
def test_a_model_of_another_task_tells_of_privacy(
  tmp_path, task, other, verdict
):
  name = '/runs/emotion/wavecnn-seed0'

  def answers(target, control):
    if target == name and other:
      return other
    return runs.curve(target, control)

  rows = runs.sweep(answers, ('wavecnn', 'wavernn', name))
  run = read(tmp_path, rows=rows)
  judge = {name: {'task': task, 'classes': ['angry', 'sad']}}
  (tmp_path / 'run' / 'attack' / 'judges.json').write_text(json.dumps(judge))
  run = reading.read(run.folder)
  assert protection_claims.privacy(run).verdict == verdict
  # It says nothing of the run's own task.
  assert {target for target, _ in run.judges} == {'wavecnn', 'wavernn'}
  assert sweep_claims.transferred(run).verdict == claim.CONFIRMED


@pytest.mark.parametrize(
  ('other', 'verdict'),
  [
    # The run's own is broken at 0.01 and 0.02, by most at 0.02.
    ((0.02, 0.02, 0.02, 0.4), claim.REFUTED),
    ((0.02, 0.02, 0.4, 0.02), claim.CONFIRMED),
  ],
)
def test_the_attacked_model_alone_says_where_a_trait_is_hidden(
  tmp_path, other, verdict
):
  name = '/runs/emotion/wavecnn-seed0'

  def answers(target, control):
    own = target != name or control
    return runs.curve(target, control) if own else other

  rows = runs.sweep(answers, ('wavecnn', 'wavernn', name))
  folder = runs.write(tmp_path / 'run', rows=rows)
  judge = {name: {'task': 'emotion', 'classes': ['angry', 'sad']}}
  (tmp_path / 'run' / 'attack' / 'judges.json').write_text(json.dumps(judge))
  assert protection_claims.privacy(reading.read(folder)).verdict == verdict


def test_a_trait_is_spared_for_nothing_where_none_is_hidden(tmp_path):
  name = '/runs/emotion/wavecnn-seed0'
  rows = runs.sweep(lambda *_: NONE, ('wavecnn', 'wavernn', name))
  folder = runs.write(tmp_path / 'run', rows=rows)
  judge = {name: {'task': 'emotion', 'classes': ['angry', 'sad']}}
  (tmp_path / 'run' / 'attack' / 'judges.json').write_text(json.dumps(judge))
  found = protection_claims.privacy(reading.read(folder))
  assert found.verdict == claim.NOT_SHOWN


def test_no_model_of_another_task_tells_nothing_of_privacy(tmp_path):
  assert protection_claims.privacy(read(tmp_path)).verdict == claim.NOT_TESTED


def test_the_smallest_perturbation_is_reported_of_the_models_own_answer(
  tmp_path,
):
  found = sweep_claims.smallest(read(tmp_path))
  assert found.verdict == claim.REFUTED
  assert found.found[0] == (
    'WaveCNN, seed 0: 22.0 % of the answers change at epsilon 0.01 (20 dB '
    'SNR), 2.0 % under noise; median of the smallest that do: 0.01'
  )


@pytest.mark.parametrize(
  ('flips', 'noisy', 'verdict'),
  [
    ((0, 0.4, 0.8, 1.0), (0, 0.1, 0.1, 0.1), claim.CONFIRMED),
    ((0, 0.4, 0.8, 1.0), (0, 0.4, 0.8, 1.0), claim.NOT_SHOWN),  # as noise does
    ((0, 0.1, 0.2, 1.0), (0, 0.1, 0.1, 0.1), claim.REFUTED),  # at 10 dB only
    ((0, 0.1, 0.48, 1.0), (0, 0.1, 0.1, 0.1), claim.NOT_SHOWN),
    # What a quieter one does by chance is not asked.
    ((0, 0.8, 0.2, 1.0), (0, 0.1, 0.1, 0.1), claim.REFUTED),
  ],
)
def test_a_perturbation_is_small_if_it_is_quiet_and_noise_does_less(
  tmp_path, flips, noisy, verdict
):
  rows = runs.sweep(rates(wavecnn=flips, wavernn=flips, noise=noisy))
  assert sweep_claims.smallest(read(tmp_path, rows=rows)).verdict == verdict


@pytest.mark.parametrize(
  ('curve', 'verdict'),
  [
    ((0.02, 0.02, 0.03, 0.4), claim.CONFIRMED),
    ((0.02, 0.2, 0.3, 0.5), claim.REFUTED),
    ((0.02, 0.03, 0.4, 0.4), claim.CONFIRMED),
    ((0.02, 0.4, 0.4, 0.4), claim.NOT_SHOWN),  # below the first epsilon
  ],
)
def test_a_jump_does_not_depend_on_how_fine_the_grid_is(
  tmp_path, curve, verdict
):
  rows = runs.sweep(rates(wavecnn=NONE, wavernn=curve, noise=NONE))
  run = read(tmp_path, rows=rows)
  assert shape_claims.flat_then_jump(run).verdict == verdict
  # The same curve, asked at points between as well.
  finer = []
  for row in run.rows:
    finer.append(row)
    if row['epsilon'] == 0.01:
      between = dict(row, epsilon=0.0099, epsilon_given='0.0099')
      finer.append(between)
  finer = dataclasses.replace(run, rows=finer, curves=runs.curves(finer))
  found = shape_claims.flat_then_jump(finer)
  assert found.verdict == verdict


def test_studies_decide_on_their_intervals(tmp_path):
  run = read(tmp_path, clip_s=6.0)
  runs.write_everything_else(tmp_path / 'run')
  assert (
    gradient_claims.accumulation(run.studies['gradients']).verdict
    == claim.CONFIRMED
  )
  assert (
    gradient_claims.vanishing(run.studies['gradients']).verdict
    == claim.CONFIRMED
  )
  assert (
    gradient_claims.early_gradient(run.studies['gradients']).verdict
    == claim.CONFIRMED
  )
  found = feature_claims.conversion(run.studies['features'])
  assert found.verdict == claim.CONFIRMED
  assert found.found[1] == (
    'MFCC, Griffin-Lim, gradient through features, seed 0: '
    '90.0 % [59.6, 98.2] of clips at budget 4'
  )


@pytest.mark.parametrize(
  ('shares', 'verdict'),
  [
    ((0.9, 0.1), claim.CONFIRMED),  # for one feature it is
    ((0.7, 0.1), claim.NOT_SHOWN),
    ((0.1, 0.0), claim.REFUTED),
  ],
)
def test_conversion_is_decided_by_intervals(tmp_path, shares, verdict):
  run = read(tmp_path)
  runs.write_everything_else(tmp_path / 'run')
  path = tmp_path / 'run' / 'studies' / 'features' / 'budgets.csv'
  rows = storage.read_table(path)
  for row in rows:
    is_mfcc = row['representation'].startswith('mfcc')
    row |= runs.conversion(shares[not is_mfcc])
  storage.write_table(path, tuple(rows[0]), rows)
  assert feature_claims.conversion(run.studies['features']).verdict == verdict


def test_studies_decide_by_speaker_where_they_can(tmp_path):
  run = read(tmp_path, clip_s=6.0)
  runs.write_everything_else(tmp_path / 'run')
  folder = tmp_path / 'run' / 'studies'
  path = folder / 'gradients' / 'summary.csv'
  rows = storage.read_table(path)
  for spread, verdict in ((0.0, claim.CONFIRMED), (99.0, claim.NOT_SHOWN)):
    wide = [
      {
        **row,
        'num_speakers': 8,
        'ci_speaker_low': row['ci_low'] - spread,
        'ci_speaker_high': row['ci_high'] + spread,
      }
      for row in rows
    ]
    storage.write_table(path, tuple(rows[0]), wide)
    for make in (
      gradient_claims.accumulation,
      gradient_claims.early_gradient,
      gradient_claims.vanishing,
    ):
      found = make(run.studies['gradients'])
      assert found.verdict == verdict
      assert ', by speaker [' in found.found[0]
  path = folder / 'features' / 'budgets.csv'
  rows = storage.read_table(path)
  for row in rows:
    row['conversion_larger_speaker_low'] = 0.4
    row['conversion_larger_speaker_high'] = 1.0
  storage.write_table(path, tuple(rows[0]), rows)
  found = feature_claims.conversion(run.studies['features'])
  assert found.verdict == claim.NOT_SHOWN
  assert '% [59.6, 98.2], by speaker [40.0, 100.0] of' in found.found[1]


@pytest.mark.parametrize(
  ('cnn', 'rnn', 'error_rate', 'verdict'),
  [
    (0.6, 0.01, 0.1, claim.CONFIRMED),
    (0.6, 0.08, 0.1, claim.REFUTED),  # it leans to the end, no more
    (0.6, 0.055, 0.1, claim.NOT_SHOWN),  # the interval holds the limit
    (0.01, 0.01, 0.1, claim.NOT_SHOWN),  # WaveCNN's vanishes too
    (0.6, 0.01, 0.5, claim.NOT_SHOWN),  # of models that learned nothing
  ],
)
def test_a_gradient_vanishes_in_a_wavernn_that_learned_and_no_wavecnn(
  tmp_path, cnn, rnn, error_rate, verdict
):
  run = read(tmp_path, clip_s=6.0)
  folder = tmp_path / 'run' / 'studies' / 'gradients'
  folder.mkdir(parents=True)
  shares = {'wavecnn-seed0': cnn, 'wavernn-seed0': rnn}
  for name, table in (
    (
      'summary',
      [
        runs.estimate(
          *('clips', model, 'start, all', 'early_l1_share'),
          *(share, share - 0.01, share + 0.01),
        )
        for model, share in (*shares.items(), ('wavernn_tanh-seed0', 0.01))
      ]
      + [
        runs.estimate('jacobians', model, 'trained', statistic, 1, 1, 1)
        for model, statistic in (
          ('wavernn-seed0', 'forget_gate'),
          ('wavernn-seed0', 'halvings_per_s'),
          ('wavernn_tanh-seed0', 'halvings_per_s'),
        )
      ],
    ),
    (
      'fgsm',
      [
        {
          'model': model,
          'epsilon': 0.0,
          'error_rate': error_rate,
          'num_clips': 100,
        }
        for model in shares
      ],
    ),
  ):
    storage.write_table(folder / f'{name}.csv', tuple(table[0]), table)
  found = gradient_claims.early_gradient(run.studies['gradients'])
  assert found.verdict == verdict
  # The claim is about six seconds.
  shorter = dataclasses.replace(
    run.studies['gradients'], config={**run.config, 'clip_s': 1.6}
  )
  found = gradient_claims.early_gradient(shorter)
  assert found.verdict == claim.NOT_TESTED
  assert found.found == [
    'It is about clips of 6 s; those of this run have 1.6 s.'
  ]


def test_the_early_share_is_shown_with_its_spread(tmp_path):
  run = read(tmp_path, clip_s=6.0)
  runs.write_everything_else(tmp_path / 'run')
  path = tmp_path / 'run' / 'studies' / 'gradients' / 'clips.csv'
  rows = storage.read_table(path)
  shares = iter([0.01, 0.02, 0.03, 0.9] * len(rows))
  rows = [{**row, 'early_l1_share': next(shares)} for row in rows]
  storage.write_table(path, tuple(rows[0]), rows)
  found = gradient_claims.early_gradient(run.studies['gradients']).found
  assert all('quartiles' in x and 'clips below the limit' in x for x in found)


def test_headings_say_what_the_table_of_gradients_is_of(tmp_path):
  run = read(tmp_path)
  runs.write_everything_else(tmp_path / 'run')
  path = tmp_path / 'run' / 'studies' / 'gradients' / 'summary.csv'
  row = runs.estimate('clips', 'wavecnn-seed0', 'start, all', '', 0.5, 0.4, 0.6)
  rows = [
    {**row, 'statistic': statistic, 'of': of}
    for statistic, of in (('early_l1_share', 'mean'), ('index_50', 'median'))
  ]
  storage.write_table(path, tuple(row), rows)
  shown = studies.resolve('gradients').section(run.studies['gradients'])
  assert shown.context['headings'] == [
    'L1 norm in the first 5/8, % (mean)',
    'energy on padding, %',
    'exact zeros, %',
    'half of it lies before sample (median)',
    'rank correlation with the level of speech',
  ]


def test_an_influence_that_hardly_falls_does_not_vanish(tmp_path):
  run = read(tmp_path)
  runs.write_everything_else(tmp_path / 'run')
  path = tmp_path / 'run' / 'studies' / 'gradients' / 'summary.csv'
  for low, high, verdict in (
    (0.0001, 0.01, claim.REFUTED),
    # One halving in the clip of a second: half of it is left.
    (0.9, 1.1, claim.REFUTED),
    (0.1, 10.5, claim.NOT_SHOWN),
    (10.0, 10.5, claim.CONFIRMED),
  ):
    row = runs.estimate(
      *('jacobians', 'wavernn-seed0', 'trained', 'halvings_per_s'),
      *((low + high) / 2, low, high),
    )
    lstm = runs.estimate(
      *('jacobians', 'wavernn-seed0', 'trained', 'forget_gate', 0.9, 0.9, 0.9)
    )
    plain = {**row, 'model': 'wavernn_tanh-seed0', 'ci_low': 8, 'ci_high': 9}
    storage.write_table(path, tuple(row), [row, lstm, plain])
    found = gradient_claims.vanishing(run.studies['gradients'])
    assert found.verdict == verdict
    assert len(found.found) == 1  # the plain RNN is none of the claim's


@pytest.mark.parametrize(
  ('seconds', 'rate', 'verdict'),
  [
    ((0.95, 1.05), (0.95, 1.05), claim.CONFIRMED),
    ((0.95, 1.05), (0.02, 0.23), claim.IN_PART),
    ((4.2, 7.6), (0.02, 0.23), claim.REFUTED),
    ((0.85, 1.15), (float('nan'), float('nan')), claim.NOT_SHOWN),
    ((0.85, 1.15), (0.5, 0.6), claim.REFUTED),
  ],
)
@pytest.mark.usefixtures('undrawn_figures')
def test_accumulation_is_of_length_and_rate_not_of_random_samples(
  tmp_path, seconds, rate, verdict
):
  run = read(tmp_path)
  runs.write_everything_else(tmp_path / 'run')
  path = tmp_path / 'run' / 'studies' / 'gradients' / 'summary.csv'
  rows = []
  for varied, (low, high) in (
    ('rate', rate),
    ('samples', (0.99, 1.01)),
    ('length_masked', seconds),
    ('length_cut', (-3, 3)),
  ):
    for epsilon in ('1e-06', '0.0001'):
      row = runs.estimate(
        *('accumulation', 'wavecnn-seed0', f'{varied}, epsilon {epsilon}'),
        *('measured_exponent', np.nan_to_num((low + high) / 2), low, high),
      )
      rows.append({**row, 'num_clips': 14, 'num_left_out': 2})
  storage.write_table(path, tuple(rows[0]), rows)
  found = gradient_claims.accumulation(run.studies['gradients'])
  assert found.verdict == verdict
  assert len(found.found) == 4
  assert not [line for line in found.found if 'nan' in line]
  assert found.found[0] == (
    'Random samples of a clip: WaveCNN, seed 0: exponent 1.00 [0.99, 1.01], 14 '
    'clips, 2 left out, whose change is not positive (not counted)'
  )
  if verdict == claim.CONFIRMED:  # a page takes seconds
    page = pathlib.Path(report.write(run.folder)).read_text(encoding='utf-8')
    assert page.count('>sampling rate</td>') == 2


def read_all(folder):
  """Reads what a page is made of, and draws nothing."""
  run = reading.read(folder)
  gradient_claims.vanishing(run.studies['gradients'])
  for name, results in run.studies.items():
    studies.resolve(name).figures(results)


@pytest.mark.parametrize(
  'name',
  [
    *('config.json', 'data.json', 'wavecnn-seed0/summary.json'),
    *('attack/sweep.csv', 'attack/checks.json', 'attack/examples.json'),
    *('attack/quality.csv', 'attack/transforms.csv'),
    *('studies/gradients/summary.csv', 'studies/gradients/fgsm.csv'),
    *('studies/gradients/settings.json', 'studies/features/budgets.csv'),
    *('studies/features/norms.csv', 'studies/features/examples.json'),
  ],
)
def test_a_page_names_the_file_that_is_not_what_it_was(tmp_path, name):
  folder = runs.write(tmp_path / 'run')
  runs.write_everything_else(tmp_path / 'run')
  path = tmp_path / 'run' / name
  contents = ['', None]
  if name.endswith('.json'):
    contents = ['null', '{}', path.read_text()[:-1], *contents]
  for content in contents:
    path.unlink()
    if content is None:
      path.mkdir()
    else:
      path.write_text(content)
    with pytest.raises(errors.InputError, match=f'{name} .*; put it back'):
      read_all(folder)


def test_a_page_of_mutated_tables_and_records_is_read_or_refused(tmp_path):
  runs.write(tmp_path / 'run')
  runs.write_everything_else(tmp_path / 'run')
  suffixes = ('.csv', '.json', '.jsonl')
  names = sorted(
    path.relative_to(tmp_path / 'run')
    for path in (tmp_path / 'run').rglob('*')
    if path.suffix in suffixes
  )
  rng = np.random.default_rng(mutations.NUM)
  for i in range(mutations.NUM):
    folder = shutil.copytree(tmp_path / 'run', tmp_path / f'run-{i}')
    done = mutations.mutate(rng, folder / names[rng.integers(len(names))])
    refused = None
    try:
      read_all(str(folder))
      claims.of_run(reading.read(str(folder)))
    except errors.InputError as e:
      refused = str(e)
    except Exception as e:
      e.add_note(done)
      raise
    assert refused is None or str(folder) in refused, done
    shutil.rmtree(folder)


NAN = float('nan')
# What a study leaves where no clip has a gradient, as of a model that is too
# sure of its answers, and no perturbation a size.
NOTHING = {
  'gradients': {
    **dict.fromkeys(('l1', 'predicted', 'measured', 'median'), 0.0),
    **dict.fromkeys(('lower_quartile', 'upper_quartile'), 0.0),
    **dict.fromkeys(('early_l1_share', 'estimate', 'ci_low', 'ci_high'), NAN),
  },
  'features': dict.fromkeys(
    ('feature_l2', 'adversarial_l2', 'conversion_l2'), 0.0
  ),
}


@pytest.mark.slow
@pytest.mark.filterwarnings('error')
def test_a_page_is_drawn_of_studies_that_found_nothing_but_zeros(tmp_path):
  folder = runs.write(tmp_path / 'run', clip_s=6.0)
  runs.write_everything_else(tmp_path / 'run')
  for study, values in NOTHING.items():
    for path in (tmp_path / 'run' / 'studies' / study).glob('*.csv'):
      rows = storage.read_table(path)
      rows = [{k: values.get(k, v) for k, v in row.items()} for row in rows]
      storage.write_table(path, tuple(rows[0]), rows)
  for path in (tmp_path / 'run' / 'studies' / 'gradients').glob('*.npz'):
    with np.load(path) as found:
      arrays = dict(found)
    for name in arrays.keys() & {'gradient', 'profile'}:
      arrays[name] = 0 * arrays[name]
    np.savez(path, **arrays)
  page = pathlib.Path(report.write(folder)).read_text()
  assert not re.search(r'\bnan\b', page)
  run = reading.read(folder)
  for make in (
    gradient_claims.early_gradient,
    gradient_claims.vanishing,
    gradient_claims.accumulation,
  ):
    found = make(run.studies['gradients'])
    assert found.verdict == claim.NOT_SHOWN
    assert 'not defined for any clip' in found.found[0]


def test_self_checks_call_models_and_attacks_by_their_titles(tmp_path):
  folder = runs.write(tmp_path / 'run')
  finding = {
    **dict.fromkeys(FIELDS),
    **{'name': 'below_one_lsb', 'severity': 'warning', 'sentence': 'x'},
    **{'attack': 'apgd_margin', 'source': 'wavernn_on_wavecnn', 'seed': 0},
    **{'mask': 'all', 'target': 'wavecnn', 'values': {}},
  }
  path = tmp_path / 'run' / 'attack' / 'checks.json'
  path.write_text(json.dumps([finding]))
  shown = sections.checks(reading.read(folder))
  assert [f['title'] for check in shown for f in check['findings']] == [
    'APGD margin on WaveRNN, CNN front end seed 0, mask all, judged by WaveCNN'
  ]


def test_curves_are_of_the_papers_setting_alone(tmp_path):
  others = [
    runs.row(**changes, error_rate=0.99)
    for changes in (
      {'seed': 0, 'target_seed': 1},
      {'source': 'wavernn'},
      {'mask': 'padding'},
      {'transform': 'mp3'},
      {'error_rate_float32': 0.5, 'attack': 'pgd'},
    )
  ]
  # The radius of features is in a unit of its own.
  others.append({**runs.row(attack='mfcc', error_rate=0.99), 'epsilon_fs': ''})
  run = read(tmp_path, rows=runs.sweep() + others)
  assert len(run.first) == len(runs.sweep())
  assert {row['attack'] for row in run.plain} == {'fgsm', 'pgd'}
  assert all(row['error_rate'] < 0.99 for row in run.first)


def test_the_papers_numbers_stand_beside_those_at_the_nearest_epsilon(tmp_path):
  first, second = sections.beside_the_paper(read(tmp_path))
  assert (first['target'], first['epsilon']) == ('wavernn', 0.02)
  assert second['ours'][0]['attacked']['error_rate'] == 0.42


def test_a_report_before_the_attack_says_what_to_run(tmp_path):
  with pytest.raises(errors.InputError, match=r'run python -m launch\.attack'):
    report.write(str(tmp_path))


def test_a_session_that_was_stopped_is_remembered_without_an_end(tmp_path):
  device = {'device_kind': 'cpu', 'num_devices': 4}
  for _ in range(2):
    with (
      pytest.raises(RuntimeError),
      provenance.recorded(str(tmp_path), device),
    ):
      raise RuntimeError
  assert len(provenance.read(str(tmp_path))) == 2
  with provenance.recorded(str(tmp_path), device):
    pass
  first, _, second = provenance.read(str(tmp_path))
  assert first['finished'] is None
  assert second['started'] >= first['started']
  assert second['finished'] >= second['started']
  assert second['device'] == device
  assert second['versions']['jax'] == jax.__version__
  summary = sections.sessions_of([first, second])
  assert summary['started'] == first['started']
  assert summary['num_sessions'] == 2


def test_code_that_is_no_checkout_has_no_commit(monkeypatch, tmp_path):
  assert len(provenance.code()['commit']) in (0, 40)
  monkeypatch.setattr(provenance, 'ROOT', str(tmp_path))
  assert provenance.code() == {'commit': '', 'changed': False}


def test_runs_are_compared_a_panel_each(tmp_path):
  gender = runs.write(tmp_path / 'gender')
  emotion = runs.write(
    tmp_path / 'emotion', task='emotion', classes=('angry', 'sad')
  )
  path = report.compare(str(tmp_path), [gender, emotion])
  assert path == str(tmp_path / 'comparison' / 'index.html')
  svg = (tmp_path / 'comparison' / 'figure6.svg').read_text()
  assert 'gender, synthetic speech' in svg
  assert 'emotion, synthetic speech' in svg
  with open(path, encoding='utf-8') as file:
    page = file.read()
  assert 'href="../gender/report/index.html"' in page
  assert page.count('<bdi>emotion, synthetic speech</bdi>') > 8


def test_figures_say_of_which_seeds_or_how_many_trainings_they_are():
  row = {'task': 'gender', 'num_clips': 72}
  rows = [{**row, 'seed': seed} for seed in (1, 0, 1)]
  assert figures.count_note(rows) == 'gender, 72 test clips, seeds 0, 1'
  means = [{**row, 'seed': None, 'num_trainings': 5, 'num_clips': 48}]
  note = figures.count_note([*means, {**means[0], 'num_clips': 72}])
  assert note == 'gender, 48 to 72 test clips, 5 trainings'


def test_the_most_robust_models_count_in_the_comparison():
  broken = [(0.05, 0.001), (0.06, 0.002), (0.07, 0.003)]
  rows = [{'clean': c, 'halfway': h} for c, h in broken]
  assert comparison.rank_correlation(rows)[0] == pytest.approx(1)
  rows += [{'clean': c, 'halfway': None} for c in (0.01, 0.02, 0.03)]
  rho, p = comparison.rank_correlation(rows)
  assert rho < -0.6
  assert 0.05 < p < 0.3
  assert comparison.rank_correlation(rows[3:]) is None


def test_runs_of_one_task_are_told_apart_by_their_folders(tmp_path):
  folders = [runs.write(tmp_path / name) for name in ('plain', 'defended')]
  found = comparison.titled([reading.read(folder) for folder in folders])
  assert list(found) == [
    'gender, synthetic speech (plain)',
    'gender, synthetic speech (defended)',
  ]
  again = [reading.read(folders[0])] * 2
  with pytest.raises(errors.InputError, match='cannot be told apart'):
    comparison.titled(again)


def test_one_run_is_no_comparison(tmp_path):
  with pytest.raises(errors.InputError, match=r'two runs or more, got a; name'):
    report.compare(str(tmp_path), ['a'])


def test_the_epsilon_halfway_to_a_guess_lies_on_the_line(tmp_path):
  found = comparison.fragility({'a': read(tmp_path)})
  # WaveCNN: from 0.02 towards 0.5, so 0.26, between 0.22 at 0.01 and 0.42.
  assert found[0]['halfway'] == pytest.approx(0.01 + 0.01 * 0.04 / 0.20)


def test_a_model_that_guesses_needs_no_perturbation(tmp_path):
  rows = runs.sweep(
    rates(wavecnn=(0.5, 0.6, 0.4, 0.9), wavernn=NONE, noise=NONE)
  )
  found = comparison.fragility({'a': read(tmp_path, rows=rows)})
  assert {(r['target'], r['halfway']) for r in found} == {
    ('wavecnn', 0.0),
    ('wavernn', None),
  }


def test_a_chosen_epsilon_has_its_p_corrected(tmp_path):
  run = read(tmp_path)
  row = sections.in_short(run)[0]
  assert run.num_tried == 3
  assert row['p'] == min(1, 3 * row['noise']['mcnemar_p'])


@pytest.mark.usefixtures('undrawn_figures')
def test_beside_a_transferred_attack_stands_the_one_on_the_judge(tmp_path):
  def rates_of(target, control):
    return (0.0, 0.1, 0.9, 0.9) if not control else NONE

  direct = [
    {**row, 'source': 'wavernn'}
    for row in runs.sweep(rates_of)
    if row['target'] == 'wavernn'
  ]
  run = read(tmp_path, rows=[*runs.sweep(), *direct])
  rows = {(r['target'], r['seed']): r['direct'] for r in sections.in_short(run)}
  assert rows['wavecnn', 0] is None
  found = rows['wavernn', 1]
  assert (found['source'], found['seed'], found['control']) == (
    'wavernn',
    1,
    '',
  )
  assert found['epsilon'] == run.telling_epsilon
  assert found['error_rate'] == 0.9
  text = pathlib.Path(page.write(run.folder)).read_text(encoding='utf-8')
  assert 'of the same size; attacked itself, on 90.0 and 90.0 %.' in text


def test_without_an_attack_on_the_judge_itself_none_is_named(tmp_path):
  run = read(tmp_path)
  assert {r['direct'] for r in sections.in_short(run)} == {None}


def test_a_quiet_clip_is_played_louder_with_all_made_of_it():
  quiet = np.full(1000, 0.001)
  gain = players.gain(quiet, [quiet])
  assert 20 * np.log10(gain * 0.001) == pytest.approx(-23)
  peak = np.r_[quiet, 0.5]
  assert players.gain(quiet, [quiet, peak]) == pytest.approx(0.99 / 0.5)
  assert players.gain(np.full(1000, 0.2), [quiet]) == 1  # never more quietly
  assert players.gain(np.zeros(1000), []) == 1


def test_thresholds_beside_norms_are_in_no_figure(tmp_path):
  run = read(tmp_path)
  clean = [row for row in run.rows if row['epsilon'] == 0]
  masked = [
    {**row, 'epsilon': 1.5 * row['epsilon'], 'epsilon_given': '0dbmask'}
    for row in run.first
    if row['epsilon'] > 0
  ]
  both = dataclasses.replace(run, rows=[*run.rows, *masked])
  assert both.first == run.first
  alone = dataclasses.replace(run, rows=[*clean, *masked])
  assert alone.first[-len(masked) :] == masked


def test_scores_that_are_not_defined_are_counted_out(tmp_path):
  scores = [0.5, float('nan'), 0.7, float('nan'), 0.9]
  rows = [
    {
      'source': 'wavecnn',
      'attack': 'fgsm',
      'epsilon_given': '0.01',
      'snr_db': 20.0,
      'segmental_snr_db': 10.0,
      'log_spectral_distance_db': 5.0,
      'unmasked_share': 0.25,
      'stoi': score,
      'pesq': '',  # and a measure that the table has no column of
    }
    for score in scores
  ]
  for order in (rows, rows[::-1]):
    run = dataclasses.replace(read(tmp_path / str(id(order))), quality=order)
    (found,) = sections.quality(run)
    assert found['num_clips'] == 5
    assert found['medians'] == [
      (20, 5),
      (10, 5),
      (5, 5),
      (0.25, 5),
      (0.7, 3),
      None,
      None,
    ]


@pytest.mark.usefixtures('undrawn_figures')
@pytest.mark.slow
def test_attacks_on_features_are_compared_at_equal_size_and_error(tmp_path):
  run = read(tmp_path)
  study, results = studies.resolve('features'), run.studies['features']
  before = study.section(results).context
  assert not before['equal_errors'] + before['contradicting_sizes']
  runs.write_everything_else(tmp_path / 'run')
  with open(report.write(run.folder), encoding='utf-8') as file:
    page = file.read()
  assert '8.0 [7.0, 9.0]' in page
  assert '<td class="text">not reached</td>' in page
  assert '<bdi>&lt;b&gt;clip&lt;/b&gt;</bdi>' in page
  shown = study.section(results).context
  assert {row['kind'] for row in shown['comparison']} == {'snr'}
