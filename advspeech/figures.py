"""Figures, drawn from the tables alone."""

import contextlib
import functools
import json
import logging
import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import axes, figure, font_manager, lines, patches, ticker

from advspeech import audio, preemption, registry, statistics, storage
from advspeech.sweep import named_attacks
from advspeech.sweep.tables.points import STRONGEST

logger = logging.getLogger(__name__)

_STYLE = os.path.join(os.path.dirname(__file__), 'advspeech.mplstyle')
_FONT = 'DejaVu Sans'  # matplotlib brings it
# Asked, where they are installed, for what that one lacks: Chinese, Japanese,
# Korean.
_FALLBACKS = (
  *('Noto Sans CJK SC', 'Noto Sans CJK JP', 'Noto Sans CJK KR'),
  *('Noto Sans SC', 'Noto Sans JP', 'Noto Sans KR', 'Source Han Sans SC'),
  *('WenQuanYi Zen Hei', 'WenQuanYi Micro Hei', 'Droid Sans Fallback'),
  *('NanumGothic', 'Unifont', 'Arial Unicode MS', 'PingFang SC'),
  *('Hiragino Sans', 'Microsoft YaHei', 'Malgun Gothic'),
)
_TITLES = {
  'wavecnn': 'WaveCNN',
  'wavernn': 'WaveRNN',
  'wavernn_tanh': 'tanh RNN',
  'wavernn_on_wavecnn': 'WaveRNN, CNN front end',
}
_INITIALS = ('fgsm', 'fgm', 'bim', 'mi', 'pgd', 'apgd', 'ce', 'l2')
_MARKERS = 'os^Dv<>P'
# Told apart in one panel, by marker and colour.
MOST_CLASSES = 5
_DASHES = ('--', ':', '-.')
# Of attacks; with colours and markers no two are alike. Black is for the
# strongest of them, grey for noise.
_LINES = ('-', '--', '-.', (0, (5, 1, 1, 1, 1, 1)))
_NUM_COLORS = 5
_STRONGEST = {'color': '0', 'linestyle': (0, (1, 1))}
# Epsilons that span more than this are drawn on a logarithmic axis.
_LINEAR_RANGE = 50
# How dark the bands are: by clip, and by speaker around them.
_CLIPS_ALPHA, _SPEAKERS_ALPHA = 0.2, 0.07
# Of a model's name, in a legend.
_NAME_CHARS = 30


def house_style() -> contextlib.AbstractContextManager:
  """Returns the context in which every figure is drawn."""
  return mpl.rc_context({'font.family': list(_families())}, _STYLE)


@functools.cache
def _families():
  """Returns the fonts that text is drawn in, the first that has a character."""
  installed = {font.name for font in font_manager.fontManager.ttflist}
  return (_FONT, *(name for name in _FALLBACKS if name in installed))


@functools.cache
def drawable() -> frozenset[int]:
  """Returns the code points that some font of the figures has."""
  return frozenset().union(
    *(
      font_manager.get_font(font_manager.findfont(name)).get_charmap()
      for name in _families()
    )
  )


@functools.cache
def _warn_of(character):
  logger.warning(
    'no font of the figures has %s, shown as %s there; install one that has, '
    'such as Noto Sans CJK (Debian: fonts-noto-cjk)',
    character,
    _code(character),
  )


def _code(character):
  return f'U+{ord(character):04X}'


def title(model: str) -> str:
  """Returns what a figure calls a model; a folder is called by its name."""
  return registry.title(model, _TITLES)


def attack_title(name: str) -> str:
  """Returns what a figure calls an attack: 'APGD margin' for apgd_margin."""
  if name in STRONGEST.values():
    return 'any of them' + (' in L2' if name == STRONGEST['l2'] else '')
  if registry.is_own(name):
    base = name.removesuffix('-targeted')
    return registry.title(base, {}) + (' targeted' if base != name else '')
  words = name.replace('-', '_').split('_')
  return ' '.join(w.upper() if w in _INITIALS else w for w in words)


