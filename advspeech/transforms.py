"""What may happen to a clip between the attack and the judgement of it.

Filters, resampling, coarse samples, noise, moved formants, lossy codecs and
simulated rooms, on model-range audio: [0, 1], silence at 0.5, about which
everything is computed. A clip does not depend on its neighbours, padding is
treated like any other sample, and nothing is clipped to [0, 1] unless the
format itself saturates (quantisation, mu-law).

For attacks that know of the transform (Athalye et al. 2018) each has a twin,
`straight_through`, with the same values (of rooms, in others) and a gradient to
follow.
"""

import dataclasses
import functools
import itertools
import math
import re
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import codecs, errors, mcadams, registry, rooms
from advspeech.audio import FULL_SCALE_PER_UNIT, SAMPLE_RATE_HZ, SILENCE

# Transition of 3.3 / 255 of the sampling rate, 207 Hz; stop band at -53 dB.
NUM_TAPS = 255
MU = 255.0
LEGAL_FORMS = (
  'lowpass4000, highpass300, bandpass300-3400 (Hz), median3 (odd width), '
  'resample8000 (Hz), quantize8 (bits), mulaw8, noise20db (SNR), mcadams0.8 '
  '(exponent), mp3, vorbis, opus and, simulated, room, device and air (with '
  '@FOLDER of your own responses)'
)

# Of audio [batch, time], keys [batch] and mask [batch, time].
Apply = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Transform:
  """A named map from audio to audio of the same shape, for use under jit.

  Attributes:
    name: As `make` takes it.
    apply: Maps audio [batch, time] in model range, keys [batch] (typed, one a
      clip) and mask [batch, time] (1 on recorded samples) to audio. Only noise
      looks at keys and mask.
    straight_through: The same values. Its gradient is the true one for filters,
      median, resampling and noise; for quantisation, mu-law, McAdams and
      codecs, whose true gradient is zero or unknown, that of the identity
      (Bengio et al. 2013, "straight-through"; Athalye et al. 2018, BPDA).
    is_simulated: Whether it is a simulation of sound in the air: `apply` then
      draws from rooms that nobody knows, and `straight_through`, whose gradient
      is the true one, from those that attacks and trainings may know.
    digest: Of what decides about it beside its name; '' for nothing.
  """

  name: str
  apply: Apply
  straight_through: Apply
  is_simulated: bool = False
  digest: str = ''

  @property
  def augment(self) -> Apply:
    """Returns what training clips may go through."""
    return self.straight_through if self.is_simulated else self.apply


@functools.lru_cache
def make(name: str) -> Transform:
  """Returns the transform of a name; the same object for the same name.

  Filters are linear-phase windowed-sinc FIRs (scipy.signal.firwin, Hamming) and
  delay nothing; resampling goes to the rate and back to 16 kHz as
  scipy.signal.resample_poly does. Codecs are libsndfile's. Rooms and devices
  are `rooms.carry`'s.

  Args:
    name: One of LEGAL_FORMS, with other numbers as wanted, or
      `package.module:attribute`: a `Transform`, or what one's `apply` is, to be
      followed by its own gradient.

  Raises:
    errors.InputError: If the name or its number is not legal, this libsndfile
      lacks the codec, a response of the folder cannot be used, or what it names
      is no transform.
  """
  for pattern, build in _BUILDERS.items():
    match = re.fullmatch(pattern, name)
    transform = build(name, *match.groups()) if match else None
    if transform:
      return transform
  if registry.is_own(name):
    return _own(name)
  if name in codecs.CODECS:
    raise errors.InputError(
      f'this libsndfile cannot write {name}, only '
      f'{", ".join(codecs.available()) or "no lossy codec"}; update soundfile '
      'or leave it out'
    )
  raise errors.InputError(
    f'a transform must be one of {LEGAL_FORMS}, with rising cut-offs below '
    f'{SAMPLE_RATE_HZ // 2} Hz, a rate in whole kHz, 2 to 15 bits and an '
    f'exponent up to {mcadams.LARGEST:g}, got {name!r}; your own is written '
    'package.module:function'
  )


