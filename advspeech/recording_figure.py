"""An attacked recording, and what a model believes of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import figure

from advspeech import audio, figures


def attacked_recording(
  clean: np.ndarray,
  perturbed: np.ndarray,
  rows: Sequence[Mapping[str, Any]],
  shown: Mapping[str, Any],
  label: str,
) -> figure.Figure:
  """Returns a recording before and after, and the model's belief in its label.

  Args:
    clean: [time] in model range.
    perturbed: [time], the clip of the row `shown`.
    rows: One an epsilon, with `epsilon` and `label_probability`.
    shown: The row whose clip is drawn.
    label: Class that the attack is to leave.
  """
  with figures.house_style():
    fig = figure.Figure(figsize=(9, 3.4))
    wave, belief = fig.subplots(1, 2, width_ratios=(3, 2))
    seconds = np.arange(len(clean)) / audio.SAMPLE_RATE_HZ
    scale, silence = audio.FULL_SCALE_PER_UNIT, audio.SILENCE
    wave.plot(seconds, scale * (clean - silence), color='0.2', linewidth=0.4)
    wave.plot(seconds, scale * (perturbed - clean), color='C1', linewidth=0.4)
    wave.set_xlabel('time in s')
    wave.set_ylabel('amplitude, full scale 1')
    wave.set_title(
      f'recording (dark), perturbation (light), {shown["snr_db"]:.0f} dB SNR',
      fontsize=9,
    )
    epsilons = [row['epsilon'] for row in rows]
    belief.plot(
      epsilons, [row['label_probability'] for row in rows], marker='o'
    )
    positive = [e for e in epsilons if e > 0]
    if positive and max(positive) > figures.LINEAR_RANGE * min(positive):
      belief.set_xscale('symlog', linthresh=min(positive))
    belief.set_ylim(-0.03, 1.03)
    belief.set_xlabel(f'epsilon ({shown["epsilon_unit"]})')
    belief.set_title(f'probability of {figures.plain(label)}', fontsize=9)
    fig.tight_layout()
    return fig