def transform_title(name: str) -> str:
  """Returns what a page calls a transform."""
  return registry.title(name, {})


def control_title(name: str) -> str:
  """Returns what noise a control is, and in what it is as large."""
  return {
    'random_sign': 'random signs of the same max-norm',
    'gaussian': 'Gaussian noise of the same L2 norm',
    'shuffled': 'the same values shuffled in time',
  }[name]


def plain(text: str, width: int = 60) -> str:
  """Returns a name as a figure shows it: shortened, and never as mathematics.

  Characters that no font has are shown by their codes, so that two names do not
  become the same boxes.

  Args:
    text: Of a clip, a class, a corpus or a folder, whatever signs are in it.
    width: Characters that are left.
  """
  shown = []
  for character in ' '.join(text.split()):
    is_drawn = ord(character) in drawable()
    if not is_drawn:
      _warn_of(character)
    shown.append(character if is_drawn else _code(character))
  text = ''.join(shown)
  short = text if len(text) <= width else f'{text[: width - 1]}…'
  return short.replace('$', r'\$')


def set_log(panel: axes.Axes, *, x: Any = None, y: Any = None) -> None:
  """Makes axes logarithmic, but for one along which all is zero.

  Args:
    panel: Whose axes.
    x: What is drawn along the one; None to leave it as it is.
    y: Along the other.
  """
  for values, set_scale in ((x, panel.set_xscale), (y, panel.set_yscale)):
    if values is not None and np.any(np.asarray(values) > 0):
      set_scale('log')


def note(fig: figure.Figure, text: str) -> None:
  """Writes above a figure what one must know to read it alone.

  Names in it must have been through `plain`.
  """
  width = int(15 * fig.get_figwidth())
  fig.text(
    0.01,
    1.0,
    '\n'.join(textwrap.wrap(text, width)),
    ha='left',
    va='bottom',
    fontsize=8,
    color='0.35',
  )


def count_note(rows: Sequence[Mapping[str, Any]]) -> str:
  """Returns task, number of clips and seeds of rows of `sweep.csv`."""
  clips = sorted({row['num_clips'] for row in rows})
  counts = ' to '.join(str(n) for n in dict.fromkeys((clips[0], clips[-1])))
  seeds = sorted({row['seed'] for row in rows})
  word = 'seeds' if len(seeds) > 1 else 'seed'
  return (
    f'{rows[0]["task"]}, {counts} test clips, {word} '
    f'{", ".join(map(str, seeds))}'
  )


def error_against_epsilon(
  rows: Sequence[Mapping[str, Any]], confidence: float = 0.95
) -> figure.Figure:
  """Returns the paper's Figure 6 for one task, with what it lacks.

  A panel a model that is tried; solid lines the attack, dashed ones noise of
  its size, one line a seed, bands the intervals of the table: dark by clip,
  pale by speaker, where it has those.

  Args:
    rows: Rows of `sweep.csv` of one task, source and attack, each
      with `num_classes`; targets of the source's seed.
    confidence: Of the table's intervals, for the note.
  """
  with house_style():
    fig, panels = _panels(rows)
    for i, (panel, of_target) in enumerate(
      zip(panels, _by_target(rows), strict=True)
    ):
      _error_panel(panel, of_target, color=f'C{i}')
    seeds = sorted({row['seed'] for row in rows})
    attack = rows[0]['attack']
    noise = control_title(named_attacks.control_of(attack))
    handles = [
      lines.Line2D([], [], color='0.2', label=attack_title(attack)),
      lines.Line2D([], [], color='0.2', linestyle='--', label=noise),
    ] + [
      lines.Line2D(
        [],
        [],
        color='0.2',
        linestyle='',
        marker=_marker(seeds, s),
        label=f'seed {s}',
      )
      for s in seeds
    ]
    note(
      fig,
      f'{count_note(rows)}. Bands: {100 * confidence:g} % Wilson intervals of '
      f'each point, {_held(rows)}.',
    )
    return _with_legend(fig, handles)


