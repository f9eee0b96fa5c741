"""Conversions are exact, files lose what their format loses and no more."""

import os
import struct

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import soundfile

from advspeech import audio, decoding, errors

EVERY_PCM = np.arange(-32768, 32768).astype(np.int16)


def tone(rate_hz, seconds=0.5, hz=440.0):
  time_s = np.arange(int(rate_hz * seconds)) / rate_hz
  return 0.5 * np.sin(2 * np.pi * hz * time_s)


def random_clip(scale):
  """Samples about silence; with a scale above 1 some lie beyond full scale."""
  x = np.random.default_rng(0).uniform(-0.5, 0.5, 4000)
  return (audio.SILENCE + scale * x).astype(np.float32)


def test_pcm_to_model_input_and_back_is_the_identity():
  np.testing.assert_array_equal(
    audio.to_pcm(audio.from_pcm(jnp.asarray(EVERY_PCM))), EVERY_PCM
  )


def test_model_input_is_in_the_unit_interval_with_silence_at_a_half():
  values = audio.from_pcm(jnp.array([-32768, 0, 32767], jnp.int16))
  np.testing.assert_array_equal(values, [0.0, 0.5, 1 - 2**-16])


def test_full_scale_saturates_and_does_not_wrap():
  pcm = audio.to_pcm(jnp.array([-0.2, 0.0, 1.0, 1.3]))
  np.testing.assert_array_equal(pcm, [-32768, -32768, 32767, 32767])


def test_a_perturbation_of_half_an_lsb_or_more_survives_rounding():
  silence = jnp.full(3, 0.5)
  moved = silence + jnp.array([0.4, 0.6, 1.0]) / audio.LSB_PER_UNIT
  np.testing.assert_array_equal(audio.to_pcm(moved), [0, 1, 1])


@pytest.mark.parametrize('scale', [1.0, 1.5])
def test_a_16_bit_file_gives_back_what_the_array_round_trip_says(
  tmp_path, scale
):
  x = random_clip(scale)
  path = tmp_path / 'clip.wav'
  audio.save(path, x, 'PCM_16')
  expected = jax.jit(lambda x: audio.from_pcm(audio.to_pcm(x)))(x)
  back = audio.from_pcm(jnp.asarray(audio.load(path)))
  np.testing.assert_array_equal(back, expected)
  # Unrounded reading, a second way into the model, gives the same samples.
  unrounded = audio.from_full_scale(jnp.asarray(audio.read(path)))
  np.testing.assert_array_equal(unrounded, expected)
  # Half a step where the format reaches, its end beyond: no wrap, no rescale.
  highest = 1 - 1 / audio.LSB_PER_UNIT
  legal = np.clip(x, 0, highest)
  assert np.abs(back - legal).max() <= 0.5 / audio.LSB_PER_UNIT + 6e-8
  assert np.all(back[x >= 1] == highest)
  assert np.all(back[x <= 0] == 0)


@pytest.mark.parametrize('scale', [1.0, 1.5])
def test_a_float_file_gives_back_what_the_array_round_trip_says(
  tmp_path, scale
):
  x = random_clip(scale)
  path = tmp_path / 'clip.wav'
  audio.save(path, x, 'FLOAT')
  full_scale, expected = jax.jit(
    lambda x: (
      audio.to_full_scale(x),
      audio.from_full_scale(
        jax.lax.optimization_barrier(audio.to_full_scale(x))
      ),
    )
  )(x)
  samples = audio.read(path)
  assert samples.dtype == np.float32
  np.testing.assert_array_equal(samples, full_scale)
  back = audio.from_full_scale(jnp.asarray(samples))
  np.testing.assert_array_equal(back, expected)
  assert np.abs(back - x).max() <= 6e-8  # float32's own rounding about 0.5


def test_every_16_bit_sample_survives_a_float_file(tmp_path):
  path = tmp_path / 'clip.wav'
  audio.save(path, audio.from_pcm(jnp.asarray(EVERY_PCM)), 'FLOAT')
  np.testing.assert_array_equal(audio.load(path), EVERY_PCM)


