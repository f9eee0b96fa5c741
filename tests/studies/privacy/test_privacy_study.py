"""Speakers are hidden, emotions stay, and what comes out is on the page."""

import pathlib
import shutil
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import report_runs as runs
import studied
import tiny
import voices

from advspeech import (
  audio,
  checkpoint,
  errors,
  experiment,
  models,
  paths,
  report,
  section,
  storage,
  studies,
)
from advspeech.statistics import verification
from advspeech.studies.privacy import claims, figures, points
from advspeech.studies.verification import scoring

# Models, protections and attackers compile for half a minute.
pytestmark = pytest.mark.slow

BANDS = 'voices:bands'
OTHER = 'test_privacy_study:levels'


def levels(samples, mask):
  """Another embedder: fewer, coarser bands."""
  return voices.bands(samples, mask)[:, ::2]


levels.sample_rate_hz, levels.sample_range = 16_000, (-1.0, 1.0)
levels.title = 'Levels'


def classifier(corpus, seed):
  """A model of chance that calls half of the clips the one, half the other."""
  model = models.create_model(tiny.MODEL, 2, width=12)
  x = audio.from_pcm(np.asarray(corpus.pcm))
  variables = jax.jit(
    lambda x: model.init(jax.random.key(seed), x, train=False)
  )(x[:1])
  last = variables['params']['logits']
  last['kernel'] = 100 * last['kernel']
  logits = model.apply(variables, x, train=False)
  middle = jnp.median(logits[:, 1] - logits[:, 0])
  last['bias'] = jnp.array([middle, 0.0])
  metadata = {'clip_samples': voices.TIME, 'classes': ['a', 'b']}
  return checkpoint.Classifier(model, variables, metadata, 1)


@pytest.fixture(scope='module')
def run():
  """A run with one model and two seeds, as far as the study asks of one."""
  config = tiny.get_config()
  config.task = 'emotion'
  config.models, config.source = (tiny.MODEL,), tiny.MODEL
  settings = config.privacy
  settings.embedders = (BANDS, OTHER)
  settings.epsilons = ('20dbsnr', '5dbsnr')
  settings.transforms = ('mcadams0.8',)
  settings.num_steps = 6
  settings.num_enrolled, settings.num_fitted = 1, 4
  settings.num_examples = 1
  settings.filters = ()
  corpus = voices.corpus()
  found = [classifier(corpus, seed) for seed in config.seeds]
  is_test = np.array([i.endswith('-3') for i in corpus.ids])
  clips = audio.from_pcm(np.asarray(corpus.pcm)[is_test])
  heard = types.SimpleNamespace(speakers=np.array(['s00', 's01']))
  test = types.SimpleNamespace(
    ids=corpus.ids[is_test],
    labels=np.asarray(found[0].logits_fn(clips).argmax(-1)),
  )
  return types.SimpleNamespace(
    config=config,
    classes=('a', 'b'),
    classifier=lambda name, seed: found[seed],
    data=types.SimpleNamespace(
      corpus=corpus, splits={'train': heard, 'validation': heard, 'test': test}
    ),
  )


@pytest.fixture(scope='module')
def folder(run, tmp_path_factory):
  folder = tmp_path_factory.mktemp('privacy')
  studies.resolve('privacy').run(run, str(folder))
  return folder


@pytest.fixture(scope='module')
def privacy(folder):
  return storage.read_table(folder / 'privacy.csv')


@pytest.fixture(scope='module')
def utility(folder):
  return storage.read_table(folder / 'utility.csv')


pick = points.by_key
LOUD = {'epsilon_given': '5dbsnr'}


def test_every_protection_meets_every_attacker(privacy, utility):
  protections = ['none', 'mcadams0.8', 'random_sign', 'speaker', 'weighted']
  protections += ['weighted', 'projected', 'multiplier']
  for embedder in (BANDS, OTHER):
    for attacker in ('ignorant', 'lazy_informed', 'semi_informed'):
      rows = pick(privacy, **LOUD, embedder=embedder, attacker=attacker)
      assert [r['protection'] for r in rows] == protections
      assert {r['attacked'] for r in rows} == {int(embedder == BANDS)}
  for seed in (0, 1):
    rows = pick(utility, **LOUD, seed=seed)
    assert [r['protection'] for r in rows] == protections
    assert {r['spared'] for r in rows} == {int(seed == 0)}


