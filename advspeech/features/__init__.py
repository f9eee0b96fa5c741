"""Acoustic features of audio and audio rebuilt from them, differentiable.

Attacks on features need both directions: MFCC (Iter et al. 2017) or the
magnitude spectrogram (Kereliuk et al. 2015) of a clip, and the clip again from
the changed features (paper, Figure 3). A `Representation` is such a pair.

Audio is the model's, in [0, 1] about silence; features are those of the signal
about silence at full scale, as librosa computes them from a WAV file. Nothing
here divides by a magnitude or takes a root of one that may be 0, so that
gradients are finite at silence.
"""

from advspeech.features.mel import (
  dct_basis,
  mel_filters,
  mel_to_power,
)
from advspeech.features.phases import (
  fixed_phase,
  griffin_lim,
)
from advspeech.features.representations import (
  WAVEFORM_UNIT,
  Representation,
  complex_stft,
  for_attacks,
  mfcc,
  spectrogram,
  waveform,
)
from advspeech.features.stft import (
  HOP_MS,
  POWER_FLOOR,
  RATES_HZ,
  Stft,
  decibels,
  power,
  resample,
  speech_stft,
)

__all__ = [
  'HOP_MS',
  'POWER_FLOOR',
  'RATES_HZ',
  'WAVEFORM_UNIT',
  'Representation',
  'Stft',
  'complex_stft',
  'dct_basis',
  'decibels',
  'fixed_phase',
  'for_attacks',
  'griffin_lim',
  'mel_filters',
  'mel_to_power',
  'mfcc',
  'power',
  'resample',
  'spectrogram',
  'speech_stft',
  'waveform',
]
