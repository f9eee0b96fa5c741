"""An embedder that is asked who speaks: whom it names, and who may ask it."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import voices

from advspeech import (
  audio,
  embedders,
  errors,
  input_pipeline,
  parallel,
  storage,
  studies,
)
from advspeech.studies.substitute import identifier, rounds, victims
from advspeech.studies.verification import scoring
from configs import paper

BANDS = 'voices:bands'
CLASSES = ('s00', 's05', 's10')


def split_of(corpus, rows):
  speakers = corpus.speaker[rows]
  labels = [CLASSES.index(speaker) for speaker in speakers]
  return scoring.split_of(corpus, rows, corpus.ids[rows], np.array(labels))


@pytest.fixture(scope='module')
def run():
  """A run that tells three speakers apart; takes 2 and 3 are the test clips."""
  config = tiny.get_config()
  config.models, config.source = (tiny.MODEL,), tiny.MODEL
  config.model_options = {'tinymodel': {}}
  config.seeds, config.task = (0,), 'speaker'
  config.substitute.update(
    {
      'victims': (BANDS,),
      'num_enrolled': 2,
      'num_seeds': 4,
      'num_rounds': 1,
      'num_epochs': 1,
      'batch_size': 4,
      'num_clips': -1,
      'epsilons': ('0dbsnr',),
      'arms': ('jacobian',),
      'regimes': ('same',),
    }
  )
  corpus = voices.corpus()
  known = np.isin(corpus.speaker, CLASSES)
  is_test = np.array([name[-1] in '23' for name in corpus.ids])
  splits = {
    'train': split_of(corpus, np.flatnonzero(known & ~is_test)),
    'test': split_of(corpus, np.flatnonzero(known & is_test)),
  }
  return types.SimpleNamespace(
    config=config,
    config_of=lambda name: config,
    classes=CLASSES,
    data=types.SimpleNamespace(splits=splits, corpus=corpus),
  )


def cosines(run, split, enrolled):
  """Returns cosines of whole clips to each speaker's mean embedding."""

  def heard(x):
    samples = np.float64(x.pcm[:]) / 32768
    found = np.asarray(voices.bands(samples, np.ones_like(samples)), np.float64)
    return found / np.linalg.norm(found, axis=-1, keepdims=True)

  means = np.stack(
    [heard(enrolled)[enrolled.labels == i].mean(0) for i in range(len(CLASSES))]
  )
  means /= np.linalg.norm(means, axis=-1, keepdims=True)
  return heard(split) @ means.T


def test_it_names_the_enrolled_speaker_that_a_clip_is_most_like(run):
  splits = run.data.splits
  mesh = parallel.make_mesh()
  embedder = embedders.load(BANDS, voices.TIME)
  victim = identifier.enrol(embedder, splits['train'], CLASSES, mesh)
  clips = jnp.asarray(audio.from_pcm(splits['test'].pcm[:]))
  logits = victim.logits_fn(clips)
  expected = cosines(run, splits['test'], splits['train'])
  np.testing.assert_allclose(logits, 10 * expected, atol=1e-3)
  np.testing.assert_array_equal(expected.argmax(-1), splits['test'].labels)
  gradient = jax.grad(lambda x: victim.logits_fn(x)[:, 0].sum())(clips)
  assert np.isfinite(gradient).all()
  assert gradient.any(-1).all()
  # Silence is like nobody, and has no direction to go.
  silence = jnp.full((1, voices.TIME), 0.5)
  assert np.isfinite(victim.logits_fn(silence)).all()


def test_clips_enrolled_are_few_and_of_training(run):
  mesh = parallel.make_mesh()
  enrolled, whole = [], identifier.enrol
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(
      identifier, 'enrol', lambda *x: enrolled.append(x[1]) or whole(*x)
    )
    victims.load(run, BANDS, mesh)
  (split,) = enrolled
  assert sorted(split.labels) == [0, 0, 1, 1, 2, 2]
  assert set(split.ids) <= set(run.data.splits['train'].ids)


def test_a_speaker_with_nothing_to_enrol_is_named(run):
  train = run.data.splits['train']
  rest = input_pipeline.subset(train, np.flatnonzero(train.labels != 1))
  embedder = embedders.load(BANDS, voices.TIME)
  with pytest.raises(errors.InputError, match='none of s05; leave that'):
    identifier.enrol(embedder, rest, CLASSES, parallel.make_mesh())


def test_an_embedder_is_attacked_by_way_of_a_substitute(run, tmp_path):
  assert rounds.pairs(run.config) == {BANDS: tiny.MODEL}
  studies.resolve('substitute').check_run(run.config)
  studies.resolve('substitute').run(run, str(tmp_path))
  rows = storage.read_table(str(tmp_path / 'substitute.csv'))
  assert {row['victim'] for row in rows} == {BANDS}
  at = {(r['arm'], r['round'], r['control']): r for r in rows}
  own = at['white_box', '', '']
  # Its own gradient breaks it, where noise as loud as speech does not.
  assert own['error_rate'] - at['white_box', '', 'gaussian']['error_rate'] > 0.5
  assert [at['jacobian', i, '']['num_queries'] for i in (0, 1)] == [4, 8]
  (fidelity, *_) = storage.read_table(str(tmp_path / 'fidelity.csv'))
  assert fidelity['victim_error'] == 0


def test_an_embedder_is_asked_for_speakers_alone():
  config = paper.get_config()
  config.substitute.victims = ('resemblyzer', 'wavecnn')
  with pytest.raises(errors.InputError, match="must be 'speaker', got 'gender"):
    studies.resolve('substitute').check_run(config)
  config.task = 'speaker'
  studies.resolve('substitute').check_run(config)