def test_another_subtype_is_refused(tmp_path):
  with pytest.raises(ValueError, match="'PCM_16' or 'FLOAT', got 'PCM_24'"):
    audio.save(tmp_path / 'clip.wav', np.zeros(3), 'PCM_24')


@pytest.mark.parametrize('suffix', ['wav', 'flac'])
def test_mono_16_bit_at_16_khz_is_read_bit_for_bit(tmp_path, suffix):
  path = tmp_path / f'clip.{suffix}'
  soundfile.write(path, EVERY_PCM, 16_000, subtype='PCM_16')
  np.testing.assert_array_equal(audio.load(path), EVERY_PCM)


def test_stereo_is_the_mean_of_its_channels(tmp_path):
  path = tmp_path / 'clip.wav'
  left, right = tone(16_000), tone(16_000, hz=1000)
  soundfile.write(path, np.stack([left, right], 1), 16_000, subtype='FLOAT')
  expected = np.rint((left + right) / 2 * 32768)
  np.testing.assert_allclose(audio.load(path), expected, atol=1)


def test_48_khz_is_resampled_to_the_same_tone(tmp_path):
  path = tmp_path / 'clip.wav'
  soundfile.write(path, tone(48_000), 48_000, subtype='PCM_16')
  pcm = audio.load(path)
  assert len(pcm) == 8000
  # Away from the ends, where any filter rings.
  inner = slice(200, -200)
  expected = tone(16_000)[inner] * 32768
  np.testing.assert_allclose(pcm[inner], expected, atol=4)


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (b'', 'cannot be read as audio'),
    (b'this is not audio', 'cannot be read as audio'),
    (b'RIFF\x24\x00\x00\x00WAVE', 'cannot be read as audio'),
  ],
)
def test_a_corrupt_file_is_named(tmp_path, content, message):
  path = tmp_path / 'broken.wav'
  path.write_bytes(content)
  with pytest.raises(errors.InputError, match=f'broken.wav {message}'):
    audio.load(path)


def test_a_file_whose_end_is_missing_is_named(tmp_path):
  path = tmp_path / 'cut.wav'
  soundfile.write(path, tone(16_000), 16_000, subtype='PCM_16')
  path.write_bytes(path.read_bytes()[:4000])
  with pytest.raises(errors.InputError, match=r'cut.wav.*its end is missing'):
    audio.load(path)


def test_a_file_without_samples_is_named(tmp_path):
  path = tmp_path / 'empty.wav'
  soundfile.write(path, np.zeros(0), 16_000)
  with pytest.raises(errors.InputError, match=r'empty.wav holds no samples'):
    audio.load(path)


def test_samples_that_are_not_numbers_are_refused(tmp_path):
  path = tmp_path / 'nan.wav'
  samples = np.array([0.1, np.nan, 0.2], np.float32)
  soundfile.write(path, samples, 16_000, subtype='FLOAT')
  with pytest.raises(
    errors.InputError, match=r'nan.wav cannot be read.*not finite'
  ):
    audio.load(path)


@pytest.mark.parametrize(
  ('size', 'is_whole'),
  [
    (0xFFFFFFFF, True),  # ffmpeg
    (0xFFFFFFFF - 36, True),
    (0x7FFFFFFF, True),
    (0x7FFFF000, True),  # SoX
    (0x80000000, True),  # arecord
    (0x60000000, False),
    (3202, False),
  ],
)
def test_a_streamed_file_is_read_up_to_its_end(tmp_path, size, is_whole):
  path = tmp_path / 'streamed.wav'
  samples = np.arange(-800, 800, dtype=np.int16)
  soundfile.write(path, samples, 16_000, subtype='PCM_16')
  data = bytearray(path.read_bytes())
  at = data.index(b'data')
  data[4:8] = struct.pack('<I', min(size + 36, 0xFFFFFFFF))
  data[at + 4 : at + 8] = struct.pack('<I', size)
  path.write_bytes(data)
  if is_whole:
    np.testing.assert_array_equal(audio.load(path), samples)
  else:
    with pytest.raises(errors.InputError, match='its end is missing'):
      audio.load(path)


