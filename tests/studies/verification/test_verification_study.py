"""Embedders are attacked as trials say, and what comes out is on the page."""

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
  embedders,
  errors,
  experiment,
  models,
  parallel,
  report,
  section,
  storage,
  studies,
)
from advspeech.statistics import verification
from advspeech.studies import named_embedders
from advspeech.studies.verification import claims, figures, parts, scoring

BANDS = 'voices:bands'
EPSILONS = ('0.0', '20dbsnr', '0dbsnr')


def tiny_classifier(seed=0):
  model = models.create_model(tiny.MODEL, 2, width=12)
  variables = jax.jit(
    lambda x: model.init(jax.random.key(seed), x, train=False)
  )(jnp.zeros((1, voices.TIME)))
  return checkpoint.Classifier(
    model, variables, {'clip_samples': voices.TIME, 'classes': ['a', 'b']}, 1
  )


@pytest.fixture(scope='module')
def run():
  """A run with one model, as far as the study asks of one."""
  config = tiny.get_config()
  config.models, config.source = (tiny.MODEL,), tiny.MODEL
  config.seeds = (0,)
  settings = config.verification
  settings.embedders = (BANDS, tiny.MODEL)
  settings.num_trials, settings.num_validation = 12, 60
  settings.num_enrolled = 2
  settings.attacks, settings.epsilons = ('fgm',), EPSILONS
  corpus, classifier = voices.corpus(), tiny_classifier()
  heard = types.SimpleNamespace(speakers=np.array(['s00', 's01', 's00']))
  return types.SimpleNamespace(
    config=config,
    classes=('a', 'b'),
    classifier=lambda name, seed: classifier,
    data=types.SimpleNamespace(
      corpus=corpus, splits={'train': heard, 'validation': heard}
    ),
  )


@pytest.fixture(scope='module')
def folder(run, tmp_path_factory):
  folder = tmp_path_factory.mktemp('verification')
  studies.resolve('verification').run(run, str(folder))
  return folder


@pytest.fixture(scope='module')
def table(folder):
  return storage.read_table(folder / 'attacked.csv')


def pick(rows, **values):
  return [r for r in rows if all(r[k] == v for k, v in values.items())]


def test_thresholds_come_from_the_other_speakers(run, folder):
  scores = storage.read_table(folder / 'scores.csv')
  trials = storage.read_table(folder / 'trials.csv')
  sides = {
    part: {
      r[key] for r in pick(trials, part=part) for key in ('claimed', 'speaking')
    }
    for part in ('validation', 'test')
  }
  assert not sides['validation'] & sides['test']
  for row in storage.read_table(folder / 'clean.csv'):
    own = {
      part: pick(scores, embedder=row['embedder'], part=part)
      for part in ('validation', 'test')
    }
    points = {
      part: verification.points(
        [r['score'] for r in rows], [r['kind'] == 'target' for r in rows]
      )
      for part, rows in own.items()
    }
    eer, at_equal = verification.equal_error_rate(points['validation'])
    expected = {
      'eer': at_equal,
      'far': verification.threshold_at_far(points['validation'], 0.01),
    }[row['operating']]
    assert row['threshold'] == pytest.approx(expected, rel=1e-5)
    assert row['validation_eer'] == pytest.approx(eer, rel=1e-5)
    assert row['eer'] == pytest.approx(
      verification.equal_error_rate(points['test'])[0], rel=1e-5
    )
    assert row['eer_low'] <= row['eer'] <= row['eer_high']
    # Models of this run have heard some of those judged; a stranger, none.
    assert row['num_heard'] == (
      len({'s00', 's01'} & sides['test'])
      if row['embedder'] == tiny.MODEL
      else 0
    )


