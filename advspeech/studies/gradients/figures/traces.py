"""The gradient along a clip: the paper's Figure 5."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import figure

from advspeech import audio, figures, gradients
from advspeech.studies.gradients.figures import style

_GREY = '0.35'


def gradient_traces(examples: Mapping[str, Any], index: int) -> figure.Figure:
  """Returns the paper's Figure 5 for one clip.

  The waveform, then each model's gradient, as it is and its magnitude on a
  logarithmic axis; dotted where the paper's first 60,000 of 96,000 samples end,
  grey where there is no recording.

  Args:
    examples: `id`, `model`, `audio`, `span` and `gradient`, as in
      examples.npz.
    index: Which clip.
  """
  with figures.house_style():
    names = [str(name) for name in examples['model']]
    wave = examples['audio'][index] - audio.SILENCE
    wave = audio.FULL_SCALE_PER_UNIT * wave
    seconds = np.arange(len(wave)) / audio.SAMPLE_RATE_HZ
    begin_s, end_s = examples['span'][index] / audio.SAMPLE_RATE_HZ
    fig = figure.Figure(figsize=(8.4, 1.5 + 2.7 * len(names)))
    panels = fig.subplots(
      1 + 2 * len(names),
      1,
      sharex=True,
      gridspec_kw={'height_ratios': [0.9, *[1] * (2 * len(names))]},
    )
    # Rasterized: 96,000 points a line would be megabytes of SVG.
    panels[0].plot(seconds, wave, color=_GREY, linewidth=0.4, rasterized=True)
    panels[0].set_ylabel('amplitude\n(full scale 1)')
    clip = figures.plain(str(examples['id'][index]))
    panels[0].set_title(f'Clip {clip}', loc='left')
    for m, name in enumerate(names):
      gradient = examples['gradient'][index, m]
      plain, log = panels[1 + 2 * m : 3 + 2 * m]
      plain.plot(
        seconds, gradient, color=f'C{m}', linewidth=0.4, rasterized=True
      )
      limit = 1.05 * np.abs(gradient).max() or 1
      plain.set_ylim(-limit, limit)
      plain.set_title(style.title(name), loc='left')
      plain.set_ylabel('dJ/dx')
      magnitude = np.abs(gradient)
      floor = _floor(magnitude)
      log.plot(
        *_envelope(seconds, magnitude, np.max),
        color=f'C{m}',
        linewidth=0.9,
        label='largest of 10 ms',
      )
      log.plot(
        *_envelope(seconds, magnitude, np.median),
        color='0.1',
        linewidth=0.7,
        linestyle='--',
        label='median of 10 ms',
      )
      log.set_yscale('log')
      log.set_ylim(bottom=floor)
      log.set_ylabel('|dJ/dx|')
      log.legend(loc='best', fontsize=7, ncols=2)
    for panel in panels:
      panel.axvline(
        gradients.EARLY_SHARE * seconds[-1],
        color='0.2',
        linestyle=':',
        linewidth=1,
      )
      for left, right in ((0, begin_s), (end_s, seconds[-1])):
        if left < right:
          panel.axvspan(left, right, color='0.92', zorder=0)
    panels[-1].set_xlim(0, seconds[-1])
    panels[-1].set_xlabel(
      'time in s (dotted: 5/8 of the clip, "the first 60,000"; grey: padding)'
    )
    fig.align_ylabels(panels)
    fig.tight_layout(h_pad=0.3)
    figures.note(
      fig,
      'One clip: the slope of the loss against its label along each sample, '
      "per unit of the model's input (half of full scale).",
    )
    return fig


_ENVELOPE_SAMPLES = 160


def _envelope(seconds, magnitude, of):
  whole = len(magnitude) // _ENVELOPE_SAMPLES * _ENVELOPE_SAMPLES
  blocks = magnitude[:whole].reshape(-1, _ENVELOPE_SAMPLES)
  value = of(blocks, axis=1)
  return seconds[:whole:_ENVELOPE_SAMPLES], np.where(value > 0, value, np.nan)


def _floor(magnitude):
  """Returns a lower limit that shows nearly all that is not zero."""
  positive = magnitude[magnitude > 0]
  return np.quantile(positive, 0.005) / 2 if positive.size else 1e-12
