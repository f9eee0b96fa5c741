"""An attacked recording, and what a model answers to it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import figure

from advspeech import audio, figures


class Answer(NamedTuple):
  """A number that a model gives to each attacked clip.

  Attributes:
    column: Of the rows.
    title: What the figure calls it.
    limits: Smallest and largest that it can be.
    threshold: From which on it is a yes, None where there is none.
  """

  column: str
  title: str
  limits: tuple[float, float]
  threshold: float | None = None


def attacked_recording(
  clean: np.ndarray,
  perturbed: np.ndarray,
  rows: Sequence[Mapping[str, Any]],
  shown: Mapping[str, Any],
  answer: Answer,
) -> figure.Figure:
  """Returns a recording before and after, and what a model answers.

  Args:
    clean: [time] in model range.
    perturbed: [time], the clip of the row `shown`.
    rows: One an epsilon, with `epsilon` and the answer's column.
    shown: The row whose clip is drawn.
    answer: Which is drawn against epsilon.
  """
  with figures.house_style():
    fig = figure.Figure(figsize=(9, 3.4))
    wave, answers = fig.subplots(1, 2, width_ratios=(3, 2))
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
    answers.plot(epsilons, [row[answer.column] for row in rows], marker='o')
    if answer.threshold is not None:
      answers.axhline(answer.threshold, color='0.5', linestyle='--')
    positive = [e for e in epsilons if e > 0]
    if positive and max(positive) > figures.LINEAR_RANGE * min(positive):
      answers.set_xscale('symlog', linthresh=min(positive))
    low, high = answer.limits
    answers.set_ylim(low - 0.03, high + 0.03)
    answers.set_xlabel(f'epsilon ({shown["epsilon_unit"]})')
    answers.set_title(answer.title, fontsize=9)
    fig.tight_layout()
    return fig
