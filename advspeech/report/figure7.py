"""The paper's Figure 7: one recording before and after, from its files."""

import numpy as np
from matplotlib import figure

from advspeech import audio, figures

# What is louder than this below the loudest cell is drawn.
_RANGE_DB = 70
# Window and step of the two spectrograms: the second resolves harmonics.
_WHOLE = (400, 80)
_ENLARGED = (1024, 64)
_ENLARGED_HZ = 2000
_ENLARGED_S = 1.0


def waveform_and_spectrograms(
  original: np.ndarray, adversarial: np.ndarray, note: str
) -> figure.Figure:
  """Returns waveform, spectrogram and its voiced part enlarged.

  The adversarial example above, the original below, as in the paper; enlarged
  is the loudest second of the original, below 2 kHz.

  Args:
    original: [time] at 16 kHz, full scale 1.
    adversarial: [time], the same clip.
    note: What the figure must say to be read alone.
  """
  with figures.house_style():
    fig = figure.Figure(figsize=(11, 5.4))
    grid = fig.subplots(2, 3, sharex='col', sharey='col')
    first_s = _loudest_second(original)
    reach = 1.05 * max(np.abs(original).max(), np.abs(adversarial).max(), 1e-4)
    tops = None
    for panels, (name, sound) in zip(
      grid,
      (('adversarial', adversarial), ('original', original)),
      strict=True,
    ):
      wave, whole, enlarged = panels
      seconds = np.arange(len(sound)) / audio.SAMPLE_RATE_HZ
      # Rasterized: a point a sample would be megabytes of SVG.
      wave.plot(seconds, sound, color='C0', linewidth=0.4, rasterized=True)
      wave.set_ylim(-reach, reach)
      wave.set_xlim(0, seconds[-1])
      wave.set_ylabel(f'{name}\namplitude (full scale 1)')
      levels = [_level_db(sound, *_WHOLE), _level_db(sound, *_ENLARGED)]
      tops = tops or [level.max() for level in levels]
      image = _spectrogram(whole, levels[0] - tops[0], seconds[-1])
      _spectrogram(enlarged, levels[1] - tops[1], seconds[-1])
      whole.set_ylabel('frequency in kHz')
      enlarged.set_ylabel('frequency in kHz')
      enlarged.set_xlim(first_s, first_s + _ENLARGED_S)
      enlarged.set_ylim(0, _ENLARGED_HZ / 1000)
    for panel, text in zip(
      grid[0],
      ('waveform', 'spectrogram', 'the loudest second, enlarged'),
      strict=True,
    ):
      panel.set_title(text)
    for panel in grid[1]:
      panel.set_xlabel('time in s')
    fig.tight_layout()
    fig.colorbar(
      image,
      ax=grid.ravel().tolist(),
      label='dB below the loudest of the adversarial example',
      pad=0.01,
    )
    figures.note(
      fig,
      f'{note} Windows: {_ms(_WHOLE[0])} ms, enlarged {_ms(_ENLARGED[0])} ms.',
    )
    return fig


def _ms(samples):
  return samples * 1000 // audio.SAMPLE_RATE_HZ


def _level_db(sound, window, step):
  """Returns the power of every frame, [frequencies, frames] in dB."""
  padded = np.pad(sound, window // 2)
  frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::step]
  power = np.abs(np.fft.rfft(frames * np.hanning(window), axis=-1)) ** 2
  return 10 * np.log10(np.maximum(power.T, 1e-12))


def _spectrogram(panel, level, end_s):
  panel.grid(visible=False)
  return panel.imshow(
    level,
    origin='lower',
    aspect='auto',
    extent=(0, end_s, 0, audio.SAMPLE_RATE_HZ / 2000),
    vmin=-_RANGE_DB,
    vmax=0,
    cmap='Greys',
    interpolation='nearest',
  )


def _loudest_second(sound):
  """Returns where the loudest second begins, in s."""
  width = round(_ENLARGED_S * audio.SAMPLE_RATE_HZ)
  if len(sound) <= width:
    return 0.0
  energy = np.concatenate([[0.0], np.cumsum(np.square(sound))])
  return int(np.argmax(energy[width:] - energy[:-width])) / audio.SAMPLE_RATE_HZ
