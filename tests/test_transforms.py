"""Transforms and their gradients against SciPy, librosa and definitions."""

import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import soundfile

from advspeech import audio as audio_lib
from advspeech import codecs, errors, transforms

TIME = 4001  # odd: half a sample is left over at 8 kHz
KEYS = jax.random.split(jax.random.key(0), 3)
DIFFERENTIABLE = (
  *('lowpass4000', 'highpass300', 'bandpass300-3400', 'median3', 'median5'),
  *('resample8000', 'resample12000', 'noise20db'),
)
CODECS = codecs.available()
OTHERS = ('quantize8', 'mulaw8', 'mcadams0.8', *CODECS)


def clips():
  """Three clips of noisy tones; the last ends in padding."""
  rng = np.random.default_rng(0)
  time_s = np.arange(TIME) / audio_lib.SAMPLE_RATE_HZ
  hz = np.array([[150.0], [440.0], [3000.0]])
  x = 0.2 * np.sin(2 * np.pi * hz * time_s) + rng.normal(0, 0.03, (3, TIME))
  mask = np.ones((3, TIME), np.float32)
  mask[2, 2500:] = 0
  return (0.5 + x * mask).astype(np.float32), mask


AUDIO, MASK = clips()


@functools.cache
def compiled(name):
  return jax.jit(transforms.make(name).apply)


def apply(name, x=AUDIO, keys=KEYS, mask=MASK):
  return np.asarray(compiled(name)(x, keys, mask))


@pytest.mark.parametrize(
  ('name', 'kind', 'cutoffs_hz'),
  [
    ('lowpass4000', 'lowpass', 4000),
    ('highpass300', 'highpass', 300),
    ('bandpass300-3400', 'bandpass', [300, 3400]),
    ('lowpass62.5', 'lowpass', 62.5),
  ],
)
def test_filters_are_scipys(name, kind, cutoffs_hz):
  taps = scipy.signal.firwin(
    transforms.NUM_TAPS, cutoffs_hz, pass_zero=kind, fs=16_000
  )
  expected = [np.convolve(x, taps, 'same') for x in AUDIO.astype(float) - 0.5]
  np.testing.assert_allclose(
    apply(name) - 0.5, np.stack(expected), atol=3e-7, rtol=0
  )


def test_filters_pass_and_stop_without_delay():
  time_s = np.arange(TIME) / 16_000
  tones = [0.2 * np.sin(2 * np.pi * hz * time_s) for hz in (100, 1000, 6000)]
  x = (0.5 + np.stack(tones)).astype(np.float32)
  inner = slice(200, -200)
  kept = np.array([0, 1, 0])[:, None] * (x - 0.5)
  filtered = apply('bandpass300-3400', x) - 0.5
  np.testing.assert_allclose(
    filtered[:, inner], kept[:, inner], atol=0.2 * 10 ** (-50 / 20)
  )


@pytest.mark.parametrize('width', [3, 5, 9])
def test_median_is_scipys(width):
  expected = scipy.ndimage.median_filter(AUDIO, (1, width), mode='nearest')
  filtered = apply(f'median{width}')
  np.testing.assert_array_equal(filtered, expected)
  inner = slice(width, -width)
  np.testing.assert_array_equal(
    filtered[0, inner], scipy.signal.medfilt(AUDIO[0], width)[inner]
  )


@pytest.mark.parametrize('rate_hz', [8000, 12000, 15000])
@pytest.mark.parametrize('time', [TIME, TIME - 1])
def test_resampling_is_scipys_there_and_back(rate_hz, time):
  x = AUDIO[:, :time]
  there = scipy.signal.resample_poly(x.astype(float) - 0.5, rate_hz, 16_000, 1)
  back = scipy.signal.resample_poly(there, 16_000, rate_hz, 1)[:, :time]
  resampled = apply(f'resample{rate_hz}', x, mask=MASK[:, :time])
  np.testing.assert_allclose(resampled - 0.5, back, atol=1e-6, rtol=0)