def test_scores_are_cosines_of_mean_embeddings(run, folder, table):
  corpus = run.data.corpus
  embedder = embedders.load(BANDS, voices.TIME)
  mask = np.arange(voices.TIME)[None] < corpus.num_samples[:, None]
  vectors = scoring.unit(
    np.asarray(
      embedder(audio.from_pcm(corpus.pcm), jnp.asarray(mask, jnp.float32))
    )
  )
  of = dict(zip(map(str, corpus.ids), vectors, strict=True))
  trials = pick(storage.read_table(folder / 'trials.csv'), part='test')

  def cosines(key):
    """To the clips enrolled, or to those that an attack sees."""
    return [
      scoring.unit(np.mean([of[x] for x in row[key].split()], 0))
      @ of[row['test']]
      for row in trials
    ]

  scores = storage.read_table(folder / 'scores.csv')
  found = [r['score'] for r in pick(scores, part='test', embedder=BANDS)]
  np.testing.assert_allclose(found, cosines('enrolled'), atol=1e-4)
  # What an attack sees of the claimed speaker are the other clips.
  with np.load(folder / 'attack-0-fgm.npz') as arrays:
    unmoved = {name: arrays[name][:, 0] for name in arrays}
  np.testing.assert_allclose(
    unmoved['known_scores'], cosines('known'), atol=1e-4
  )
  np.testing.assert_allclose(
    unmoved['scores'][:, 0, 0], cosines('enrolled'), atol=1e-4
  )
  own = pick(table, embedder=BANDS, source=BANDS, control='', format='memory')
  assert '' not in {r['known_rate'] for r in own}
  other = pick(table, embedder=tiny.MODEL, source=BANDS)
  assert {r['known_rate'] for r in other} == {''}


def test_impostors_are_accepted_and_targets_rejected_more_than_under_noise(
  table,
):
  for kind in ('target', 'impostor'):
    direct = pick(
      table,
      source=BANDS,
      embedder=BANDS,
      kind=kind,
      operating='eer',
      format='memory',
    )
    loud = pick(direct, epsilon_given='0dbsnr')
    (made,) = pick(loud, control='')
    assert made['rate'] > made['clean_rate']
    for control in ('random_sign', 'gaussian', 'shuffled'):
      (noise,) = pick(loud, control=control)
      assert noise['more'] == pytest.approx(
        made['rate'] - noise['rate'], abs=1e-5
      )
      assert noise['more_low'] <= noise['more'] <= noise['more_high']
      assert noise['more'] > 0 or kind == 'target'  # all are, of noise too
    (before,) = pick(direct, epsilon_given='0', control='')
    assert made['oracle_eer'] > before['oracle_eer']


def test_at_epsilon_zero_nothing_changes(table):
  for row in pick(table, epsilon_given='0'):
    assert row['rate'] == row['clean_rate']
    assert row['mean_snr_db'] == ''


def test_kinds_of_impostors_stand_apart_and_together(table):
  point = {
    'source': BANDS,
    'embedder': BANDS,
    'attack': 'fgm',
    'epsilon_given': '20dbsnr',
    'operating': 'far',
    'control': '',
    'format': 'memory',
  }
  same, cross, both = (
    pick(table, **point, kind=k)[0]
    for k in ('same_sex', 'cross_sex', 'impostor')
  )
  assert both['num_trials'] == same['num_trials'] + cross['num_trials'] == 24
  assert both['rate'] == pytest.approx(
    (same['rate'] + cross['rate']) / 2, abs=1e-5
  )
  assert pick(table, **point, kind='target')[0]['mean_snr_db'] == pytest.approx(
    20, abs=0.1
  )


def test_parts_that_are_there_are_not_computed_again(run, folder, monkeypatch):
  studied.assert_parts_stay(
    run, folder, 'verification', 'far', 0.02, monkeypatch
  )


def test_the_claim_is_decided_by_the_noise(run, folder, table):
  results = section.Results(str(folder), run.config.to_dict(), run.classes)
  found = claims.accepted(results)
  assert len(found.found) == 2
  assert 'before' in found.found[0]
  louder = [
    {**row, 'more': 0.5, 'more_low': 0.1, 'more_high': 0.9}
    if row['control']
    else row
    for row in table
  ]
  for rows, verdict in (
    (louder, 'confirmed'),
    (
      [r | ({'more_low': -0.1} if r['control'] else {}) for r in louder],
      'not shown',
    ),
    (
      [
        r | ({'more_low': -0.2, 'more_high': -0.1} if r['control'] else {})
        for r in louder
      ],
      'refuted',
    ),
    (
      [r | ({'more_low': ''} if r['control'] else {}) for r in louder],
      'not shown',
    ),
    (
      # Random signs have the max-norm of an attack in L2, and are no equals.
      [
        r | ({'more_low': -0.2} if r['control'] == 'random_sign' else {})
        for r in louder
      ],
      'confirmed',
    ),
    ([], 'not tested'),
  ):
    fake = types.SimpleNamespace(table=lambda name, rows=rows: rows)
    assert claims.accepted(fake).verdict == verdict


