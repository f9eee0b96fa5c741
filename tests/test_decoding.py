"""Every file is decoded to its real end, or refused where it promised more."""

import io
import struct
import types

import numpy as np
import pytest
import soundfile
from etils import epath

from advspeech import audio, decoding, errors

RATES_HZ = (16_000, 22_050, 44_100, 48_000)
# The longest that an encoder of MP3 puts around the sound, in frames.
PADDING = 2304


def sound(rate_hz, channels, seconds=2.5):
  """A rising tone in noise, whose bit rate varies: the end is the loudest."""
  rng = np.random.default_rng(0)
  time_s = np.arange(int(rate_hz * seconds)) / rate_hz
  tone = np.sin(2 * np.pi * (200 + 400 * time_s) * time_s)
  tone += rng.normal(0, 0.1, len(tone)) * (time_s > 1)
  tone *= time_s / time_s[-1] / 2
  return np.stack([tone, *[tone / 2] * (channels - 1)], 1).astype(np.float32)


def encoded(samples, rate_hz, container, **kwargs):
  file = io.BytesIO()
  soundfile.write(file, samples, rate_hz, format=container, **kwargs)
  return file.getvalue()


def changed(data, at, new):
  return data[:at] + new + data[at + len(new) :]


def decoded(path):
  return np.concatenate([block for _, block in decoding.blocks(path)])


def without_length(flac):
  """A FLAC file as encoders write it who cannot go back to its header."""
  data = changed(flac, 21, bytes([flac[21] & 0xF0]))
  return changed(data, 22, bytes(20))


def without_count(mp3):
  """An MP3 file without its first frame, which counts the others."""
  at = mp3.index(b'Info') if b'Info' in mp3[:500] else mp3.index(b'Xing')
  return mp3[mp3.index(mp3[:2], at) :]


@pytest.mark.parametrize('rate_hz', RATES_HZ)
@pytest.mark.parametrize('channels', [1, 2])
def test_a_flac_file_without_a_length_is_whole(tmp_path, rate_hz, channels):
  samples = sound(rate_hz, channels)
  (tmp_path / 'a.flac').write_bytes(
    without_length(encoded(samples, rate_hz, 'FLAC'))
  )
  np.testing.assert_allclose(
    decoded(tmp_path / 'a.flac'), samples, atol=2 / 32768
  )


@pytest.mark.parametrize('rate_hz', RATES_HZ)
@pytest.mark.parametrize('channels', [1, 2])
@pytest.mark.parametrize('mode', ['CONSTANT', 'AVERAGE', 'VARIABLE'])
def test_an_mp3_file_without_a_count_is_whole(
  tmp_path, rate_hz, channels, mode
):
  samples = sound(rate_hz, channels)
  counted = encoded(
    samples, rate_hz, 'MP3', bitrate_mode=mode, compression_level=0.5
  )
  (tmp_path / 'counted.mp3').write_bytes(counted)
  expected = decoded(tmp_path / 'counted.mp3')
  assert len(expected) == len(samples)
  (tmp_path / 'a.mp3').write_bytes(without_count(counted))
  found = decoded(tmp_path / 'a.mp3')
  # What the frame that is gone had told not to play is heard.
  delay = 1105
  assert len(samples) + delay <= len(found) <= len(samples) + PADDING
  np.testing.assert_allclose(
    found[delay + 2000 : delay + len(samples)], expected[2000:], atol=1e-6
  )


def test_an_mp3_file_without_a_count_may_be_tagged_and_distant(
  tmp_path, monkeypatch
):
  samples = sound(44_100, 1)
  bare = without_count(encoded(samples, 44_100, 'MP3'))
  (tmp_path / 'a.mp3').write_bytes(bare)
  picture = bytes(10_000)
  size = bytes([0, 0, len(picture) >> 7, len(picture) & 0x7F])
  tagged = b'ID3\3\0\0' + size + picture + bare + b'TAG' + b'x' * 125
  distant = types.SimpleNamespace(read_bytes=lambda: tagged)
  monkeypatch.setattr(epath, 'Path', lambda name: distant)
  (tmp_path / 'tagged.mp3').write_bytes(tagged)
  expected = decoded(tmp_path / 'a.mp3')
  for path in (tmp_path / 'tagged.mp3', 'gs://bucket/tagged.mp3'):
    np.testing.assert_array_equal(decoded(path), expected)


def test_mp3_files_put_behind_each_other_are_all_heard(tmp_path):
  samples = sound(44_100, 1)
  one = encoded(samples, 44_100, 'MP3')
  (tmp_path / 'a.mp3').write_bytes(one + one)
  assert len(decoded(tmp_path / 'a.mp3')) >= 2 * len(samples)


def test_ogg_streams_behind_each_other_are_refused(tmp_path):
  one = encoded(sound(16_000, 1), 16_000, 'OGG')
  (tmp_path / 'a.ogg').write_bytes(one)
  assert len(decoded(tmp_path / 'a.ogg')) == 40_000
  (tmp_path / 'a.ogg').write_bytes(one + one)
  with pytest.raises(errors.InputError, match='several Ogg streams in a row'):
    decoded(tmp_path / 'a.ogg')


def test_an_ogg_stream_that_was_not_closed_is_read(tmp_path):
  data = encoded(sound(16_000, 1), 16_000, 'OGG')
  last = data.rindex(b'OggS')
  (tmp_path / 'a.ogg').write_bytes(data[:last])
  assert 0 < len(decoded(tmp_path / 'a.ogg')) < 40_000