def _own(name):
  """Returns a transform of the user's own, once it was tried on shapes."""
  found = registry.resolve('a transform', name, {})
  if isinstance(found, Transform):
    transform = dataclasses.replace(found, name=name)
  elif callable(found):
    transform = Transform(name, found, found)
  else:
    raise errors.InputError(
      'a transform must be a function of (audio, keys, mask) or a '
      f'transforms.Transform, got {found!r} for {name}'
    )
  audio = jax.ShapeDtypeStruct((2, SAMPLE_RATE_HZ), jnp.float32)
  keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0)))
  out = jax.eval_shape(transform.apply, audio, keys, audio)
  if (out.shape, out.dtype) != (audio.shape, audio.dtype):
    raise errors.InputError(
      f'a transform must return clips as it is given, float32{audio.shape} for '
      f'two of them, got {out.dtype}{out.shape} from {name}'
    )
  return transform


def _differentiable(name, fn):
  """Returns the transform of fn(audio), to be followed by its own gradient."""

  def apply(audio, keys, mask):
    del keys, mask
    return fn(audio)

  return Transform(name, apply, apply)


def _not_differentiable(name, fn):
  """Returns the transform of fn(audio), the identity to a gradient."""
  # Steps have a slope of zero nearly everywhere, and an attack that follows it
  # stands still: it is given that of what they approximate.
  straight = jax.custom_jvp(fn)
  straight.defjvp(lambda x, tangent: (fn(*x), *tangent))

  def apply(audio, keys, mask):
    del keys, mask
    return fn(audio)

  def straight_through(audio, keys, mask):
    del keys, mask
    return straight(audio)

  return Transform(name, apply, straight_through)


def _fir(samples, taps):
  """Returns samples [batch, time] filtered by an odd number of taps.

  Samples are about zero, and zero outside; symmetric taps delay nothing.
  """
  import scipy.fft

  time = samples.shape[-1]
  size = scipy.fft.next_fast_len(time + len(taps) - 1, real=True)
  response = np.fft.rfft(taps, size).astype(np.complex64)
  filtered = jnp.fft.irfft(jnp.fft.rfft(samples, size) * response[None], size)
  start = len(taps) // 2
  return filtered[:, start : start + time]


def _filter(name, kind, *cutoffs_hz):
  import scipy.signal

  cutoffs_hz = [float(hz) for hz in cutoffs_hz]
  edges = [0.0, *cutoffs_hz, SAMPLE_RATE_HZ / 2]
  if any(low >= high for low, high in itertools.pairwise(edges)):
    return None
  taps = scipy.signal.firwin(
    NUM_TAPS, cutoffs_hz, pass_zero=kind, fs=SAMPLE_RATE_HZ
  )
  return _differentiable(
    name, lambda audio: SILENCE + _fir(audio - SILENCE, taps)
  )


def _median(name, width):
  """Middle of `width` samples; the first and the last are repeated outwards."""
  half = int(width) // 2
  if int(width) % 2 == 0 or half == 0:
    return None

  def fn(audio):
    padded = jnp.pad(audio, ((0, 0), (half, half)), mode='edge')
    time = audio.shape[-1]
    shifted = [padded[:, i : i + time] for i in range(2 * half + 1)]
    return jnp.sort(jnp.stack(shifted), axis=0)[half]

  return _differentiable(name, fn)


def _resample(name, rate_hz):
  """There and back, each time with resample_poly's default filter."""
  import scipy.signal

  rate_hz = int(rate_hz)
  # Another rate's stretched clip would be hundreds of times as long.
  if not 0 < rate_hz < SAMPLE_RATE_HZ or rate_hz % 1000:
    return None
  divisor = math.gcd(rate_hz, SAMPLE_RATE_HZ)
  up, down = rate_hz // divisor, SAMPLE_RATE_HZ // divisor
  taps = scipy.signal.firwin(20 * down + 1, 1 / down, window=('kaiser', 5.0))

  def convert(samples, up, down):
    stretched = jnp.zeros((len(samples), samples.shape[-1] * up))
    stretched = stretched.at[:, ::up].set(samples)
    return _fir(stretched, up * taps)[:, ::down]

  def fn(audio):
    there = convert(audio - SILENCE, up, down)
    return SILENCE + convert(there, down, up)[:, : audio.shape[-1]]

  return _differentiable(name, fn)


