"""What may happen to a clip between the attack and the judgement of it.

Filters, resampling, coarse samples, noise and lossy codecs, on model-range
audio: [0, 1], silence at 0.5, about which everything is computed. A clip does
not depend on its neighbours, padding is treated like any other sample, and
nothing is clipped to [0, 1] unless the format itself saturates (quantisation,
mu-law).

For attacks that know of the transform (Athalye et al. 2018) each has a twin,
`straight_through`, with the same values and a gradient to follow.
"""

import concurrent.futures
import dataclasses
import functools
import io
import itertools
import math
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import buffer_callback

from advspeech import errors, registry
from advspeech.audio import FULL_SCALE_PER_UNIT, SAMPLE_RATE_HZ, SILENCE

# Transition of 3.3 / 255 of the sampling rate, 207 Hz; stop band at -53 dB.
NUM_TAPS = 255
MU = 255.0
# libsndfile's names. At its default quality 27 to 35 kbit/s at 16 kHz.
CODECS = {
  'mp3': ('MP3', 'MPEG_LAYER_III'),
  'vorbis': ('OGG', 'VORBIS'),
  'opus': ('OGG', 'OPUS'),
}
LEGAL_FORMS = (
  'lowpass4000, highpass300, bandpass300-3400 (Hz), median3 (odd width), '
  'resample8000 (Hz), quantize8 (bits), mulaw8, noise20db (SNR), mp3, vorbis '
  'and opus'
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
      median, resampling and noise; for quantisation, mu-law and codecs, whose
      true gradient is zero or unknown, that of the identity (Bengio et al.
      2013, "straight-through"; Athalye et al. 2018, BPDA).
  """

  name: str
  apply: Apply
  straight_through: Apply


@functools.lru_cache
def make(name: str) -> Transform:
  """Returns the transform of a name; the same object for the same name.

  Filters are linear-phase windowed-sinc FIRs (scipy.signal.firwin, Hamming) and
  delay nothing; resampling goes to the rate and back to 16 kHz as
  scipy.signal.resample_poly does. Codecs are libsndfile's.

  Args:
    name: One of LEGAL_FORMS, with other numbers as wanted, or
      `package.module:attribute`: a `Transform`, or what one's `apply` is, to be
      followed by its own gradient.

  Raises:
    errors.InputError: If the name or its number is not legal, this libsndfile
      lacks the codec, or what it names is no transform.
  """
  if registry.is_own(name):
    return _own(name)
  for pattern, build in _BUILDERS.items():
    match = re.fullmatch(pattern, name)
    transform = build(name, *match.groups()) if match else None
    if transform:
      return transform
  if name in CODECS:
    raise errors.InputError(
      f'this libsndfile cannot write {name}, only '
      f'{", ".join(available_codecs()) or "no lossy codec"}; update soundfile '
      'or leave it out'
    )
  raise errors.InputError(
    f'a transform must be one of {LEGAL_FORMS}, with rising cut-offs below '
    f'{SAMPLE_RATE_HZ // 2} Hz, a rate in whole kHz and 2 to 15 bits, got '
    f'{name!r}; your own is written package.module:function'
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


def available_codecs() -> tuple[str, ...]:
  """Returns those of CODECS that the installed libsndfile can write."""
  import soundfile

  return tuple(
    name
    for name, (container, subtype) in CODECS.items()
    if container in soundfile.available_formats()
    and subtype in soundfile.available_subtypes(container)
  )


def _differentiable(name, fn):
  """Returns the transform of fn(audio), to be followed by its own gradient."""

  def apply(audio, keys, mask):
    del keys, mask
    return fn(audio)

  return Transform(name, apply, apply)


def _not_differentiable(name, fn):
  """Returns the transform of fn(audio), the identity to a gradient."""
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


def _codec(name):
  """On the host; within `jax.shard_map` every device calls for its own clips.

  Under automatic sharding JAX would gather all of them on one device.
  """
  if name not in available_codecs():
    return None

  def on_host(audio):
    audio = np.asarray(audio)
    clips = audio.reshape(-1, audio.shape[-1])
    with concurrent.futures.ThreadPoolExecutor() as threads:
      decoded = list(threads.map(lambda x: _encode_and_decode(x, name), clips))
    return np.stack(decoded).reshape(audio.shape)

  def in_place(context, result, audio):
    del context
    np.asarray(result)[...] = on_host(audio)

  def fn(audio):
    result = jax.ShapeDtypeStruct(audio.shape, jnp.float32)
    # pure_callback first copies its arguments to a CPU device, and where that
    # device's own threads all stand in callbacks nobody is left to copy: with
    # clips of 6 s on four CPU devices it hangs (JAX 0.10.2).
    return jax.lax.platform_dependent(
      audio,
      cpu=buffer_callback.buffer_callback(
        in_place, result, vmap_method='expand_dims'
      ),
      default=lambda x: jax.pure_callback(
        on_host, result, x, vmap_method='expand_dims'
      ),
    )

  return _not_differentiable(name, fn)


def _encode_and_decode(clip, codec):
  """Returns one clip, [time], as a compressed file gives it back.

  libsndfile takes the encoder's delay and filling off again; should a length
  differ all the same, the end is cut or filled with silence.
  """
  import soundfile

  container, subtype = CODECS[codec]
  samples = (clip - np.float32(SILENCE)) * np.float32(FULL_SCALE_PER_UNIT)
  file = io.BytesIO()
  with soundfile.SoundFile(
    file, 'w', SAMPLE_RATE_HZ, 1, subtype, format=container
  ) as writer:
    # libvorbis keeps a whole write on its stack and overflows on a long one.
    for start in range(0, len(samples), 4096):
      writer.write(samples[start : start + 4096])
  file.seek(0)
  decoded, _ = soundfile.read(
    file, frames=len(samples), dtype='float32', fill_value=0.0
  )
  return decoded / np.float32(FULL_SCALE_PER_UNIT) + np.float32(SILENCE)


_HZ = r'(\d+(?:\.\d+)?)'
_BUILDERS = {
  rf'(lowpass){_HZ}': _filter,
  rf'(highpass){_HZ}': _filter,
  rf'(bandpass){_HZ}-{_HZ}': _filter,
  r'median(\d+)': _median,
  r'resample(\d+)': _resample,
  r'quantize(\d+)': _quantize,
  r'mulaw8': _mulaw,
  r'noise(-?\d+(?:\.\d+)?)db': _noise,
  '|'.join(CODECS): _codec,
}