def test_solvers_and_noise_spend_the_same_snr(privacy):
  for epsilon, snr_db in (('20dbsnr', 20), ('5dbsnr', 5)):
    for row in pick(privacy, epsilon_given=epsilon):
      if row['protection'] not in ('none', 'mcadams0.8'):
        assert row['mean_snr_db'] == pytest.approx(snr_db, abs=0.1)


def test_clips_are_written_to_listen_to(run, folder):
  entries = storage.read_json(folder / 'examples.json', kind=list)
  by_id = storage.grouped(entries, ('id',))
  assert len(by_id) == 1
  for (name,), own in by_id.items():
    protections = ['none', 'mcadams0.8', 'random_sign', *['weighted'] * 3]
    protections += ['projected', 'multiplier']
    assert sorted(e['protection'] for e in own) == sorted(protections)
    corpus = run.data.corpus
    (row,) = np.flatnonzero(corpus.ids == name)
    heard = {
      (e['protection'], e['weight']): audio.read(folder / 'audio' / e['file'])
      for e in own
    }
    clean = heard['none', 1.0]
    recorded = np.asarray(corpus.pcm)[row, : corpus.num_samples[row]]
    np.testing.assert_allclose(clean * 32768, recorded, atol=1e-3)
    for entry in own:
      other = heard[entry['protection'], entry['weight']]
      if entry['protection'] == 'none':
        assert entry['snr_db'] is None
        continue
      found = 20 * np.log10(
        np.linalg.norm(clean) / np.linalg.norm(other - clean)
      )
      assert found == pytest.approx(entry['snr_db'], abs=0.1)
      if entry['protection'] != 'mcadams0.8':
        assert found == pytest.approx(5, abs=0.1)


def test_clean_clips_are_as_the_models_say(run, folder, privacy, utility):
  for row in pick(privacy, protection='none'):
    assert row['more'] == 0
    assert row['mean_snr_db'] == ''
  for row in pick(utility, protection='none'):
    assert row['drift'] == row['more'] == 0
    assert row['uar'] == 1 or row['seed']  # labels are what seed 0 says
  rows = pick(privacy, **LOUD, protection='none', embedder=BANDS)
  ignorant, lazy, _ = rows
  assert ignorant['eer'] == pytest.approx(lazy['eer'], abs=1e-6)
  # Once more, from the list of clips.
  corpus, clips = run.data.corpus, storage.read_table(folder / 'clips.csv')
  row_of = {str(x): i for i, x in enumerate(corpus.ids)}
  mask = np.arange(voices.TIME)[None] < corpus.num_samples[:, None]
  samples = audio.to_full_scale(audio.from_pcm(np.asarray(corpus.pcm)))
  vectors = scoring.unit(np.asarray(voices.bands(samples, mask)))
  tested, enrolled = (pick(clips, use=x) for x in ('tested', 'enrolled'))
  scores, is_target = [], []
  for clip in tested:
    for other in enrolled:
      said = corpus.statement[row_of[other['clip']]]
      if said == clip['against']:
        scores.append(
          vectors[row_of[clip['clip']]] @ vectors[row_of[other['clip']]]
        )
        is_target.append(clip['speaker'] == other['speaker'])
  found = verification.points(scores, is_target)
  assert ignorant['eer'] == pytest.approx(
    verification.equal_error_rate(found)[0], abs=1e-4
  )
  own = np.array(scores)[is_target]
  assert ignorant['frr'] == pytest.approx(
    np.mean(own < ignorant['threshold']), abs=1e-4
  )
  by_clip = np.reshape(scores, (len(tested), -1)).argmax(1)
  right = np.reshape(is_target, (len(tested), -1)).argmax(1)
  assert ignorant['linked'] == pytest.approx(
    np.mean(by_clip == right), abs=1e-4
  )
  assert ignorant['chance'] == 0.125
  # Two clips of each are tested: one is tried, one sets the threshold.
  assert ignorant['singled'] > 0.5 > ignorant['singled_chance'] > 0.25
  assert ignorant['singled_low'] < ignorant['singled'] <= 1


def test_speakers_are_hidden_better_than_by_noise(privacy):
  rows = pick(privacy, **LOUD, embedder=BANDS, attacker='ignorant')
  for row in rows:
    if row['protection'] in ('speaker', 'projected', 'multiplier'):
      assert row['over_noise'] > 0.05
      assert (
        row['over_noise_low'] <= row['over_noise'] <= row['over_noise_high']
      )
      clean = pick(rows, protection='none')[0]
      assert row['more'] == pytest.approx(row['eer'] - clean['eer'], abs=1e-5)
      assert row['frr'] > clean['frr']
      assert row['linked'] < clean['linked']


