"""A corpus of tones in place of voices, and an embedder that tells them."""

import types

import jax.numpy as jnp
import numpy as np

NUM_SPEAKERS, TIME = 16, 1600
STATEMENTS = ('01', '02')


class Clips(np.ndarray):
  """Clips in memory; some of them are asked for as those on disk are."""

  def subset(self, rows):
    """Returns some of the clips."""
    return OnDisk(np.asarray(self)[rows])


class OnDisk:
  """Clips that are read by slices and arrays of rows, and not otherwise."""

  def __init__(self, pcm):
    self._pcm = pcm
    self.shape, self.dtype, self.nbytes = pcm.shape, pcm.dtype, pcm.nbytes

  def __len__(self):
    return len(self._pcm)

  def subset(self, rows):
    """Returns some of the clips."""
    return OnDisk(self._pcm[rows])

  def __getitem__(self, rows):
    if not isinstance(rows, slice):
      rows = np.asarray(rows)
      assert rows.ndim == 1, rows
    return self._pcm[rows]


def corpus(num_speakers=NUM_SPEAKERS, statements=STATEMENTS):
  """Speakers of one frequency each, who say two things, four times each."""
  rng = np.random.default_rng(0)
  rows = [
    (f's{s:02d}', 'female' if s % 2 else 'male', statement, take)
    for s in range(num_speakers)
    for statement in statements
    for take in '0123'
  ]
  pcm = []
  for speaker, _, statement, _ in rows:
    number = int(speaker[1:])
    turns = np.arange(TIME) * (200 + 300 * number) / 16_000
    clip = np.sin(2 * np.pi * (turns + rng.random()))
    clip += 0.7 * rng.standard_normal(TIME) * (1 + (statement == '02'))
    pcm.append(np.round(1500 * clip))
  columns = [np.array(x) for x in zip(*rows, strict=True)]
  speaker, sex, statement, take = columns
  ids = np.array(
    ['-'.join(row) for row in zip(speaker, statement, take, strict=True)]
  )
  pcm = np.array(pcm).astype(np.int16)
  num_samples = np.full(len(rows), TIME, np.int32)
  num_samples[::3] -= 160
  pcm[np.arange(TIME)[None] >= num_samples[:, None]] = 0
  return types.SimpleNamespace(
    name='tones',
    ids=ids,
    pcm=pcm.view(Clips),
    num_samples=num_samples,
    starts=np.zeros(len(rows), np.int32),
    speaker=speaker,
    sex=sex,
    statement=statement,
  )


def bands(samples, mask):
  """Levels of 20 bands of the spectrum."""
  spectrum = jnp.fft.rfft(samples * mask)[:, : TIME // 2]
  power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
  power = power.reshape(len(power), 20, -1).mean(-1)
  return jnp.log1p(power / (power.mean(-1, keepdims=True) + 1e-9))


bands.sample_rate_hz, bands.sample_range = 16_000, (-1.0, 1.0)
bands.title = 'Bands'