def error_by_class(rows: Sequence[Mapping[str, Any]]) -> figure.Figure:
  """Returns the error of each class by itself, a panel a target and seed.

  Solid lines the attack, dashed ones noise of its size.

  Args:
    rows: As `error_against_epsilon` takes, with `errors_by_class`, of at most
      `MOST_CLASSES`.
  """
  with house_style():
    seeds = sorted({row['seed'] for row in rows})
    parts = _by_target(rows)
    fig = figure.Figure(figsize=(4.2 * len(parts) + 0.8, 3.6 * len(seeds)))
    grid = fig.subplots(
      len(seeds), len(parts), sharex='col', sharey=True, squeeze=False
    )
    classes = list(json.loads(rows[0]['errors_by_class']))
    noise = named_attacks.control_of(rows[0]['attack'])
    for of_seed, seed in zip(grid, seeds, strict=True):
      for panel, part in zip(of_seed, parts, strict=True):
        panel.set_title(f'{_name(part[0]["target"])}, seed {seed}')
        panel.set_ylim(-2, 102)
        for control, style in (('', '-'), (noise, '--')):
          curve = sorted(
            (
              row
              for row in part
              if (row['control'], row['seed']) == (control, seed)
            ),
            key=lambda row: row['epsilon'],
          )
          counts = [json.loads(row['errors_by_class']) for row in curve]
          for i, name in enumerate(classes):
            panel.plot(
              [row['epsilon'] for row in curve],
              [100 * c[name][0] / c[name][1] for c in counts],
              color=f'C{i}',
              linestyle=style,
              marker=_MARKERS[i],
              markerfacecolor='white' if control else f'C{i}',
            )
        if part:
          _epsilon_axis(panel, part)
      of_seed[0].set_ylabel('error rate in %')
    handles = [
      lines.Line2D([], [], color=f'C{i}', marker=_MARKERS[i], label=plain(name))
      for i, name in enumerate(classes)
    ]
    handles.append(
      lines.Line2D(
        *([], []), color='0.2', linestyle='--', label=control_title(noise)
      )
    )
    num = json.loads(rows[0]['errors_by_class'])
    counts = ', '.join(f'{n} of {plain(name)}' for name, (_, n) in num.items())
    note(fig, f'{count_note(rows)}: {counts}.')
    return _with_legend(fig, handles)