def test_quantisation_to_8_bits_keeps_the_upper_byte():
  pcm = np.arange(-32768, 32768)
  x = np.asarray(audio_lib.from_pcm(pcm.astype(np.int16)))[None]
  upper = np.clip(np.rint(pcm / 256), -128, 127)
  coarse = apply('quantize8', x, KEYS[:1], np.ones_like(x))
  np.testing.assert_array_equal(coarse[0], 0.5 + upper / 256)
  assert len(np.unique(coarse)) == 256


def test_mu_law_is_librosas():
  x = np.linspace(-1, 1, 20_001)
  code = librosa.mu_compress(x, mu=255, quantize=True)
  expected = librosa.mu_expand(code, mu=255, quantize=True)
  coded = apply(
    'mulaw8', (0.5 + x / 2).astype(np.float32)[None], KEYS[:1], np.ones((1, 1))
  )
  close = np.abs(2 * coded[0] - 1 - expected) < 1e-6
  # The others lie between two codes, on either side of float32's rounding.
  assert close.mean() > 0.999
  assert len(np.unique(coded)) == 256
  # Coarse where loud, fine where soft.
  assert np.abs(coded[0] - 0.5 - x / 2)[np.abs(x) < 0.01].max() < 3e-4


def test_coarse_samples_saturate_and_do_not_wrap():
  x = np.array([[-0.3, 0.0, 0.5, 1.0, 1.3]], np.float32)
  mask = np.ones_like(x)
  np.testing.assert_array_equal(
    apply('quantize8', x, KEYS[:1], mask), [[0, 0, 0.5, *[1 - 2**-8] * 2]]
  )
  coded = apply('mulaw8', x, KEYS[:1], mask)[0]
  assert coded[0] == coded[1] == pytest.approx(0, abs=1e-6)
  assert coded[2] == 0.5
  assert coded[3] == coded[4] == pytest.approx(0.979, abs=1e-3)


@pytest.mark.parametrize('snr_db', [20, -3.5])
def test_noise_has_the_named_snr_over_recorded_samples(snr_db):
  noisy = apply(f'noise{snr_db}db')
  np.testing.assert_allclose(
    audio_lib.snr_db(AUDIO, noisy, MASK), snr_db, atol=1e-3
  )
  # White and normal: no correlation of neighbours, kurtosis 3.
  noise = (noisy - AUDIO)[0]
  noise = noise / noise.std()
  assert abs(np.mean(noise[1:] * noise[:-1])) < 4 / np.sqrt(TIME)
  assert np.mean(noise**4) == pytest.approx(3, abs=4 * np.sqrt(96 / TIME))


def test_noise_depends_on_the_clips_key_alone():
  again = apply('noise20db', keys=KEYS[::-1])
  assert not np.any(np.isclose(again - AUDIO, apply('noise20db') - AUDIO)[0])
  np.testing.assert_array_equal(again[1], apply('noise20db')[1])


def test_a_silent_clip_gets_no_noise_and_a_finite_gradient():
  silence = jnp.full((3, TIME), 0.5)
  noise = transforms.make('noise20db')
  gradient = jax.jit(jax.grad(lambda x: jnp.sum(noise.apply(x, KEYS, MASK))))(
    silence
  )
  np.testing.assert_array_equal(apply('noise20db', silence), silence)
  assert np.isfinite(gradient).all()


@pytest.mark.parametrize('codec', CODECS)
@pytest.mark.parametrize('time', [24_000, 24_001])
def test_codecs_keep_length_and_delay_nothing(codec, time):
  rng = np.random.default_rng(0)
  seconds = np.arange(time) / 16_000
  x = 0.2 * np.sin(2 * np.pi * (200 + 500 * seconds) * seconds)
  x = x + rng.normal(0, 0.005, time)
  clip = (0.5 + x).astype(np.float32)[None]
  mask = np.ones_like(clip)
  coded = apply(codec, clip, KEYS[:1], mask)
  assert coded.shape == clip.shape
  correlation = scipy.signal.correlate(coded[0] - 0.5, clip[0] - 0.5)
  assert np.argmax(correlation) == time - 1
  # Lossy, but the same sound.
  assert 10 < audio_lib.snr_db(clip, coded, mask)[0] < 60


