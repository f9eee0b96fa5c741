"""Figures of the study, from its tables alone."""

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import axes, figure, lines

from advspeech import figures, section, storage
from advspeech.embedders import resemblyzer
from advspeech.statistics import verification
from advspeech.studies.verification import attacked, parts
from advspeech.studies.verification.trials import TARGET, UNKNOWN

attack_title = figures.attack_title
_TITLES = {'resemblyzer': resemblyzer.TITLE}
# Shares that a probit axis names, in %.
_TICKS = (0.1, 1, 5, 20, 40, 60, 80, 95, 99)
_STYLES = ('-', '--', '-.', ':')


def title(name: str) -> str:
  """Returns what figures call an embedder."""
  return _TITLES.get(name) or figures.model_name(name)


def rates(results: section.Results) -> figure.Figure:
  """Returns FAR of impostors and FRR of targets against SNR.

  A panel a pair of what is attacked and what judges, at the threshold for a
  small FAR.
  """
  rows = [
    row
    for row in results.table('attacked')
    if row['operating'] == parts.FAR
    and row['format'] == 'memory'
    and row['kind'] in (UNKNOWN, TARGET)
    and row['mean_snr_db'] != ''
  ]
  sources = list(dict.fromkeys(row['source'] for row in rows))
  judges = list(dict.fromkeys(row['embedder'] for row in rows))
  attacks = list(dict.fromkeys(row['attack'] for row in rows))
  with figures.house_style():
    fig = figure.Figure(
      figsize=(4.2 * len(sources) + 0.4, 3.4 * len(judges) + 0.6)
    )
    panels = fig.subplots(
      len(judges), len(sources), sharex=True, sharey=True, squeeze=False
    )
    for line, judge in zip(panels, judges, strict=True):
      for panel, source in zip(line, sources, strict=True):
        own = [
          r for r in rows if (r['source'], r['embedder']) == (source, judge)
        ]
        _draw_rates(panel, own, attacks)
        panel.set_title(f'made on {title(source)}, heard by {title(judge)}')
      line[0].set_ylabel('wrong decisions in %')
    for panel in panels[-1]:
      panel.set_xlabel('signal-to-noise ratio in dB, louder to the right')
    panels[0][0].set_ylim(0, 100)
    panels[0][0].invert_xaxis()
    figures.with_legend(
      fig,
      [
        *(
          lines.Line2D([], [], color=color, label=label)
          for color, label in (
            ('C0', 'impostors accepted'),
            ('C1', 'targets rejected'),
          )
        ),
        *(
          lines.Line2D(
            [], [], color='0.2', ls=style, label=attack_title(attack)
          )
          for attack, style in zip(
            attacks, _STYLES * len(attacks), strict=False
          )
        ),
        lines.Line2D([], [], color='0.6', lw=4, label='noise of its size'),
      ],
      ncols=3,
    )
    figures.note(fig, _counted(rows))
    return fig


def _draw_rates(panel: axes.Axes, rows: Sequence[Any], attacks) -> None:
  """Draws a line an attack and kind, and the most harmful noise beside it."""
  for color, kind in (('C0', UNKNOWN), ('C1', TARGET)):
    mine = [row for row in rows if row['kind'] == kind]
    for attack, style in zip(attacks, _STYLES * len(attacks), strict=False):
      by_snr = storage.grouped(
        [row for row in mine if row['attack'] == attack], ('mean_snr_db',)
      )
      snrs = sorted((snr for (snr,) in by_snr), reverse=True)
      made, noise = [], []
      for snr in snrs:
        at = by_snr[snr,]
        made += [100 * row['rate'] for row in at if not row['control']]
        noise.append(
          max(100 * row['rate'] for row in at if attacked.is_of_its_size(row))
        )
      panel.plot(snrs, noise, color=color, alpha=0.25, linewidth=4)
      panel.plot(snrs, made, color=color, linestyle=style, marker='.')
    for row in mine[:1]:
      panel.axhline(100 * row['clean_rate'], color=color, linewidth=0.6)


def _counted(rows):
  """Returns how many trials and speakers a figure is of."""
  counts = {row['kind']: row['num_trials'] for row in rows}
  return (
    f'{counts.get(UNKNOWN, 0)} impostor and {counts.get(TARGET, 0)} target '
    f'trials of {max(row["num_speakers"] for row in rows)} speakers. Thin '
    'lines: before the attack.'
  )


def det(results: section.Results) -> figure.Figure:
  """Returns FRR against FAR of clean trials, on probit axes."""
  rows, fixed = results.table('scores'), results.table('clean')
  names = list(dict.fromkeys(row['embedder'] for row in rows))
  with figures.house_style():
    fig = figure.Figure(figsize=(4.6, 4.4))
    panel = fig.subplots()
    for i, name in enumerate(names):
      for part, style in (('validation', ':'), ('test', '-')):
        own = [r for r in rows if (r['embedder'], r['part']) == (name, part)]
        is_target = np.array([row['kind'] == TARGET for row in own])
        if is_target.all() or not is_target.any():
          continue
        points = verification.points([row['score'] for row in own], is_target)
        panel.plot(
          _probit(points.far),
          _probit(points.frr),
          color=f'C{i}',
          linestyle=style,
          label=f'{title(name)}, {_PARTS[part]}',
        )
      for row in fixed:
        if row['embedder'] == name and '' not in (row['far'], row['frr']):
          panel.plot(
            _probit(row['far']), _probit(row['frr']), 'o', color=f'C{i}'
          )
    ticks = [_probit(tick / 100) for tick in _TICKS]
    for axis, set_limits in (
      (panel.xaxis, panel.set_xlim),
      (panel.yaxis, panel.set_ylim),
    ):
      axis.set_ticks(ticks, [f'{tick:g}' for tick in _TICKS])
      set_limits(ticks[0], ticks[-1])
    panel.set_xlabel('impostors accepted (FAR) in %')
    panel.set_ylabel('targets rejected (FRR) in %')
    panel.legend()
    fig.tight_layout()
    return fig


_PARTS = {'validation': 'thresholds', 'test': 'judged'}
_probit = np.vectorize(
  lambda share: statistics.NormalDist().inv_cdf(min(max(share, 1e-4), 1 - 1e-4))
)