def test_clips_are_cut_at_the_end_or_padded_with_silence():
  np.testing.assert_array_equal(
    audio.pad_or_trim(np.array([1, 2, 3], np.int16), 5), [1, 2, 3, 0, 0]
  )
  np.testing.assert_array_equal(
    audio.pad_or_trim(np.array([1, 2, 3], np.int16), 2), [1, 2]
  )


@pytest.mark.parametrize(
  ('pad', 'expected'),
  [
    ('end', [1, 2, 0, 0, 0]),
    ('center', [0, 1, 2, 0, 0]),
    ('front', [0, 0, 0, 1, 2]),
  ],
)
def test_a_short_clip_is_padded_where_it_is_asked(pad, expected):
  pcm = np.array([1, 2], np.int16)
  np.testing.assert_array_equal(audio.pad_or_trim(pcm, 5, pad), expected)
  start, count = audio.recorded_span(2, 5, pad)
  np.testing.assert_array_equal(expected[start : start + count], pcm)


def test_a_long_clip_is_cut_at_its_start_or_its_center():
  pcm = np.arange(9, dtype=np.int16)
  np.testing.assert_array_equal(audio.pad_or_trim(pcm, 4), [0, 1, 2, 3])
  for pad in audio.PADS:
    np.testing.assert_array_equal(
      audio.pad_or_trim(pcm, 4, pad, 'center'), [2, 3, 4, 5]
    )


