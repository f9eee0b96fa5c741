"""Panels of error against epsilon: axes, bands, the chance level, notes."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import axes, figure, ticker

from advspeech import figures
from advspeech.sweep import named_attacks

# Of `sweep.csv`.
Row = Mapping[str, Any]
Rows = Sequence[Row]

MARKERS = 'os^Dv<>P'
DASHES = ('--', ':', '-.')
NUM_COLORS = 5
# How dark the bands are: by clip, and by speaker around them.
CLIPS_ALPHA, SPEAKERS_ALPHA = 0.2, 0.07


def by_target(rows: Rows) -> list[list[Row]]:
  """Returns the rows of each target, in order of appearance."""
  targets = dict.fromkeys(row['target'] for row in rows)
  return [[row for row in rows if row['target'] == t] for t in targets]


def one_a_target(rows: Rows) -> tuple[figure.Figure, Sequence[axes.Axes]]:
  """Returns a figure with one panel a target, each with its chance level."""
  parts = by_target(rows)
  fig = figure.Figure(figsize=(4.2 * len(parts) + 0.8, 4.6))
  panels = fig.subplots(1, len(parts), sharey=True, squeeze=False)[0]
  for panel, part in zip(panels, parts, strict=True):
    source, target = part[0]['source'], part[0]['target']
    how = (
      'white box'
      if source == target
      else f'made on {figures.model_name(source)}'
    )
    panel.set_title(f'{figures.model_name(target)} ({how})', pad=8)
    chance_line(panel, rows)
  panels[0].set_ylabel('error rate in %')
  panels[0].set_ylim(0, 100)
  return fig, panels


def chance_line(panel: axes.Axes, rows: Rows) -> None:
  """Draws where a blind guess errs."""
  chance = 100 * (1 - 1 / rows[0]['num_classes'])
  panel.axhline(chance, color='0.4', linewidth=1, linestyle=':')
  panel.annotate(
    'chance',
    (0.02, chance),
    xycoords=('axes fraction', 'data'),
    ha='left',
    va='bottom',
    color='0.4',
    fontsize=8,
  )


def marker(seeds: Sequence[int], seed: int) -> str:
  """Returns the marker of a seed."""
  return MARKERS[seeds.index(seed) % len(MARKERS)]


def error_panel(
  panel: axes.Axes, rows: Rows, color: str, means: Rows = ()
) -> None:
  """Draws the attack and its control, a line a seed, with their bands.

  Args:
    panel: Where.
    rows: Of one target, of every seed.
    color: Of all.
    means: Of the same over trainings, with intervals: they get the bands then,
      and a seed's line is thin.
  """
  seeds = sorted({row['seed'] for row in rows})
  noise = named_attacks.control_of(rows[0]['attack'])
  for control, style in (('', '-'), (noise, '--')):
    fill = 'white' if control else color
    for seed in seeds:
      curve = _curve(r for r in rows if r['seed'] == seed)[control]
      if means:
        _line(panel, curve, color=color, linestyle=style, lw=0.5, alpha=0.6)
        continue
      mark = marker(seeds, seed)
      look = {'marker': mark, 'markerfacecolor': fill}
      _line(panel, curve, color=color, linestyle=style, **look)
      bands(panel, curve, color)
    if means:
      curve = _curve(means)[control]
      look = {'marker': MARKERS[0], 'markerfacecolor': fill, 'lw': 2}
      _line(panel, curve, color=color, linestyle=style, **look)
      bands(panel, curve, color)
  epsilon_axis(panel, rows)


def _curve(rows):
  """Returns the rows of each control, '' for the attack, by epsilon."""
  curves = collections.defaultdict(list)
  for row in sorted(rows, key=lambda row: row['epsilon']):
    curves[row['control']].append(row)
  return curves


def _line(panel, curve, **look):
  x = [r['epsilon'] for r in curve]
  panel.plot(x, [100 * r['error_rate'] for r in curve], **look)


def bands(panel: axes.Axes, curve: Rows, color: str) -> None:
  """Draws the intervals of a curve's points, and by speaker where all have."""
  x = [r['epsilon'] for r in curve]
  ends = ([100 * r[f'ci_{end}'] for r in curve] for end in ('low', 'high'))
  panel.fill_between(x, *ends, color=color, alpha=CLIPS_ALPHA, linewidth=0)
  if curve and all(map(has_speakers, curve)):
    low, high = (
      [100 * r[f'ci_speaker_{end}'] for r in curve] for end in ('low', 'high')
    )
    pale_band(panel, x, low, high, color)