@pytest.mark.parametrize('codec', CODECS)
def test_codecs_neither_wrap_nor_rescale_loud_clips(codec):
  loud = (0.5 + 3 * (AUDIO[:1] - 0.5)).astype(np.float32)
  assert loud.max() > 1
  coded = apply(codec, loud, KEYS[:1], MASK[:1])
  assert audio_lib.snr_db(loud, coded, MASK[:1])[0] > 10


@pytest.mark.parametrize('codec', CODECS)
def test_codecs_run_under_vmap_and_repeat_themselves(codec):
  transform = transforms.make(codec)
  many = jax.jit(jax.vmap(transform.apply, (0, None, None)))(
    jnp.stack([AUDIO, AUDIO[::-1]]), KEYS, MASK
  )
  np.testing.assert_array_equal(many[0], apply(codec))
  np.testing.assert_array_equal(many[1], many[0, ::-1])


@pytest.mark.parametrize('codec', CODECS)
def test_codecs_take_clips_of_the_papers_length_on_every_device(codec):
  """Where `jax.pure_callback` would wait for itself."""
  mesh = jax.make_mesh((4,), ('data',), (jax.sharding.AxisType.Auto,))
  rows = jax.P('data')
  x = np.tile(np.resize(AUDIO[0], 96_000), (4, 1))
  step = jax.shard_map(
    lambda x: transforms.make(codec).apply(x, None, None),
    mesh=mesh,
    in_specs=rows,
    out_specs=rows,
    check_vma=False,
  )
  coded = np.asarray(jax.jit(step)(x))
  np.testing.assert_array_equal(coded[1:], coded[:-1])


@pytest.mark.parametrize('name', [*DIFFERENTIABLE, *OTHERS])
def test_a_clip_does_not_depend_on_its_neighbours(name):
  alone = apply(name, AUDIO[1:2], KEYS[1:2], MASK[1:2])
  np.testing.assert_allclose(alone[0], apply(name)[1], atol=2e-7, rtol=0)


@pytest.mark.parametrize('name', [*DIFFERENTIABLE, *OTHERS])
def test_straight_through_has_the_same_values(name):
  straight = jax.jit(transforms.make(name).straight_through)
  np.testing.assert_array_equal(straight(AUDIO, KEYS, MASK), apply(name))


@pytest.mark.parametrize('name', DIFFERENTIABLE)
def test_gradients_agree_with_finite_differences(name):
  """Along a random direction, in double precision."""
  with jax.enable_x64(True):
    # No padding: a median of equal samples has many subgradients.
    x = jnp.asarray(AUDIO[1:, 1000:2000], jnp.float64)
    mask = jnp.ones_like(x).at[1, 900:].set(0)
    transform = transforms.make(name)
    rng = np.random.default_rng(1)
    weights, direction = rng.normal(size=(2, *x.shape))

    @jax.jit
    def loss(x):
      return jnp.sum(weights * transform.straight_through(x, KEYS[1:], mask))

    step = 1e-7
    differences = loss(x + step * direction) - loss(x - step * direction)
    slope = jnp.sum(jax.jit(jax.grad(loss))(x) * direction)
    np.testing.assert_allclose(differences / (2 * step), slope, rtol=1e-4)


@pytest.mark.parametrize('name', OTHERS)
def test_what_has_no_gradient_passes_it_straight_through(name):
  transform = transforms.make(name)
  weights = jnp.asarray(np.random.default_rng(1).normal(size=AUDIO.shape))

  @jax.jit
  def gradient(x):
    return jax.grad(
      lambda x: jnp.sum(weights * transform.straight_through(x, KEYS, MASK))
    )(x)

  np.testing.assert_array_equal(gradient(AUDIO), weights)


def test_the_same_name_compiles_once():
  assert transforms.make('lowpass4000') is transforms.make('lowpass4000')
  assert transforms.make('lowpass4000').name == 'lowpass4000'