def test_answers_drift_less_where_the_model_is_spared(utility):
  rows = pick(utility, **LOUD, seed=0)
  (free,) = pick(rows, protection='speaker')
  assert free['drift'] > 0.05
  for name in ('projected', 'multiplier'):
    assert pick(rows, protection=name)[0]['drift'] < 0.7 * free['drift']
  half, tenth = pick(rows, protection='weighted')
  assert (half['weight'], tenth['weight']) == (0.5, 0.1)
  assert tenth['drift'] < half['drift'] < free['drift']


def test_only_who_is_fixed_before_has_a_threshold(privacy):
  for row in privacy:
    is_refitted = row['attacker'] == 'semi_informed'
    assert (row['threshold'] == '') == (row['frr'] == '') == is_refitted
    assert row['shrinkage'] == '' or is_refitted
    assert 0 <= row['non_dominated'] <= 1


def test_what_another_point_beats_in_both_is_dominated():
  def point(*values):
    return points.Resampled(0.0, np.array(values, float), 8)

  hidden = [point(3, 1), point(2, 2), point(1, 1)]
  kept = [point(1, 1), point(2, 2), point(2, 2)]
  assert points.non_dominated(hidden, kept) == [0.5, 1.0, 0.0]
  few = [points.Resampled(1.0, None, 2)]
  assert points.non_dominated(few, few) == ['']


def test_parts_that_are_there_are_not_computed_again(run, folder, monkeypatch):
  studied.assert_parts_stay(run, folder, 'privacy', 'num_steps', 7, monkeypatch)


@pytest.fixture(scope='module')
def retrained(run, tmp_path_factory):
  """A study of one solver and a model, whose network is trained again."""
  folder = tmp_path_factory.mktemp('retrained')
  config = run.config.copy_and_resolve_references()
  settings = config.privacy
  settings.embedders, settings.solvers = (tiny.MODEL, BANDS), ('projected',)
  settings.transforms, settings.weights = (), (1.0,)
  settings.num_steps, settings.num_examples = 1, 0
  settings.filters = ('lowpass4000',)
  settings.retraining.num_steps = 4
  settings.retraining.learning_rate = 1e-9
  other = types.SimpleNamespace(**{**vars(run), 'config': config})
  studies.resolve('privacy').run(other, str(folder))
  return other, folder


def test_networks_are_retrained_at_the_largest_epsilon(retrained):
  rows = storage.read_table(retrained[1] / 'privacy.csv')
  own = pick(rows, attacker='retrained')
  assert {(r['embedder'], r['epsilon_given']) for r in own} == {
    (tiny.MODEL, '5dbsnr')
  }
  assert [r['protection'] for r in own] == ['none', 'random_sign', 'projected']
  filtering = pick(rows, attacker='filtering')
  assert {(r['embedder'], r['epsilon_given']) for r in filtering} == {
    (tiny.MODEL, '5dbsnr'),
    (BANDS, '5dbsnr'),
  }
  assert {r['answer'] for r in filtering} <= {'nothing', 'lowpass4000'}
  for row in own:
    assert row['answer'] == ''
    assert row['frr'] == row['threshold'] == ''
  # At this rate nothing is learnt: clips made again are those heard before.
  for name in ('none', 'random_sign', 'projected'):
    before = storage.read_arrays(str(retrained[1] / f'heard-{name}.npz'))
    again = storage.read_arrays(str(retrained[1] / f'retrained-0-{name}-0.npz'))
    np.testing.assert_allclose(
      again['all/protected'],
      scoring.unit(before['embeddings/0'][:, -1, 0]),
      atol=1e-3,
    )
    fitted = len(again['first/clean'])
    for key in ('first', 'second'):
      np.testing.assert_allclose(
        again[f'{key}/clean'], again['all/clean'][-fitted:], atol=1e-5
      )
  assert len(list(retrained[1].glob('retrained-*'))) == 3
  assert len(list(retrained[1].glob('filtered-*'))) == 6