def _quantize(name, bits):
  """Two's complement PCM of so many bits, saturated like any other."""
  if not 2 <= int(bits) <= 15:
    return None
  levels = 2.0 ** int(bits)

  def fn(audio):
    steps = jnp.round((audio - SILENCE) * levels)
    return SILENCE + jnp.clip(steps, -levels / 2, levels / 2 - 1) / levels

  return _not_differentiable(name, fn)


def _mulaw(name):
  """The continuous curve of G.711 in 8 bits, code for code as librosa's."""

  def fn(audio):
    x = jnp.clip((audio - SILENCE) * FULL_SCALE_PER_UNIT, -1, 1)
    compressed = jnp.sign(x) * jnp.log1p(MU * jnp.abs(x)) / np.log1p(MU)
    code = jnp.clip(jnp.ceil((compressed * MU - 1) / 2), -128, 127)
    y = code / 128
    expanded = jnp.sign(y) * jnp.expm1(jnp.abs(y) * np.log1p(MU)) / MU
    return SILENCE + expanded / FULL_SCALE_PER_UNIT

  return _not_differentiable(name, fn)


def _noise(name, snr_db):
  """White noise whose SNR over a clip's recorded samples is the one named."""
  gain = 10 ** (-float(snr_db) / 20)

  def apply(audio, keys, mask):
    noise = jax.vmap(lambda key: jax.random.normal(key, audio.shape[1:]))(keys)
    signal_energy = jnp.sum(mask * (audio - SILENCE) ** 2, -1, keepdims=True)
    noise_energy = jnp.sum(mask * noise**2, -1, keepdims=True)
    # A silent clip gets none; the square root's slope at 0 must not be met.
    heard = signal_energy > 0
    ratio = jnp.where(heard, signal_energy, 1) / jnp.where(
      heard, noise_energy, 1
    )
    return audio + gain * jnp.where(heard, jnp.sqrt(ratio), 0) * noise

  return Transform(name, apply, apply)


def _mcadams(name, exponent):
  if not 0 < float(exponent) <= mcadams.LARGEST:
    return None
  return _not_differentiable(
    name, functools.partial(mcadams.through, float(exponent))
  )


def _codec(name):
  if name not in codecs.available():
    return None
  return _not_differentiable(name, functools.partial(codecs.through, name))


def _air(name, chain, folder):
  """Returns a simulation of the air: known rooms for attacks, others to judge.

  Responses are read, or simulated, now: inside of what is compiled nothing else
  can be, and the user's bad file is found before any work.
  """
  parts = rooms.PARTS[chain]
  if folder and not parts.room:
    return None
  banks = {
    side: rooms.load(side, folder or '') for side in rooms.SIDES if parts.room
  }

  def through(side):
    bank = banks.get(side)
    responses = bank.responses if bank else np.zeros((1, 1), np.float32)

    def apply(audio, keys, mask):
      draws = rooms.draw(keys, len(responses))
      return rooms.carry(parts, responses, audio, draws, mask)

    return apply

  known = through(rooms.TRAINING)
  digests = (bank.digest for bank in banks.values())
  return Transform(
    name,
    through(rooms.UNSEEN) if parts.room else known,
    known,
    is_simulated=True,
    digest=' '.join((rooms.chain_recipe(), *digests)),
  )


_HZ = r'(\d+(?:\.\d+)?)'
_BUILDERS: Mapping[str, Callable[..., Transform | None]] = {
  rf'(lowpass){_HZ}': _filter,
  rf'(highpass){_HZ}': _filter,
  rf'(bandpass){_HZ}-{_HZ}': _filter,
  r'median(\d+)': _median,
  r'resample(\d+)': _resample,
  r'quantize(\d+)': _quantize,
  r'mulaw8': _mulaw,
  r'noise(-?\d+(?:\.\d+)?)db': _noise,
  r'mcadams(\d+(?:\.\d+)?)': _mcadams,
  '|'.join(codecs.CODECS): _codec,
  r'(room|device|air)(?:@(.+))?': _air,
}