def test_the_peak_becomes_full_scale_and_silence_stays():
  for peak in (1, -1, 77, -32768, 32767):
    scaled = audio.normalize_peak(np.array([0, peak, peak // 2], np.int16))
    assert scaled.dtype == np.int16
    assert scaled[0] == 0
    assert scaled[1] == np.sign(peak) * 32767
  silence = np.zeros(5, np.int16)
  np.testing.assert_array_equal(audio.normalize_peak(silence), silence)
  assert not audio.normalize_peak(np.zeros(0, np.int16)).size


def test_a_channel_is_read_alone(tmp_path):
  path = tmp_path / 'clip.wav'
  samples = np.stack([EVERY_PCM, EVERY_PCM[::-1]], 1)
  soundfile.write(path, samples, 16_000, subtype='PCM_16')
  np.testing.assert_array_equal(audio.load(path, '0'), EVERY_PCM)
  np.testing.assert_array_equal(audio.load(path, '1'), EVERY_PCM[::-1])
  with pytest.raises(errors.InputError, match=r'has 2 channels.*no channel 2'):
    audio.load(path, '2')


@pytest.mark.parametrize('suffix', ['flac', 'mp3', 'aiff', 'au', 'caf'])
def test_the_end_of_any_format_is_missed(tmp_path, suffix):
  path = tmp_path / f'cut.{suffix}'
  soundfile.write(path, tone(16_000), 16_000)
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  with pytest.raises(errors.InputError, match=rf'cut\.{suffix} cannot be read'):
    audio.load(path)


def test_neither_a_folder_nor_a_pipe_is_waited_for(tmp_path):
  (tmp_path / 'folder.wav').mkdir()
  os.mkfifo(tmp_path / 'pipe.wav')
  for name in ('folder.wav', 'pipe.wav'):
    with pytest.raises(errors.InputError, match=f'{name} cannot be .*no file'):
      audio.load(tmp_path / name)


@pytest.mark.parametrize('rate_hz', [1, 2_000_000_000])
def test_a_rate_of_no_recording_is_that_of_a_damaged_header(tmp_path, rate_hz):
  path = tmp_path / 'clip.wav'
  soundfile.write(path, tone(16_000), 16_000)
  data = bytearray(path.read_bytes())
  data[24:28] = rate_hz.to_bytes(4, 'little')
  path.write_bytes(data)
  with pytest.raises(errors.InputError, match=f'header says {rate_hz} Hz'):
    audio.load(path)


def test_epsilon_in_every_unit():
  units = audio.amplitude_units(0.02)
  assert units['epsilon_fs'] == pytest.approx(0.04)
  assert units['epsilon_lsb'] == pytest.approx(1310.72)
  assert units['epsilon_dbfs'] == pytest.approx(-27.9588, abs=1e-4)
  assert audio.amplitude_units(0.0)['epsilon_dbfs'] == -np.inf


@pytest.mark.parametrize(
  ('given', 'value', 'unit', 'text', 'radius'),
  [
    (0.02, 0.02, '', '0.02', 0.02),
    (0, 0.0, '', '0', 0.0),
    (np.float64(1e-5), 1e-5, '', '1e-05', 1e-5),
    ('0.02', 0.02, '', '0.02', 0.02),
    ('1e-3', 1e-3, '', '0.001', 1e-3),
    (' .04 FS ', 0.04, 'fs', '0.04fs', 0.02),
    ('1311lsb', 1311.0, 'lsb', '1311lsb', 1311 / 65536),
    ('0.5 LSB', 0.5, 'lsb', '0.5lsb', 0.5 / 65536),
    ('-28dBFS', -28.0, 'dbfs', '-28dbfs', 10 ** (-28 / 20) / 2),
    ('0 dbfs', 0.0, 'dbfs', '0dbfs', 0.5),
    # A clip at rms 0.1 and 0.2 of the model's unit.
    ('20dbSNR', 20.0, 'dbsnr', '20dbsnr', [0.01, 0.02]),
    ('-20 dbsnr', -20.0, 'dbsnr', '-20dbsnr', [1.0, 2.0]),
  ],
)
def test_epsilon_is_given_in_the_unit_its_user_thinks_in(
  given, value, unit, text, radius
):
  epsilon = audio.parse_epsilon(given)
  assert epsilon == audio.Epsilon(value, unit, text)
  radii = epsilon.radii(jnp.array([0.1, 0.2]))
  assert radii.dtype == jnp.float32
  np.testing.assert_allclose(radii, np.broadcast_to(radius, 2), rtol=1e-6)
  assert audio.parse_epsilon(epsilon.text) == epsilon


def test_an_epsilon_of_masking_is_taken_where_thresholds_are_alone():
  epsilon = audio.parse_epsilon('-6 dBmask', masking=True)
  assert epsilon == audio.Epsilon(-6.0, 'dbmask', '-6dbmask')
  radii = epsilon.radii(jnp.ones(2), jnp.array([0.1, 0.0]))
  np.testing.assert_allclose(radii, [0.1 * 10**-0.3, 0], rtol=1e-6)
  assert epsilon.same() != audio.parse_epsilon('-6dbsnr').same()
  with pytest.raises(errors.InputError, match="'0dbmask' is a masking thresh"):
    audio.parse_epsilon('0dbmask')
  with pytest.raises(ValueError, match='give masking_rms'):
    epsilon.radii(jnp.ones(2))


@pytest.mark.parametrize('unit', ['fs', 'lsb', 'dbfs'])
def test_units_of_epsilon_are_those_of_the_table(unit):
  value = audio.amplitude_units(0.02)[f'epsilon_{unit}']
  radius = audio.parse_epsilon(f'{value!r}{unit}').radii(jnp.ones(1))
  np.testing.assert_allclose(radius, [0.02], rtol=1e-6)


@pytest.mark.parametrize(
  'given',
  [
    *('', 'loud', '0.02db', '-0.02', '-3lsb', '1,5fs', '20 snr', 'inf'),
    *(-0.02, float('nan'), float('inf'), '1e999fs', '0.02fs0.1'),
  ],
)
def test_another_epsilon_is_refused_with_the_legal_forms(given):
  with pytest.raises(errors.InputError, match=r"'-28dbfs', '20dbsnr', got"):
    audio.parse_epsilon(given)


def test_signs_at_a_radius_of_20_db_have_an_snr_of_20_db():
  rng = np.random.default_rng(0)
  clean = jnp.asarray(rng.uniform(0.3, 0.7, (3, 1000)).astype(np.float32))
  clean = clean * jnp.array([[1.0], [0.5], [0.1]])
  mask = jnp.asarray(np.arange(1000) < [[1000], [300], [10]], jnp.float32)
  radii = audio.parse_epsilon('20dbsnr').radii(audio.signal_rms(clean, mask))
  signs = jnp.asarray(rng.choice([-1.0, 1.0], (3, 1000)).astype(np.float32))
  noisy = clean + radii[:, None] * signs
  np.testing.assert_allclose(audio.snr_db(clean, noisy, mask), 20, atol=1e-3)


def test_a_clip_without_recorded_samples_has_no_power():
  assert audio.signal_rms(jnp.ones((1, 5)), jnp.zeros((1, 5)))[0] == 0


def test_snr_counts_recorded_samples_only():
  clean = jnp.full((2, 100), 0.6)
  noisy = clean.at[:, :50].add(0.01).at[:, 50:].add(0.3)
  mask = jnp.zeros((2, 100)).at[:, :50].set(1)
  # Amplitudes 0.1 about silence and 0.01: 20 dB.
  np.testing.assert_allclose(
    audio.snr_db(clean, noisy, mask), [20.0, 20.0], atol=1e-3
  )


def test_snr_of_an_untouched_clip_is_infinite():
  clean = jnp.full((1, 10), 0.7)
  assert audio.snr_db(clean, clean, jnp.ones((1, 10)))[0] == jnp.inf


@pytest.mark.parametrize('rate_hz', [8_000, 11_025, 22_050, 44_100, 48_000])
@pytest.mark.parametrize('channels', [1, 2, 6])
def test_piece_by_piece_is_bit_for_bit_all_at_once(tmp_path, rate_hz, channels):
  rng = np.random.default_rng(0)
  samples = rng.uniform(-0.5, 0.5, (150_001, channels)).astype(np.float32)
  soundfile.write(tmp_path / 'a.wav', samples, rate_hz, subtype='FLOAT')
  np.testing.assert_array_equal(
    audio.read(tmp_path / 'a.wav'),
    librosa.resample(
      librosa.to_mono(samples.T),
      orig_sr=rate_hz,
      target_sr=16_000,
      res_type='soxr_hq',
    ),
  )


@pytest.mark.parametrize('pad', audio.PADS)
@pytest.mark.parametrize('cut', audio.CUTS)
@pytest.mark.parametrize('normalize', audio.NORMALIZATIONS)
def test_what_is_heard_is_the_same_as_of_all_of_it(
  tmp_path, pad, cut, normalize
):
  rng = np.random.default_rng(0)
  samples = (
    rng.uniform(-0.3, 0.3, (400_000, 2)) * np.linspace(0.1, 1, 400_000)[:, None]
  )
  soundfile.write(tmp_path / 'a.wav', samples, 44_100, subtype='PCM_24')
  pcm = audio.load(tmp_path / 'a.wav', '1')
  for length in (1600, len(pcm) - 1, len(pcm), len(pcm) + 1001):
    shape = audio.ClipShape(length, pad, cut, normalize)
    heard = audio.load_clip(tmp_path / 'a.wav', shape, '1')
    np.testing.assert_array_equal(heard.pcm, shape.clip(pcm))
    assert (heard.start, heard.num_samples) == shape.span(len(pcm))
    assert heard.is_all == (length >= len(pcm))


def test_no_more_is_decoded_than_is_heard(tmp_path, monkeypatch):
  soundfile.write(tmp_path / 'a.wav', np.zeros(2_000_000), 16_000)
  yielded, blocks = [], decoding.blocks

  def noted(path):
    for rate_hz, block in blocks(path):
      yielded.append(len(block))
      yield rate_hz, block

  monkeypatch.setattr(decoding, 'blocks', noted)
  audio.load_clip(tmp_path / 'a.wav', audio.ClipShape(1600))
  assert sum(yielded) < 100_000


def test_silence_is_known_by_its_range_and_saturation_by_its_ends():
  for offset in (-3000, 0, 2):
    assert audio.is_silent(np.array([0, 1, 2, 0, 1], np.int16) + offset)
  assert not audio.is_silent(np.array([0, 3], np.int16))
  assert not audio.is_silent(np.array([-32768, 32767], np.int16))
  pcm = np.array([-32768, 32767, 32766, 0], np.int16)
  assert audio.share_at_full_scale(pcm) == 0.5