def test_a_part_that_is_lost_is_made_again_to_the_same_bits(
  retrained, tmp_path
):
  run, folder = retrained
  shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
  lost = ('retrained-0-projected-0.npz', 'filtered-1-random_sign-0.npz')
  lost = ('privacy.csv', *lost)
  for name in lost:
    (tmp_path / name).unlink()
  studies.resolve('privacy').run(run, str(tmp_path))
  for name in lost:
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_a_network_is_judged_retrained_also_where_it_finds_fewer(
  retrained, tmp_path
):
  run, folder = retrained
  shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
  (tmp_path / 'privacy.csv').unlink()
  part = str(tmp_path / 'retrained-0-projected-0.npz')
  rng = np.random.default_rng(0)
  arrays = {
    # Everybody who is held out is found by chance.
    key: scoring.unit(rng.normal(size=x.shape))
    for key, x in storage.read_arrays(part).items()
  }
  storage.write_arrays(part, arrays)
  studies.resolve('privacy').run(run, str(tmp_path))

  def rows(folder):
    return storage.read_table(folder / 'privacy.csv')

  (other,) = pick(rows(tmp_path), attacker='retrained', protection='projected')
  (own,) = pick(rows(folder), attacker='retrained', protection='projected')
  assert own['eer'] != other['eer'] > 0.3
  assert own['linked'] > other['linked']


def test_without_retraining_the_others_find_what_they_found(
  retrained, tmp_path
):
  run, folder = retrained
  for name in ('heard-*.npz', 'embeddings-*.npz'):
    for path in folder.glob(name):
      shutil.copy(path, tmp_path)
  config = run.config.copy_and_resolve_references()
  config.privacy.retraining.num_steps, config.privacy.filters = 0, ()
  other = types.SimpleNamespace(**{**vars(run), 'config': config})
  studies.resolve('privacy').run(other, str(tmp_path))
  rows = storage.read_table(folder / 'privacy.csv')
  assert storage.read_table(tmp_path / 'privacy.csv') == [
    row for row in rows if row['attacker'] not in ('filtering', 'retrained')
  ]
  (tmp_path / 'privacy.csv').unlink()
  with pytest.raises(errors.InputError, match=r'another study \(retraining'):
    studies.resolve('privacy').run(run, str(tmp_path))


def test_the_strongest_attacker_that_was_run_decides(retrained, utility):
  rows = storage.read_table(retrained[1] / 'privacy.csv')
  rows = changed(rows, more_low=0.1, more=0.2, more_high=0.3)
  lost = [
    {**row, 'more_low': -0.1, 'more': 0.0, 'more_high': 0.01}
    if row['attacker'] == 'retrained'
    else row
    for row in rows
  ]
  found = claims.survives(tables(rows, utility))
  assert found.verdict == 'confirmed'
  found = claims.survives(tables(lost, utility))
  assert found.verdict == 'in part'  # the other cannot be retrained
  first, second = found.found
  assert 'does not survive on' in first
  assert ' with the network retrained' in first
  assert ' survives on Bands' in second
  assert ' behind a transform (' in second
  assert 'its network was not trained again' in second
  results = types.SimpleNamespace(table={'privacy': rows}.__getitem__)
  assert len(figures.pareto(results).axes) == 10
  assert len(figures.who(results).axes) == 2


def tables(privacy, utility):
  found = {'privacy': privacy, 'utility': utility}
  return types.SimpleNamespace(table=found.__getitem__)


def changed(rows, **values):
  return [{**row, **values} for row in rows]


def test_it_hides_if_it_does_more_than_noise_and_no_model_loses_much(
  privacy, utility
):
  hides = changed(
    privacy, over_noise_low=0.1, over_noise=0.2, over_noise_high=0.3
  )
  keeps = changed(utility, more_low=-0.1, more=-0.02, more_high=0.05)
  for rows, models_, verdict in (
    (hides, keeps, 'confirmed'),
    (changed(hides, over_noise_low=-0.1), keeps, 'not shown'),
    (changed(hides, over_noise_low=''), keeps, 'not shown'),
    (changed(hides, over_noise_high=-0.1), keeps, 'refuted'),
    (hides, changed(keeps, more=-0.2), 'not shown'),
    (hides, changed(keeps, more_high=-0.06), 'refuted'),
    ([], [], 'not tested'),
  ):
    assert claims.hidden(tables(rows, models_)).verdict == verdict


