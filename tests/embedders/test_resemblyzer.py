"""Resemblyzer's encoder against itself, and against NumPy in float64."""

import functools
import glob
import importlib.util
import os

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import soundfile

from advspeech import audio as audio_lib
from advspeech import embedders, errors
from advspeech.embedders import resemblyzer, resemblyzer_weights

TIME = 56_400


def random_weights(seed=0):
  """Weights of the encoder's shapes, as large as PyTorch draws them."""
  rng = np.random.default_rng(seed)
  units, size = resemblyzer_weights.UNITS, 1 / 16

  def draw(*shape):
    return rng.uniform(-size, size, shape).astype(np.float32)

  layers = tuple(
    resemblyzer_weights.Layer(
      draw(num_inputs, 4 * units), draw(units, 4 * units), draw(4 * units)
    )
    for num_inputs in (resemblyzer_weights.NUM_MELS, units, units)
  )
  return resemblyzer_weights.Weights(layers, draw(units, 256), draw(256))


def voices(lengths, seed=0, level=0.02):
  """Clips in [-1, 1] of a gliding voice and noise, and their masks."""
  rng = np.random.default_rng(seed)
  t = np.arange(TIME) / 16_000
  clips, mask = np.zeros((2, len(lengths), TIME), np.float32)
  for clip, recorded, n in zip(clips, mask, lengths, strict=True):
    turns = np.cumsum(rng.uniform(90, 250) * (1 + 0.2 * np.sin(9 * t))) / 16_000
    harmonics = np.arange(1, 25)[:, None]
    voice = (np.cos(2 * np.pi * harmonics * turns) / harmonics).sum(0)
    voice = level * (voice + rng.standard_normal(TIME) / 20)
    clip[:n], recorded[:n] = voice[:n], 1
  return clips, mask


def partial_starts(num_samples):
  """Where partial utterances begin, in frames, as Resemblyzer's loop has it."""
  num_frames = int(np.ceil((num_samples + 1) / 160))
  starts = list(range(0, max(1, num_frames - 160 + 77 + 1), 77))
  recorded = (num_samples - starts[-1] * 160) / 25_600
  return starts[:-1] if recorded < 0.75 and len(starts) > 1 else starts


def reference(weights, samples):
  """The embedding of one recording [time], by librosa and NumPy in float64."""
  samples = samples.astype(np.float64)
  rms = np.sqrt(np.mean(samples**2))
  samples = samples * max(1, 10 ** (-30 / 20) / rms)
  starts = partial_starts(len(samples))
  missing = max(0, (starts[-1] + 160) * 160 - len(samples))
  mels = librosa.feature.melspectrogram(
    y=np.pad(samples, (0, missing)),
    sr=16_000,
    n_fft=400,
    hop_length=160,
    n_mels=40,
  ).T
  total = 0
  for start in starts:
    x = mels[start : start + 160]
    for layer in weights.layers:
      layer = [np.asarray(a, np.float64) for a in layer]
      cell = state = np.zeros(256)
      states = []
      for frame in x:
        gates = frame @ layer[0] + state @ layer[1] + layer[2]
        i, f, g, o = np.split(gates, 4)
        i, f, o = (1 / (1 + np.exp(-a)) for a in (i, f, o))
        cell = f * cell + i * np.tanh(g)
        state = o * np.tanh(cell)
        states.append(state)
      x = np.array(states)
    dense = np.maximum(0, x[-1] @ weights.kernel + weights.bias)
    total = total + dense / np.linalg.norm(dense)
  return total / np.linalg.norm(total)


# One partial that is short, one that is nearly whole, the last left out or not.
LENGTHS = (9_000, 25_000, 31_518, 31_520, 44_000, 56_000, TIME)


@pytest.mark.slow
def test_embeddings_are_those_of_float64():
  weights = random_weights()
  clips, mask = voices(LENGTHS)
  clips[3] *= 20  # loud enough to be left at its level
  found = jax.jit(resemblyzer.embed)(weights, clips, mask)
  assert {len(partial_starts(n)) for n in LENGTHS} == {1, 2, 3, 4}
  for row, clip, n in zip(found, clips, LENGTHS, strict=True):
    np.testing.assert_allclose(row, reference(weights, clip[:n]), atol=2e-5)


def test_what_was_not_recorded_is_not_heard():
  weights = random_weights()
  clips, mask = voices((9_000,))
  embed = jax.jit(resemblyzer.embed)
  found = embed(weights, clips, mask)
  noisy = clips + (1 - mask) * 0.1
  np.testing.assert_array_equal(embed(weights, noisy, mask), found)
  late = [np.roll(x, 5_000, 1) for x in (clips, mask)]
  np.testing.assert_array_equal(embed(weights, *late), found)


def test_gradients_are_those_of_differences_and_finite_at_silence():
  weights = random_weights()
  clips, mask = voices((26_000,))
  clips, mask = clips[:, :26_000], mask[:, :26_000]
  rng = np.random.default_rng(1)
  to = rng.standard_normal((1, 256)).astype(np.float32)

  @jax.jit
  @functools.partial(jax.value_and_grad, argnums=1)
  def score(weights, x):
    return jnp.sum(resemblyzer.embed(weights, x, mask) * to)

  _, gradient = score(weights, clips)
  step = 2e-3 * np.abs(clips).max() * np.sign(gradient)
  rise = score(weights, clips + step)[0] - score(weights, clips - step)[0]
  assert float(rise) == pytest.approx(float(2 * (gradient * step).sum()), 0.05)
  assert np.isfinite(score(weights, 0 * clips)[1]).all()
  # Where the last layer gives nothing, a norm is nothing too.
  dead = weights._replace(bias=np.full(256, -9, np.float32))
  value, gradient = score(dead, clips)
  assert value == 0
  assert not np.asarray(gradient).any()


@pytest.fixture
def original():
  """Resemblyzer itself, where all that it wants is installed."""
  for name in ('resemblyzer', 'torch', 'webrtcvad'):
    if importlib.util.find_spec(name) is None:
      pytest.skip(f'{name} is not installed')
  with pytest.warns():
    import resemblyzer as package
  return package


def test_embeddings_are_the_originals(original, ravdess_folder):
  encoder = original.VoiceEncoder('cpu', verbose=False)
  paths = sorted(glob.glob(os.path.join(ravdess_folder, 'Actor_*', '*')))[::120]
  victim = embedders.load('resemblyzer', 6 * 16_000)
  clips, mask = np.full((2, len(paths), 6 * 16_000), 0.5, np.float32)
  mask[:] = 0
  expected = []
  for clip, recorded, path in zip(clips, mask, paths, strict=True):
    samples, rate_hz = soundfile.read(path, dtype='float32')
    if samples.ndim == 2 or rate_hz != 16_000:
      samples = librosa.load(path, sr=16_000)[0]
    clip[: len(samples)] = audio_lib.from_full_scale(samples)
    recorded[: len(samples)] = 1
    level = original.audio.normalize_volume(samples, -30, increase_only=True)
    expected.append(encoder.embed_utterance(level))
  found = jax.jit(victim)(clips, mask)
  assert len(found) >= 12
  np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_weights_are_of_one_file(tmp_path):
  other = tmp_path / 'pretrained.pt'
  with pytest.raises(errors.InputError, match=r'pretrained\.pt cannot be read'):
    resemblyzer_weights.read(other)
  other.write_bytes(b'a pickle of something else')
  with pytest.raises(errors.InputError, match='must have the SHA-256 39373b86'):
    resemblyzer_weights.read(other)
