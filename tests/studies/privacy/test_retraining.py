"""A network trained on protected speech finds again whom a fixed one lost."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import voices

from advspeech import audio, embedders, errors, input_pipeline, parallel
from advspeech.studies import named_embedders
from advspeech.studies.privacy import backend, informed, retraining
from advspeech.studies.verification import scoring

CORPUS = voices.corpus()
SETTINGS = retraining.Settings(
  num_steps=40, learning_rate=0.1, batch_size=16, seed=0
)


def weighed(variables, samples, mask):
  """Levels of 40 bands of a spectrum whose bins are weighed first."""
  spectrum = jnp.fft.rfft((samples - 0.5) * mask)[:, : voices.TIME // 2]
  power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
  power = power.reshape(len(power), 40, -1, 2)
  power = (power * variables['params'][None, None, None] ** 2).mean((2, 3))
  power = power + variables['batch_stats'] - 1
  return jnp.log1p(power / (power.mean(-1, keepdims=True) + 1e-12))


EMBEDDER = embedders.Embedder(
  'weighed',
  weighed,
  {'params': np.ones(2, np.float32), 'batch_stats': np.float32(1)},
  'Weighed bins',
)


def fixed(variables, samples, mask):
  del variables
  return weighed(EMBEDDER.variables, samples, mask)


FIXED = embedders.Embedder('fixed', fixed, (), 'Fixed')


class Comb:
  """A protection: loud noise in every other bin, where no speaker has a tone.

  What is added to the band of a bin cannot be taken off again; a network that
  hears these bins less is told nothing new.
  """

  @staticmethod
  def bins(size):
    """Returns where noise is, [size]."""
    return jnp.arange(size) % 2

  def made(self, shared, rows):
    """Returns what gives protected clips, as `protecting` does."""
    del shared
    clips, mask = rows['audio'], rows['mask']

    def noise(key):
      size = voices.TIME // 2 + 1
      found = jax.random.normal(key, (2, size)) * self.bins(size)[None]
      return jnp.fft.irfft(6 * found[0] + 6j * found[1])

    added = jax.vmap(noise)(rows['key']) * mask
    return lambda radii, weight: jnp.clip(clips + radii[0] * added, 0, 1)


class Hiss(Comb):
  """The same above 6.5 kHz, where no speaker has a tone either."""

  @staticmethod
  def bins(size):
    """Returns where noise is, [size]."""
    return jnp.arange(size) > 650


def clips():
  """Returns all clips, quiet, as a split of the study."""
  num = len(CORPUS.ids)
  return input_pipeline.Split(
    ids=CORPUS.ids,
    pcm=np.asarray(CORPUS.pcm) // 8,
    num_samples=np.full(num, voices.TIME),
    labels=np.full(num, -1),
    speakers=CORPUS.speaker,
  )


IS_FITTED = np.array([int(s[1:]) % 2 == 1 for s in CORPUS.speaker])
SPEAKERS = CORPUS.speaker


def mesh(num_devices=1):
  return parallel.make_mesh(devices=jax.devices()[:num_devices])


def protected(split):
  return informed.Protected(
    split,
    np.flatnonzero(IS_FITTED),
    ((), ()),
    {'radii': np.ones((len(split), 1), np.float32)},
    0,
    mesh(),
  )


COMB = (('comb', Comb()),)


def make(folder, split, filters=(), settings=SETTINGS, protections=COMB):
  return informed.make(
    str(folder),
    [(name, made, (1.0,)) for name, made in protections],
    protected(split),
    [named_embedders.Named(x, frozenset(), '') for x in (FIXED, EMBEDDER)],
    settings,
    filters,
  )


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('retrained')


@pytest.fixture(scope='module')
def found(folder):
  """What a network hears that was trained, beside one that has no variables."""
  return make(folder, clips()).retrained


def test_whom_a_fixed_network_lost_a_retrained_one_finds(found):
  assert list(found) == [(1, 'comb', 0)]  # nothing is learnt in the other
  split = protected(clips()).made('comb', Comb(), 1.0)

  def embedded(split):
    samples = audio.from_pcm(np.asarray(split.pcm))
    vectors = EMBEDDER(samples, jnp.ones_like(samples))
    return scoring.unit(np.asarray(vectors, float))

  original = backend.Heard(embedded(split), embedded(clips()))
  trained = [
    backend.Heard(x['protected'], x['clean'])
    for x in found[1, 'comb', 0].values()
  ]

  def only(heard, which):
    return backend.Heard(heard.protected[which], heard.clean[which])

  fixed = only(original, IS_FITTED)
  networks = [
    backend.Network(fixed, (fixed, fixed)),
    backend.Network(only(trained[0], IS_FITTED), tuple(trained[1:])),
  ]
  names = SPEAKERS[IS_FITTED]

  def error(networks, heard):
    number, fit, enrols = backend.refit(networks, names)
    judged = only(heard[number], ~IS_FITTED)
    enrolled = judged.clean if enrols == backend.CLEAN else judged.protected
    return number, backend.pair_error(
      fit(judged.protected), fit(enrolled), SPEAKERS[~IS_FITTED]
    )

  assert error(networks[:1], [original])[1] > 0.3
  number, after = error(networks, [original, trained[0]])
  assert number == 1
  assert after < 0.1


def test_parts_are_made_once_and_come_out_the_same(
  folder, found, tmp_path, monkeypatch
):
  """And speakers who are judged have no part in what is learnt."""
  (path,) = folder.iterdir()
  again = make(tmp_path, clips()).retrained
  assert (tmp_path / path.name).read_bytes() == path.read_bytes()
  jax.tree.map(np.testing.assert_array_equal, again, found)
  (tmp_path / path.name).unlink()
  silent = clips()
  silent.pcm[~IS_FITTED] = 0
  (other,) = make(tmp_path, silent).retrained.values()
  own = found[1, 'comb', 0]
  for key in ('first', 'second'):
    jax.tree.map(np.testing.assert_array_equal, other[key], own[key])
  for key, x in own['all'].items():
    np.testing.assert_array_equal(other['all'][key][IS_FITTED], x[IS_FITTED])
    assert (other['all'][key] != x).any()
  monkeypatch.setattr(retraining.Trainer, 'fit', None)
  make(tmp_path, silent)


def labelled():
  """Returns clips labelled by speaker."""
  _, labels = np.unique(SPEAKERS, return_inverse=True)
  return dataclasses.replace(clips(), labels=labels.astype(np.int32))


def fit(num_devices=1, **changes):
  settings = SETTINGS._replace(num_steps=3, **changes)
  trainer = retraining.Trainer(EMBEDDER, settings, mesh(num_devices))
  vectors = np.random.default_rng(0).normal(size=(16, 40))
  return jax.device_get(trainer.fit(labelled(), vectors, np.ones(16)))


def test_parameters_alone_are_trained_and_devices_share_a_batch():
  one, four = fit(), fit(num_devices=4)
  assert (np.abs(one['params'] - 1) > 0.01).all()
  np.testing.assert_array_equal(one['batch_stats'], 1)
  np.testing.assert_allclose(one['params'], four['params'], rtol=1e-3)


def test_a_loss_that_is_not_finite_is_an_error():
  with pytest.raises(
    errors.NonFiniteLossError, match=r'of weighed trained .* lower --config.pr'
  ):
    fit(learning_rate=1e30)


def test_losses_are_softmax_over_cosines_with_a_margin():
  rng = np.random.default_rng(0)
  vectors, speakers = rng.normal(size=(5, 7)), rng.normal(size=(4, 7))
  labels, known = np.array([0, 1, 3, 3, 0]), np.array([1, 1, 0, 1])
  cosines = scoring.unit(vectors) @ scoring.unit(speakers).T
  cosines[np.arange(5), labels] -= retraining.MARGIN
  powers = np.exp(retraining.SCALE * cosines) * known
  expected = -np.log(powers[np.arange(5), labels] / powers.sum(1))
  found = jax.jit(retraining.losses)(
    *map(jnp.asarray, (vectors, speakers, labels, known))
  )
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
  rest = tuple(map(jnp.asarray, (speakers, labels, known)))
  gradient = jax.jit(jax.grad(lambda x: retraining.losses(x, *rest).sum()))
  assert np.isfinite(gradient(jnp.zeros((5, 7)))).all()


def test_what_a_transform_takes_off_hides_nobody_behind_it(tmp_path):
  off = SETTINGS._replace(num_steps=0)
  found = make(tmp_path, clips(), ('lowpass6000',), off, (('hiss', Hiss()),))
  assert not found.retrained
  assert list(found.filtered) == [(0, 'hiss', 0), (1, 'hiss', 0)]
  split = protected(clips()).made('hiss', Hiss(), 1.0)
  samples = audio.from_pcm(np.asarray(split.pcm))
  before = np.asarray(FIXED(samples, jnp.ones_like(samples)), float)
  before = scoring.unit(before)
  after = found.filtered[0, 'hiss', 0]['0']
  error = backend.pair_error(before, before, SPEAKERS)
  assert error > 0.2
  assert backend.pair_error(after, after, SPEAKERS) < 0.5 * error