def test_it_survives_if_the_refitted_attacker_errs_more_than_before(
  privacy, utility
):
  rows = changed(privacy, more_low=0.1, more=0.2, more_high=0.3)
  found = claims.survives(tables(rows, utility))
  assert found.verdict == 'confirmed'
  assert all(' survives on ' in words for words in found.found)
  # On the model attacked alone, of two.
  half = [
    row if row['attacked'] else {**row, 'more_low': -0.1, 'more_high': 0.05}
    for row in rows
  ]
  found = claims.survives(tables(half, utility))
  assert found.verdict == 'in part'
  assert (
    sum('does not survive on Levels (not att' in x for x in found.found) == 4
  )
  alone = pick(rows, attacked=1)
  assert (
    'No other speaker model'
    in claims.survives(tables(alone, utility)).found[-1]
  )
  for changes, verdict in (
    ({'more_low': -0.1}, 'not shown'),
    ({'more_low': ''}, 'not shown'),
    ({'more_low': -0.1, 'more_high': 0.09}, 'refuted'),
  ):
    found = claims.survives(tables(changed(rows, **changes), utility))
    assert found.verdict == verdict
  assert 'does not survive' in found.found[0]
  assert claims.survives(tables([], [])).verdict == 'not tested'


@pytest.mark.usefixtures('undrawn_figures')
def test_the_page_shows_who_finds_the_speaker(run, folder, tmp_path):
  workdir = tmp_path / 'run'
  runs.write(workdir)
  page = workdir / 'report' / 'index.html'
  report.write(str(workdir))
  assert 'python -m launch.study privacy' in page.read_text()
  before = page.read_text().count('<audio')
  made = workdir / 'studies' / 'privacy'
  made.mkdir(parents=True)
  shutil.copytree(folder, made, dirs_exist_ok=True)
  report.write(str(workdir))
  text = page.read_text()
  assert text.count('<audio') == before + 8
  assert 'speaker alone, 5 dB SNR' in text
  assert 'Hide the speaker, keep the emotion</h2>' in text
  assert 'enrols protected clips' in text
  assert 'projected gradient' in text
  assert 'Bands (attacked)' in text
  results = section.Results(str(folder), run.config.to_dict(), run.classes)
  titles = [panel.get_title() for panel in figures.who(results).axes]
  assert titles == ['Bands, attacked', 'Levels, not attacked']
  assert len(figures.pareto(results).axes) == 6


@pytest.mark.parametrize(
  ('key', 'value', 'message'),
  [
    ('solvers', ('sum',), 'solvers must be among weighted, projected, mult'),
    ('solvers', (), 'solvers must name at least one'),
    ('weights', (0.5,), r'weights must be different, and 1\.0 among them'),
    ('weights', (1.0, 0.0), r'weights must be numbers above 0 .* got 0\.0'),
    ('epsilons', ('2.0',), r'privacy\.epsilons must lie in \[0, 1\]'),
    ('transforms', ('mcadams9',), 'a transform must be one of'),
    ('filters', ('lowpass9000',), 'lowpass'),
    ('embedders', ('nobody',), r'privacy\.embedders must be among resemblyzer'),
    ('num_fitted', 1, r'privacy\.num_fitted'),
  ],
)
def test_settings_that_cannot_be_run_are_refused(key, value, message):
  config = tiny.get_config()
  config.task = 'emotion'
  config.studies = ('privacy',)
  config.privacy.embedders = (BANDS,)
  config.privacy.unlock()
  config.privacy[key] = value
  with pytest.raises(errors.InputError, match=message):
    experiment.validate(config)


def test_a_run_that_tells_no_emotion_is_refused_and_keeps_its_page(tmp_path):
  page = pathlib.Path(report.write(str(runs.write(tmp_path / 'run'))))
  config = tiny.get_config()
  config.task = 'gender'
  config.privacy.embedders = (BANDS,)
  run = experiment.Run(config, paths.RunPaths(str(tmp_path / 'run')), False)
  with pytest.raises(
    errors.InputError, match=r"models of config.task='gender' do not tell"
  ):
    experiment.study(run, 'privacy')
  assert page.exists()


def slow(samples, mask):
  return voices.bands(samples, mask)


slow.sample_rate_hz, slow.sample_range = 8000, (-1.0, 1.0)


def test_an_embedder_of_another_rate_is_refused(run, tmp_path):
  config = run.config.copy_and_resolve_references()
  config.privacy.embedders = ('test_privacy_study:slow',)
  other = types.SimpleNamespace(**{**vars(run), 'config': config})
  with pytest.raises(errors.InputError, match='takes 8000 Hz, and clips have'):
    studies.resolve('privacy').run(other, str(tmp_path))