def error_by_attack(rows: Sequence[Mapping[str, Any]]) -> figure.Figure:
  """Returns error against epsilon for every attack, a panel a target.

  Lines are means over seeds, bars go from the lowest to the highest; the grey
  ones are the controls of the first attack.

  Args:
    rows: Rows of `sweep.csv` of one task, source and mask, each with
      `num_classes`; targets of the source's seed.
  """
  with house_style():
    fig, panels = _panels(rows)
    styles = _attack_styles(rows)
    for panel, of_target in zip(panels, _by_target(rows), strict=True):
      for (attack, control), style in styles.items():
        errors_at: dict[float, list[float]] = {}
        for row in of_target:
          if (row['attack'], row['control']) == (attack, control):
            rate = 100 * row['error_rate']
            errors_at.setdefault(row['epsilon'], []).append(rate)
        x = sorted(errors_at)
        mean = np.array([np.mean(errors_at[e]) for e in x])
        panel.plot(x, mean, **style)
        if not control:
          low, high = ([f(errors_at[e]) for e in x] for f in (min, max))
          panel.vlines(x, low, high, color=style['color'], linewidth=0.8)
      _epsilon_axis(panel, of_target)
    handles = [lines.Line2D([], [], **style) for style in styles.values()]
    n = min(row['num_clips'] for row in rows)
    low, high = statistics.wilson_interval(n // 2, n)
    note(
      fig,
      f'{count_note(rows)}. Lines: means over seeds, bars from the lowest to '
      f'the highest seed. Of {n} clips, were they independent, a rate of 50 % '
      f'is known to {50 * (high - low):.0f} points either way (95 %)'
      f'{_widest_by_speaker(rows)}.',
    )
    return _with_legend(fig, handles)


def _attack_styles(rows):
  """Returns how each attack, and each control of the first, is drawn."""
  names = list(dict.fromkeys(row['attack'] for row in rows))
  controls = [c for c in dict.fromkeys(row['control'] for row in rows) if c]
  styles: dict[tuple[str, str], dict[str, Any]] = {}
  for i, name in enumerate(names):
    look = {
      'color': f'C{i % _NUM_COLORS}',
      'linestyle': _LINES[i % len(_LINES)],
      'marker': _MARKERS[i % len(_MARKERS)],
    }
    if name in STRONGEST.values():
      marker = '_' if name == STRONGEST['linf'] else '|'
      look = {**_STRONGEST, 'marker': marker, 'markersize': 12, 'zorder': 1}
    styles[name, ''] = {'label': attack_title(name), **look}
  for i, control in enumerate(controls):
    styles[names[0], control] = {
      'label': control.replace('_', ' '),
      'color': '0.55',
      'linestyle': _DASHES[i % len(_DASHES)],
      'marker': '',
    }
  return styles


def error_over_runs(
  runs: Mapping[str, Sequence[Mapping[str, Any]]], confidence: float = 0.95
) -> figure.Figure:
  """Returns the paper's Figure 6: a panel a run, a curve a model.

  Lines are means over seeds, dashed under noise of the attack's size.

  Args:
    runs: Rows of each run by its title; of one source and attack each, with
      `num_classes`; targets of the source's seed.
    confidence: Of the bands: Wilson intervals of the mean rate, as if of one
      seed's clips.
  """
  with house_style():
    across = min(3, len(runs))
    down = -(-len(runs) // across)
    fig = figure.Figure(figsize=(4.2 * across + 0.4, 4.4 * down))
    grid = fig.subplots(down, across, squeeze=False)
    targets = dict.fromkeys(r['target'] for rows in runs.values() for r in rows)
    looks = {
      target: {'color': f'C{i % _NUM_COLORS}', 'marker': _MARKERS[i % 8]}
      for i, target in enumerate(targets)
    }
    for panel in grid.flat[len(runs) :]:
      panel.set_visible(False)
    for panel, (name, rows) in zip(grid.flat, runs.items(), strict=False):
      panel.set_title('\n'.join(textwrap.wrap(plain(name, 100), 40)), pad=8)
      panel.set_ylabel('error rate in %')
      panel.set_ylim(0, 100)
      _chance_line(panel, rows)
      for (target, control), points in _by_curve(rows).items():
        _mean_curve(panel, points, bool(control), looks[target], confidence)
      _epsilon_axis(panel, rows)
    handles = [
      lines.Line2D([], [], **look, label=_name(target))
      for target, look in looks.items()
    ]
    handles.append(
      lines.Line2D(
        [], [], color='0.2', linestyle='--', label='noise of the same size'
      )
    )
    counts = '; '.join(count_note(rows) for rows in runs.values())
    note(
      fig,
      f'{counts}. Lines: means over seeds; bands: {100 * confidence:g} % '
      "Wilson intervals, as of one seed's clips, "
      f'{_held([row for rows in runs.values() for row in rows])}.',
    )
    return _with_legend(fig, handles)


def _mean_curve(panel, points, is_control, look, confidence):
  """Draws means over seeds with their bands."""
  epsilons = sorted(points)
  num_clips = [points[e][0]['num_clips'] for e in epsilons]
  mean = [np.mean([r['error_rate'] for r in points[e]]) for e in epsilons]
  bands = [
    statistics.wilson_interval(round(m * n), n, confidence)
    for m, n in zip(mean, num_clips, strict=True)
  ]
  panel.plot(
    epsilons,
    100 * np.array(mean),
    linestyle='--' if is_control else '-',
    markerfacecolor='white' if is_control else look['color'],
    **look,
  )
  panel.fill_between(
    epsilons,
    *(100 * np.array(bands).T),
    color=look['color'],
    alpha=_CLIPS_ALPHA,
    linewidth=0,
  )
  if all(_has_speakers(row) for e in epsilons for row in points[e]):
    low, high = (
      [
        np.mean([100 * r[f'ci_speaker_{end}'] for r in points[e]])
        for e in epsilons
      ]
      for end in ('low', 'high')
    )
    _pale_band(panel, epsilons, low, high, look['color'])


def _by_curve(rows):
  """Returns {(target, control): {epsilon: rows of the seeds}}."""
  curves: dict[tuple[str, str], dict[float, list[Any]]] = {}
  for row in rows:
    if row['control'] in ('', named_attacks.control_of(row['attack'])):
      points = curves.setdefault((row['target'], row['control']), {})
      points.setdefault(row['epsilon'], []).append(row)
  return curves


def transfer_matrix(
  rows: Sequence[Mapping[str, Any]], confidence: float = 0.95
) -> figure.Figure:
  """Returns a heat map: error in % of each target under each source's attack.

  A frame marks the model that the examples were made on.

  Args:
    rows: Rows of `sweep.csv` of one task, attack, mask and epsilon.
    confidence: Of the table's intervals, for the note.
  """
  with house_style():

    def names(model, seed):
      pairs = dict.fromkeys((row[model], row[seed]) for row in rows)
      return sorted(pairs, key=lambda pair: (pair[1], pair[0]))

    sources, targets = names('source', 'seed'), names('target', 'target_seed')
    error = np.full((len(sources), len(targets)), np.nan)
    for row in rows:
      source = sources.index((row['source'], row['seed']))
      target = targets.index((row['target'], row['target_seed']))
      known = row['error_rate'] != ''
      error[source, target] = 100 * row['error_rate'] if known else np.nan
    fig = figure.Figure(
      figsize=(2.6 + 1.15 * len(targets), 1.6 + 0.62 * len(sources))
    )
    panel = fig.subplots()
    panel.grid(visible=False)
    image = panel.imshow(error, cmap='Greys', vmin=0, vmax=100, aspect='auto')
    for (y, x), value in np.ndenumerate(error):
      if not np.isfinite(value):
        continue
      color = 'white' if value > 55 else 'black'
      panel.text(x, y, f'{value:.0f}', ha='center', va='center', color=color)
      if sources[y] == targets[x]:
        panel.add_patch(
          patches.Rectangle(
            (x - 0.46, y - 0.44), 0.92, 0.88, fill=False, edgecolor='C1', lw=2
          )
        )
    short = storage.distinct_ends({name for name, _ in (*sources, *targets)})
    for axis, models in ((panel.xaxis, targets), (panel.yaxis, sources)):
      axis.set_ticks(
        range(len(models)), [f'{_short(short[m])}\nseed {s}' for m, s in models]
      )
    panel.tick_params(labelsize=8, length=0)
    panel.set_xlabel('judged by')
    panel.set_ylabel('made on')
    fig.colorbar(image, ax=panel, label='error rate in %')
    fig.tight_layout()
    known = [row for row in rows if row['error_rate'] != '']
    half = max(
      max(r['error_rate'] - r['ci_low'], r['ci_high'] - r['error_rate'])
      for r in known
    )
    note(
      fig,
      f'{attack_title(rows[0]["attack"])}, epsilon {rows[0]["epsilon_given"]}, '
      f'{rows[0]["task"]}, {rows[0]["num_clips"]} test clips; the '
      f'{100 * confidence:g} % interval of a cell, were clips independent, '
      f'reaches at most {100 * half:.0f} points either way'
      f'{_widest_by_speaker(rows)}.',
    )
    return fig


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
  with house_style():
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
    if positive and max(positive) > _LINEAR_RANGE * min(positive):
      belief.set_xscale('symlog', linthresh=min(positive))
    belief.set_ylim(-0.03, 1.03)
    belief.set_xlabel(f'epsilon ({shown["epsilon_unit"]})')
    belief.set_title(f'probability of {plain(label)}', fontsize=9)
    fig.tight_layout()
    return fig


def _short(model):
  words = {'wavernn_on_wavecnn': 'WaveRNN on\nCNN front'}
  return words.get(model, _name(model))


def _name(model):
  """Returns the title of a model that may be a folder somewhere.

  Of a long path the end is left, which tells it from others.
  """
  text = title(model)
  if len(text) > _NAME_CHARS:
    text = f'…{text[1 - _NAME_CHARS :]}'
  return plain(text)


def _by_target(rows):
  """Returns the rows of each target, in order of appearance."""
  targets = dict.fromkeys(row['target'] for row in rows)
  return [[row for row in rows if row['target'] == t] for t in targets]


def _panels(rows):
  """Returns a figure with one panel a target, each with its chance level."""
  parts = _by_target(rows)
  fig = figure.Figure(figsize=(4.2 * len(parts) + 0.8, 4.6))
  panels = fig.subplots(1, len(parts), sharey=True, squeeze=False)[0]
  for panel, part in zip(panels, parts, strict=True):
    source, target = part[0]['source'], part[0]['target']
    how = 'white box' if source == target else f'made on {_name(source)}'
    panel.set_title(f'{_name(target)} ({how})', pad=8)
    _chance_line(panel, rows)
  panels[0].set_ylabel('error rate in %')
  panels[0].set_ylim(0, 100)
  return fig, panels


def _chance_line(panel, rows):
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


def _with_legend(fig, handles):
  fig.legend(
    handles=handles,
    loc='upper center',
    ncols=min(len(handles), 7),
    bbox_to_anchor=(0.5, 0.01),
  )
  fig.tight_layout()
  return fig


def _marker(seeds, seed):
  return _MARKERS[seeds.index(seed) % len(_MARKERS)]


def _error_panel(panel, rows, color):
  seeds = sorted({row['seed'] for row in rows})
  noise = named_attacks.control_of(rows[0]['attack'])
  for control, style in (('', '-'), (noise, '--')):
    for seed in seeds:
      curve = [r for r in rows if (r['control'], r['seed']) == (control, seed)]
      curve.sort(key=lambda r: r['epsilon'])
      x = [r['epsilon'] for r in curve]
      panel.plot(
        x,
        [100 * r['error_rate'] for r in curve],
        color=color,
        linestyle=style,
        marker=_marker(seeds, seed),
        markerfacecolor='white' if control else color,
      )
      panel.fill_between(
        x,
        [100 * r['ci_low'] for r in curve],
        [100 * r['ci_high'] for r in curve],
        color=color,
        alpha=_CLIPS_ALPHA,
        linewidth=0,
      )
      if curve and all(map(_has_speakers, curve)):
        low, high = (
          [100 * r[f'ci_speaker_{end}'] for r in curve]
          for end in ('low', 'high')
        )
        _pale_band(panel, x, low, high, color)
  _epsilon_axis(panel, rows)


def _pale_band(panel, x, low, high, color):
  """Draws intervals by speaker, behind those by clip."""
  panel.fill_between(x, low, high, color=color, alpha=_SPEAKERS_ALPHA, lw=0)


def _has_speakers(row):
  return row['ci_speaker_low'] != ''


def _held(rows):
  """Returns what the bands of these rows hold for."""
  dark = 'clips as if independent'
  speakers = {row['num_speakers'] for row in rows}
  counts = ' to '.join(map(str, sorted(speakers - {''}))) or 'unknown'
  if all(map(_has_speakers, rows)):
    dark += f' (dark), and by speaker, of {counts} voices (pale)'
  else:
    dark += f'; their voices ({counts}) are too few to say more'
  return f'{dark}; for these networks, this split and one draw of noise'


def _widest_by_speaker(rows):
  """Returns how far the intervals by speaker reach at most, '' if unknown."""
  known = [row for row in rows if row['error_rate'] != '']
  if not all(map(_has_speakers, known)):
    return ''
  half = max(
    max(
      r['error_rate'] - r['ci_speaker_low'],
      r['ci_speaker_high'] - r['error_rate'],
    )
    for r in known
  )
  return f', by speaker to at most {100 * half:.0f}'


def _epsilon_axis(panel, rows):
  panel.set_xlabel('epsilon (half of full scale)')
  epsilons = sorted({row['epsilon'] for row in rows} - {0})
  if epsilons and epsilons[-1] > _LINEAR_RANGE * epsilons[0]:
    first, last = np.ceil(np.log10(epsilons[0])), np.log10(epsilons[-1])
    decades = 10.0 ** np.arange(first, last)
    panel.set_xscale('symlog', linthresh=epsilons[0], linscale=0.3)
    panel.set_xticks([0, *decades], ['0', *(f'{d:g}' for d in decades)])
    panel.xaxis.set_minor_locator(ticker.NullLocator())
  panel.set_xlim(left=0)
  _snr_axis(panel, rows)


def _snr_axis(panel, rows):
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


def accuracy_against_learning_rate(
  rows: Sequence[Mapping[str, Any]], model_name: str
) -> figure.Figure:
  """Returns validation accuracy over the rates tried, the best one marked.

  Bars are 95 % Wilson intervals.

  Args:
    rows: Of the table of one model's search (`rate_search.COLUMNS`).
    model_name: For the title.
  """
  with house_style():
    fig = figure.Figure(figsize=(5, 3.6))
    panel = fig.subplots()
    rows = sorted(rows, key=lambda row: row['learning_rate'])
    rates = [row['learning_rate'] for row in rows]
    accuracy = [100 * row['validation_accuracy'] for row in rows]
    panel.plot(rates, accuracy, color='0.7', zorder=1)
    ends = [
      statistics.wilson_interval(
        round(row['validation_accuracy'] * row['num_clips']), row['num_clips']
      )
      for row in rows
    ]
    panel.vlines(
      rates,
      [100 * low for low, _ in ends],
      [100 * high for _, high in ends],
      color='0.7',
      linewidth=0.8,
      zorder=1,
    )
    for number in sorted({row['round'] for row in rows}):
      at = [i for i, row in enumerate(rows) if row['round'] == number]
      panel.scatter(
        [rates[i] for i in at],
        [accuracy[i] for i in at],
        color=f'C{number}',
        label=f'round {number}',
      )
    best = max(
      rows, key=lambda r: (r['validation_accuracy'], -r['validation_loss'])
    )
    panel.annotate(
      f'{best["learning_rate"]:g}',
      (best['learning_rate'], 100 * best['validation_accuracy']),
      xytext=(0, 8),
      textcoords='offset points',
      ha='center',
    )
    panel.set_xscale('log')
    panel.set_ylim(0, 108)
    panel.set_xlabel('learning rate')
    panel.set_ylabel('validation accuracy in %')
    panel.set_title(title(model_name))
    panel.legend(fontsize=8)
    note(
      fig,
      f'Best epoch of each training, seed {rows[0]["seed"]}, '
      f'{rows[0]["num_clips"]} validation clips; bars: 95 % intervals.',
    )
    return fig


def save(fig: figure.Figure, path: str) -> None:
  """Writes a figure as `path`.png and `path`.svg, the same bytes each time."""
  preemption.check_alone()
  with house_style():
    for kind, undated in (('png', 'Software'), ('svg', 'Date')):
      with storage.replacing(f'{path}.{kind}', 'wb') as file:
        fig.savefig(file, format=kind, metadata={undated: None})