def test_the_impostors_nearest_are_written_to_listen_to(run, folder):
  corpus, sounds = run.data.corpus, studied.sounds_of(folder)
  assert len(sounds) == run.config.verification.num_examples
  trials = pick(storage.read_table(folder / 'trials.csv'), part='test')
  enrolled = {f'{r["test"]} as {r["claimed"]}': r['enrolled'] for r in trials}
  heard = embedders.load(BANDS, voices.TIME)

  def vector(pcm):
    whole = np.zeros((1, voices.TIME), np.int16)
    whole[0, : len(pcm)] = pcm
    mask = jnp.arange(voices.TIME)[None] < len(pcm)
    found = heard(audio.from_pcm(whole), mask.astype(jnp.float32))
    return scoring.unit(np.asarray(found[0]))

  for (name,), own in sounds.items():
    clip, _, speaker = name.partition(' as ')
    assert not clip.startswith(speaker)
    rows = [list(corpus.ids).index(x) for x in enrolled[name].split()]
    pcm = [np.asarray(corpus.pcm)[i, : corpus.num_samples[i]] for i in rows]
    centre = scoring.unit(np.mean([vector(x) for x in pcm], 0))
    first, *played = own
    assert first['sent'] == 'enrolled'
    np.testing.assert_array_equal(first['pcm'], pcm[0])
    assert [e['sent'] for e in played] == ['clean', 'attack', 'random_sign']
    for entry in played:
      cosine = centre @ vector(entry['pcm'])
      assert entry['score'] == pytest.approx(cosine, abs=1e-3)
    clean, attack, noise = (e['score'] for e in played)
    assert attack > max(clean, noise)
    assert played[1]['snr_db'] == pytest.approx(0, abs=0.1)


@pytest.mark.usefixtures('undrawn_figures')
def test_the_page_shows_rates_beside_noise(run, folder, tmp_path):
  workdir = tmp_path / 'run'
  runs.write(workdir)
  page = workdir / 'report' / 'index.html'
  report.write(str(workdir))
  assert 'python -m launch.study verification' in page.read_text()
  made = workdir / 'studies' / 'verification'
  shutil.copytree(folder, made)
  report.write(str(workdir))
  text = page.read_text()
  assert '<h2 id="verification">Speaker verification under attack</h2>' in text
  assert 'impostors of the same sex accepted' in text
  assert 'Bands' in text
  assert text.count('a clip that is enrolled</p>') == 2
  assert (made / 'det.svg').exists()
  results = section.Results(str(folder), run.config.to_dict(), run.classes)
  panels = figures.rates(results).axes
  assert [panel.get_title() for panel in panels] == [
    f'made on {a}, heard by {b}'
    for b in ('Bands', 'Tiny model')
    for a in ('Bands', 'Tiny model')
  ]


@pytest.mark.parametrize(
  ('key', 'value', 'message'),
  [
    ('attacks', ('fgsm-targeted',), 'must be on the waveform of one clip'),
    ('attacks', ('mfcc',), 'must be on the waveform of one clip'),
    ('attacks', ('universal',), 'must be on the waveform of one clip'),
    ('attacks', (), r'verification\.attacks must name at least one'),
    ('epsilons', ('2.0',), r'verification\.epsilons must lie in \[0, 1\]'),
    ('far', 1.5, r'verification\.far'),
    ('speakers', 'some', r"speakers must be 'all' or 'unheard', got 'some'"),
    (
      'embedders',
      ('nobody',),
      r'verification\.embedders must be among resembly',
    ),
  ],
)
def test_settings_that_cannot_be_run_are_refused(key, value, message):
  config = tiny.get_config()
  config.studies = ('verification',)
  config.verification.embedders = (BANDS,)
  config.verification.unlock()
  config.verification[key] = value
  with pytest.raises(errors.InputError, match=message):
    experiment.validate(config)