@pytest.mark.parametrize(
  'name',
  [
    *('', 'lowpass', 'lowpass0', 'lowpass8000', 'highpass9000', 'lowpass-5'),
    *('bandpass3400-300', 'bandpass300', 'median4', 'median1', 'median3.5'),
    *(
      'resample16000',
      'resample0',
      'resample11025',
      'quantize1',
      'quantize16',
      'mulaw7',
    ),
    *('noise20', 'flac', 'MP3', 'mp3 '),
  ],
)
def test_another_transform_is_refused_with_the_legal_forms(name):
  with pytest.raises(errors.InputError, match='must be one of lowpass4000'):
    transforms.make(name)


def test_a_codec_that_is_not_there_is_named(monkeypatch):
  monkeypatch.setattr(codecs, 'available', lambda: ('vorbis',))
  transforms.make.cache_clear()
  with pytest.raises(errors.InputError, match='cannot write mp3, only vorbis'):
    transforms.make('mp3')


def halved(audio, keys, mask):
  del keys, mask
  return 0.25 + audio / 2


ROUNDED = transforms.Transform(
  'any name',
  lambda audio, keys, mask: jnp.round(audio * 8) / 8,
  lambda audio, keys, mask: audio,
)


def shortened(audio, keys, mask):
  return audio[:, 1:]


def test_a_transform_of_ones_own_is_followed_by_its_gradient():
  made = transforms.make('test_transforms:halved')
  assert made is transforms.make('test_transforms:halved')
  clips, keys = jnp.full((2, 4), 0.75), jax.random.split(jax.random.key(0))
  assert made.name == 'test_transforms:halved'
  np.testing.assert_array_equal(made.apply(clips, keys, clips), 0.625)
  slope = jax.grad(lambda x: made.straight_through(x, keys, x).sum())(clips)
  np.testing.assert_array_equal(slope, 0.5)
  made = transforms.make('test_transforms:ROUNDED')
  assert made.name == 'test_transforms:ROUNDED'
  slope = jax.grad(lambda x: made.straight_through(x, keys, x).sum())(clips)
  np.testing.assert_array_equal(slope, 1)


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    (
      'shortened',
      r'float32\(2, 16000\) for two of them, got float32\(2, 15999',
    ),
    ('np', 'must be a function of .* got <module'),
    ('absent', 'has no absent; it has'),
  ],
)
def test_what_is_no_transform_is_refused(name, message):
  with pytest.raises(errors.InputError, match=message):
    transforms.make(f'test_transforms:{name}')


@pytest.fixture
def responses(tmp_path):
  """Rooms known and unknown: an echo after 100 samples, or after 200."""
  for side, late in (('training', 100), ('unseen', 200)):
    (tmp_path / side).mkdir()
    samples = np.zeros(300)
    samples[[0, late]] = 0.5, 0.25
    soundfile.write(tmp_path / side / 'a.wav', samples, 16_000)
  return str(tmp_path)


def test_judges_hear_other_rooms_than_attacks_and_trainings_know(responses):
  room = transforms.make(f'room@{responses}')
  assert room.is_simulated
  impulse = np.full((1, 1000), 0.5, np.float32)
  impulse[0, 10] = 0.9
  for apply, late in (
    (room.apply, 200),
    (room.straight_through, 100),
    (room.augment, 100),
  ):
    heard = np.asarray(apply(impulse, KEYS[:1], np.ones_like(impulse))) - 0.5
    assert set(np.flatnonzero(np.abs(heard[0]) > 0.01)) == {10, 10 + late}


def test_air_differs_from_clip_to_clip_and_not_from_call_to_call(responses):
  name = f'air@{responses}'
  first, again = apply(name), apply(name)
  np.testing.assert_array_equal(first, again)
  assert np.abs(apply(name, keys=KEYS[::-1])[0] - first[0]).max() > 1e-3


def test_air_is_told_apart_by_its_responses(responses):
  other = transforms.make('device')
  assert transforms.make(f'room@{responses}').digest != other.digest
  assert other.digest
  assert not transforms.make('lowpass4000').digest


def test_a_device_has_no_rooms_of_ones_own(responses):
  with pytest.raises(errors.InputError, match='a transform must be one of'):
    transforms.make(f'device@{responses}')


def test_bad_responses_are_found_when_a_transform_is_made(tmp_path):
  with pytest.raises(errors.InputError, match='must hold impulse responses'):
    transforms.make(f'air@{tmp_path}')