def pale_band(
  panel: axes.Axes,
  x: Sequence[float],
  low: Sequence[float],
  high: Sequence[float],
  color: str,
) -> None:
  """Draws intervals by speaker, behind those by clip."""
  panel.fill_between(x, low, high, color=color, alpha=SPEAKERS_ALPHA, lw=0)


def has_speakers(row: Row) -> bool:
  """Returns whether a row has an interval by speaker."""
  return row['ci_speaker_low'] != ''


def held(rows: Rows) -> str:
  """Returns what the bands of these rows hold for."""
  dark = 'clips as if independent'
  speakers = {row['num_speakers'] for row in rows}
  counts = ' to '.join(map(str, sorted(speakers - {''}))) or 'unknown'
  if all(map(has_speakers, rows)):
    dark += f' (dark), and by speaker, of {counts} voices (pale)'
  else:
    dark += f'; their voices ({counts}) are too few to say more'
  if 'num_trainings' in rows[0]:
    return f'{dark}; for the next training too, this split, one draw of noise'
  return f'{dark}; for these networks, this split and one draw of noise'


def widest_by_speaker(rows: Rows) -> str:
  """Returns how far the intervals by speaker reach at most, '' if unknown."""
  known = [row for row in rows if row['error_rate'] != '']
  if not all(map(has_speakers, known)):
    return ''
  half = max(
    max(
      r['error_rate'] - r['ci_speaker_low'],
      r['ci_speaker_high'] - r['error_rate'],
    )
    for r in known
  )
  return f', by speaker to at most {100 * half:.0f}'


def epsilon_axis(panel: axes.Axes, rows: Rows) -> None:
  """Labels the axis of epsilon, logarithmic where it spans decades."""
  panel.set_xlabel('epsilon (half of full scale)')
  epsilons = sorted({row['epsilon'] for row in rows} - {0})
  if epsilons and epsilons[-1] > figures.LINEAR_RANGE * epsilons[0]:
    first, last = np.ceil(np.log10(epsilons[0])), np.log10(epsilons[-1])
    decades = 10.0 ** np.arange(first, last)
    panel.set_xscale('symlog', linthresh=epsilons[0], linscale=0.3)
    panel.set_xticks([0, *decades], ['0', *(f'{d:g}' for d in decades)])
    panel.xaxis.set_minor_locator(ticker.NullLocator())
  else:
    panel.xaxis.set_major_locator(ticker.MaxNLocator(5))
  panel.set_xlim(left=0)
  snr_axis(panel, rows)


def snr_axis(panel: axes.Axes, rows: Rows) -> None:
  """Labels some epsilons with the SNR they mean, on an axis above."""
  snr = {}
  for row in rows:
    # Rows that join several attacks have no perturbation of their own.
    known = row['mean_snr_db'] != ''
    if known and not row['control'] and row['epsilon'] > 0:
      snr.setdefault(row['epsilon'], []).append(row['mean_snr_db'])
  if not snr:
    return
  ticks = np.array(sorted(snr))
  # At most five labels, evenly spread over the axis rather than the list.
  place = np.log if panel.get_xscale() == 'symlog' else np.asarray
  wanted = np.linspace(*place(ticks[[0, -1]]), min(5, len(ticks)))
  chosen = sorted({ticks[np.abs(place(ticks) - w).argmin()] for w in wanted})
  above = panel.twiny()
  if panel.get_xscale() == 'symlog':
    above.set_xscale('symlog', linthresh=ticks[0], linscale=0.3)
  above.set_xlim(panel.get_xlim())
  above.set_xticks(chosen, [f'{np.mean(snr[e]):.0f}' for e in chosen])
  above.xaxis.set_minor_locator(ticker.NullLocator())
  above.set_xlabel('mean SNR in dB', fontsize=8, color='0.35')
  above.tick_params(labelsize=8, colors='0.35', length=3)
  above.grid(visible=False)