def test_a_far_that_trials_cannot_show_is_refused(run):
  settings = run.config.verification.copy_and_resolve_references()
  settings.num_validation = 40
  with pytest.raises(
    errors.InputError, match=r'needs 100 impostor trials .* 80'
  ):
    parts.choose_trials(settings, run.data.corpus, 0, ())


def test_the_speakers_of_a_list_set_no_thresholds(run, tmp_path):
  settings = run.config.verification.copy_and_resolve_references()
  path = tmp_path / 'trials.txt'
  path.write_text('1 s00-01-0 s00-02-1\n0 s00-01-0 s02-02-1\n')
  settings.trials = str(path)
  settings.far = 0.05
  validation, test = parts.choose_trials(settings, run.data.corpus, 0, ())
  assert len(test) == 2
  assert speakers_of(validation) == set(run.data.corpus.speaker) - {
    's00',
    's02',
  }


def speakers_of(trials):
  return {x for t in trials for x in (t.speaker, t.enrolment.speaker)}


def test_speakers_whom_the_models_have_heard_take_no_side(run):
  settings = run.config.verification.copy_and_resolve_references()
  settings.far = 0.05
  everybody = set(run.data.corpus.speaker)
  heard = sorted(everybody)[:10]
  splits = {
    'train': types.SimpleNamespace(speakers=np.array([*heard[:6], ''])),
    'validation': types.SimpleNamespace(speakers=np.array(heard[4:])),
  }
  data = types.SimpleNamespace(corpus=run.data.corpus, splits=splits)
  known = named_embedders.heard(types.SimpleNamespace(data=data))
  assert known == set(heard)
  chosen = parts.choose_trials(settings, run.data.corpus, 0, known)
  assert set.union(*map(speakers_of, chosen)) == everybody
  settings.speakers = 'unheard'
  sides = parts.choose_trials(settings, run.data.corpus, 0, known)
  validation, test = map(speakers_of, sides)
  assert len(validation) == len(test) == 3
  assert validation | test == everybody - known


def test_too_few_speakers_whom_no_model_has_heard_are_refused(run, tmp_path):
  settings = run.config.verification.copy_and_resolve_references()
  settings.speakers, settings.far = 'unheard', 0.05
  corpus = run.data.corpus
  everybody = sorted(set(corpus.speaker))
  with pytest.raises(
    errors.InputError, match=r"'unheard' needs four .* got 3; train on fewer"
  ):
    parts.choose_trials(settings, corpus, 0, everybody[3:])
  path = tmp_path / 'trials.txt'
  path.write_text('1 s00-01-0 s00-02-1\n0 s00-01-0 s02-02-1\n')
  settings.trials = str(path)
  with pytest.raises(errors.InputError, match=r'names s02, of whom clips are'):
    parts.choose_trials(settings, corpus, 0, ['s02'])


def hesitant(samples, mask):
  return 0 * voices.bands(samples, mask)


def broken(samples, mask):
  return voices.bands(samples, mask) / 0


for fn in (hesitant, broken):
  fn.sample_rate_hz, fn.sample_range = 16_000, (-1.0, 1.0)


def test_an_embedding_of_zeros_is_like_no_other_and_none_may_be_infinite(
  caplog,
):
  corpus, rows = voices.corpus(), np.arange(8)
  here = 'test_verification_study'
  zeros, bad = (
    embedders.load(f'{here}:{name}', voices.TIME)
    for name in ('hesitant', 'broken')
  )
  mesh = parallel.make_mesh()
  found = scoring.embed(zeros, corpus, rows, mesh)
  assert not found.any()
  assert 'gives 8 of 8 clips an embedding of zeros' in caplog.text
  assert scoring.Embedded(rows, found).mean_of((0, 1)).tolist() == [0] * 20
  gradient = jax.grad(lambda x: scoring.cosine(x, x + 1).sum())(
    jnp.zeros((1, 3))
  )
  assert not np.asarray(gradient).any()
  with pytest.raises(
    errors.InputError, match='a finite embedding, and for s00'
  ):
    scoring.embed(bad, corpus, rows, mesh)