CONTAINERS = [
  *(('WAV', subtype) for subtype in ('PCM_U8', 'PCM_16', 'PCM_24', 'PCM_32')),
  *(('WAV', subtype) for subtype in ('FLOAT', 'DOUBLE', 'ULAW', 'GSM610')),
  *(('WAV', subtype) for subtype in ('IMA_ADPCM', 'MS_ADPCM')),
  *(('RF64', subtype) for subtype in ('PCM_16', 'FLOAT')),
  *(('NIST', subtype) for subtype in ('PCM_16', 'ULAW')),
  *(('W64', subtype) for subtype in ('PCM_16', 'IMA_ADPCM')),
  *(('AIFF', subtype) for subtype in ('PCM_16', 'FLOAT')),
  *(('AU', 'PCM_16'), ('CAF', 'PCM_16'), ('FLAC', 'PCM_24')),
  *(('MP3', 'MPEG_LAYER_III'), ('OGG', 'OPUS'), ('OGG', 'VORBIS')),
]


@pytest.mark.parametrize(
  ('container', 'subtype', 'channels'),
  [(*c, n) for c in CONTAINERS for n in (1, 2) if c[1] != 'GSM610' or n == 1],
)
def test_any_file_is_whole_and_one_with_a_promise_is_missed_by_its_end(
  tmp_path, container, subtype, channels
):
  samples = sound(16_000, channels)
  data = encoded(samples, 16_000, container, subtype=subtype)
  path = tmp_path / 'a'
  path.write_bytes(data)
  found = decoded(path)
  # ADPCM has whole blocks.
  assert 0 <= len(found) - len(samples) < 1100
  loss = {'PCM_U8': 0.01, 'ULAW': 0.02, 'IMA_ADPCM': 0.3, 'MS_ADPCM': 0.3}
  if container not in ('MP3', 'OGG') and subtype != 'GSM610':
    np.testing.assert_allclose(
      found[: len(samples)], samples, atol=loss.get(subtype, 2 / 32768)
    )
  for kept in (0.99, 0.9, 0.43):
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(errors.InputError, match='a cannot be read as audio'):
      decoded(path)


def forgotten(container):
  """A file whose size its writer never came to put in its header."""
  data = encoded(sound(16_000, 1), 16_000, container, subtype='PCM_16')
  at = data.find(b'data')
  if container == 'WAV':
    return changed(changed(data, 4, bytes(4)), at + 4, bytes(4))
  if container == 'RF64':
    return changed(data, 20, bytes(24))
  if container == 'CAF':
    return changed(data, at + 4, b'\xff' * 8)
  if container == 'AU':
    return changed(data, 8, bytes(4))
  if container == 'W64':
    return changed(changed(data, 16, bytes(8)), at + 16, bytes(8))
  if container == 'AIFF':
    return changed(data, data.find(b'SSND') + 4, struct.pack('>I', 0x7F000008))
  return data.replace(b'sample_count -i 40000\n', b'sample_count -i 0\n    ')


@pytest.mark.parametrize(
  'container', ['WAV', 'RF64', 'CAF', 'AU', 'W64', 'AIFF', 'NIST']
)
def test_a_file_that_was_never_closed_is_whole(tmp_path, container):
  (tmp_path / 'a').write_bytes(forgotten(container))
  found = decoded(tmp_path / 'a')
  np.testing.assert_allclose(found[:40_000], sound(16_000, 1), atol=2 / 32768)
  assert len(found) < 40_000 + 2100  # CAF has a chunk of its writer's behind


def test_a_file_that_was_closed_over_no_sound_has_none(tmp_path):
  data = encoded(np.zeros((0, 1)), 16_000, 'WAV') + b'LIST' + bytes(4)
  data = changed(data, 4, struct.pack('<I', len(data) - 8))
  (tmp_path / 'a.wav').write_bytes(data)
  with pytest.raises(errors.InputError, match='holds no samples'):
    decoded(tmp_path / 'a.wav')


def test_a_tag_behind_the_sound_is_none(tmp_path):
  samples = sound(16_000, 1)
  data = encoded(samples, 16_000, 'FLAC')
  (tmp_path / 'a.flac').write_bytes(data + b'TAG' + b'x' * 125)
  assert len(decoded(tmp_path / 'a.flac')) == len(samples)


@pytest.mark.parametrize('peak', [1.0, 1.2, 9.0])
def test_floats_somewhat_above_full_scale_are_read(tmp_path, peak):
  samples = np.float32([0, peak, -peak, 0.5])
  soundfile.write(tmp_path / 'a.wav', samples, 16_000, subtype='FLOAT')
  np.testing.assert_array_equal(audio.read(tmp_path / 'a.wav'), samples)


@pytest.mark.parametrize('peak', [32767.0, -32768.0, 127.0, 8388607.0])
@pytest.mark.parametrize('subtype', ['FLOAT', 'DOUBLE'])
def test_floats_in_another_unit_are_refused(tmp_path, peak, subtype):
  samples = np.array([0, peak, peak / 7])
  soundfile.write(tmp_path / 'a.wav', samples, 16_000, subtype=subtype)
  with pytest.raises(
    errors.InputError,
    match=r'a\.wav has float samples as large as .* where full scale is 1; div',
  ):
    audio.read(tmp_path / 'a.wav')


def test_a_pointer_of_git_lfs_and_a_file_that_is_not_there_are_reported(
  tmp_path,
):
  (tmp_path / 'a.wav').write_text(
    'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n'
  )
  with pytest.raises(errors.InputError, match=r'is a pointer .*run git lfs pu'):
    audio.load(tmp_path / 'a.wav')
  with pytest.raises(
    errors.InputError, match=r'b\.wav is missing; put it back'
  ):
    audio.load(tmp_path / 'b.wav')
