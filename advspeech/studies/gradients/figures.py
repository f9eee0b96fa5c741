"""Figures of the gradients' study, drawn from its tables and arrays alone."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import figure, lines, patches

from advspeech import audio, figures, gradients, statistics, storage
from advspeech.models import frontend

_STYLES = ('-', '--', '-.', ':')
_MARKERS = 'os^Dv<>P'
_GREY = '0.35'
_VARIED = {
  'samples': 'samples moved (random)',
  'length_masked': 'seconds moved',
  'length_cut': 'seconds of the cut clip',
  'rate': 'sample rate in kHz',
}


def plans(folder: str) -> dict[str, Callable[[], figure.Figure]]:
  """Returns what draws each figure of a study, by its name.

  Args:
    folder: Of `tables.write`; only its files are read.
  """
  settings = storage.read_json(
    os.path.join(folder, 'settings.json'), ('names', 'num_studied')
  )
  names = settings['names']
  table = functools.partial(_table, folder)
  examples = storage.read_arrays(os.path.join(folder, 'examples.npz'))
  make: dict[str, Callable[[], figure.Figure]] = {
    # An id may be long, and hold whatever a file's name may not.
    f'figure5-{i}': functools.partial(gradient_traces, examples, i)
    for i in range(len(examples['id']))
  }
  for alignment in ('start', 'end'):
    arrays = storage.read_arrays(os.path.join(folder, f'clips-{alignment}.npz'))
    recorded_s = arrays['recorded/num_samples'][:, 0] / audio.SAMPLE_RATE_HZ
    make[f'profile-{alignment}'] = functools.partial(
      profiles, arrays['profile'], names, recorded_s, alignment
    )
  if len(names) > 1:
    make['comparison'] = lambda: comparison(table('clips'), names)
  if table('jacobians'):
    make['jacobians'] = lambda: jacobian_decay(
      table('jacobians'), settings['num_studied']
    )
  make['accumulation'] = lambda: accumulation(table('accumulation'))
  make['arithmetics'] = lambda: arithmetics(table('fidelity'), table('fgsm'))
  return make


def _table(folder, name):
  path = os.path.join(folder, f'{name}.csv')
  return storage.read_table(path) if storage.exists(path) else []


def gradient_traces(examples: Mapping[str, Any], index: int) -> figure.Figure:
  """Returns the paper's Figure 5 for one clip.

  The waveform, then each model's gradient, as it is and its magnitude on a
  logarithmic axis; dotted where the paper's first 60,000 of 96,000 samples end,
  grey where there is no recording.

  Args:
    examples: `id`, `model`, `audio`, `span` and `gradient`, as kept in
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
      plain.set_title(_title(name), loc='left')
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


def profiles(
  profile: np.ndarray,
  names: Sequence[str],
  recorded_s: np.ndarray,
  alignment: str,
) -> figure.Figure:
  """Returns magnitude by frame over a whole split: median and quartiles.

  A clip without gradient in a frame counts there as zero, which lies below the
  logarithmic axis.

  Args:
    profile: [clips, models, frames] mean magnitude.
    names: [models].
    recorded_s: [clips] length of the recordings.
    alignment: Where they lie in the clips, 'start' or 'end'.
  """
  with figures.house_style():
    fig = figure.Figure(figsize=(7.2, 4.2))
    panel = fig.subplots()
    frame_s = frontend.FRAME_MS / 1000
    seconds = (np.arange(profile.shape[2]) + 0.5) * frame_s
    clip_s = profile.shape[2] * frame_s
    for m, name in enumerate(names):
      low, mid, high = np.quantile(profile[:, m], [0.25, 0.5, 0.75], axis=0)
      style = _STYLES[m % len(_STYLES)]
      panel.plot(
        seconds, mid, color=f'C{m % 5}', linestyle=style, label=_title(name)
      )
      panel.fill_between(
        seconds, low, high, color=f'C{m % 5}', alpha=0.2, linewidth=0
      )
    panel.axvline(
      gradients.EARLY_SHARE * clip_s, color='0.2', linestyle=':', linewidth=1
    )
    figures.set_log(panel, y=profile)
    panel.set_xlim(0, clip_s)
    panel.set_xlabel(
      f'time in s (dotted: 5/8 of the clip; recordings at its {alignment}, '
      f'median {np.median(recorded_s):.1f} s)'
    )
    panel.set_ylabel('mean |dJ/dx| of a 40 ms frame')
    panel.set_title(f'{len(profile)} clips: median and quartiles', loc='left')
    panel.legend(loc='best')
    fig.tight_layout()
    return fig


def comparison(
  rows: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> figure.Figure:
  """Returns two models' statistics of the same clips against each other.

  Args:
    rows: Of clips.csv.
    names: Models; the first is put beside each of the others.
  """
  with figures.house_style():
    others = names[1:]
    fig = figure.Figure(figsize=(7.6, 3.5 * len(others)))
    grid = fig.subplots(len(others), 2, squeeze=False)
    for (left, right), other in zip(grid, others, strict=True):
      for panel, key, label in (
        (left, 'l1', 'L1 norm of dJ/dx'),
        (right, 'index_50', 's before which half of the L1 mass lies'),
      ):
        x, y = (_column(rows, name, key) for name in (names[0], other))
        if key == 'index_50':
          x, y = x / audio.SAMPLE_RATE_HZ, y / audio.SAMPLE_RATE_HZ
        both = np.concatenate([x, y])
        positive = both[both > 0]
        if key == 'index_50':
          length = max(r['num_samples'] for r in rows) / audio.SAMPLE_RATE_HZ
          limits = [0, length]
        elif positive.size:
          limits = [positive.min() * 0.8, positive.max() * 1.25]
          figures.set_log(panel, x=positive, y=positive)
        else:
          limits = [0, 1]
        panel.plot(limits, limits, color='0.5', linewidth=1, linestyle='--')
        panel.scatter(
          x, y, s=12, facecolor='none', edgecolor='C0', linewidth=0.8
        )
        panel.set_xlim(limits)
        panel.set_ylim(limits)
        panel.set_aspect('equal')
        panel.set_xlabel(_title(names[0]))
        panel.set_ylabel(_title(other))
        panel.set_title(label, loc='left', fontsize=10)
    fig.tight_layout()
    num_clips = len({row['id'] for row in rows})
    figures.note(fig, f'{num_clips} clips, a point each; dashed: equal.')
    return fig


def _column(rows, name, key):
  chosen = [
    row
    for row in rows
    if (row['model'], row['alignment'], row['region']) == (name, 'start', 'all')
  ]
  return np.array([float(row[key]) for row in chosen])


def jacobian_decay(
  rows: Sequence[Mapping[str, Any]], num_clips: int
) -> figure.Figure:
  """Returns |ds_n / ds_i| against n - i, the forget gates beside it.

  Trained models are drawn solid, untrained ones dashed; bands are quartiles.

  Args:
    rows: Of jacobians.csv.
    num_clips: Over which the quartiles are.
  """
  with figures.house_style():
    fig = figure.Figure(figsize=(7.4, 6.2))
    norm, gate = fig.subplots(
      2, 1, sharex=True, gridspec_kw={'height_ratios': [2.2, 1]}
    )
    names = list(dict.fromkeys(row['model'] for row in rows))
    for i, name in enumerate(names):
      mine = [row for row in rows if row['model'] == name]
      seconds = np.array([row['distance_ms'] for row in mine]) / 1000
      median, low, high = (
        _positive([row[key] for row in mine])
        for key in ('median', 'lower_quartile', 'upper_quartile')
      )
      trained = mine[0]['training'] == 'trained'
      line = {
        'color': f'C{i % 5}',
        'linestyle': '-' if trained else '--',
        'marker': _MARKERS[i % len(_MARKERS)],
        'markevery': (2 + i, 12),
      }
      norm.plot(seconds, median, label=_recurrent_title(mine[0]), **line)
      norm.fill_between(
        seconds, low, high, color=line['color'], alpha=0.15, linewidth=0
      )
      with_gate = [row for row in mine if row['forget_gate'] != '']
      if with_gate:
        gate.plot(
          [row['distance_ms'] / 1000 for row in with_gate],
          [row['forget_gate'] for row in with_gate],
          **line,
        )
    norm.set_yscale('log')
    bottom = norm.get_ylim()[0]
    norm.set_ylim(bottom=max(bottom, 1e-30))
    norm.set_ylabel('spectral norm of ds_n / ds_i')
    norm.legend(fontsize=8, loc='lower left')
    gate.set_ylabel('mean forget gate')
    gate.set_ylim(0, 1)
    gate.set_xlim(left=0)
    gate.set_xlabel('n - i, time back from the end in s')
    fig.align_ylabels([norm, gate])
    fig.tight_layout()
    figures.note(fig, f'{num_clips} clips: median and quartiles.')
    return fig


def _positive(values):
  values = np.array(values, float)
  return np.where(values > 0, values, np.nan)


def _recurrent_title(row):
  kind = 'tanh RNN' if row['cell'] == 'tanh' else 'LSTM'
  bias = row['forget_bias']
  text = kind if bias == '' else f'{kind}, forget bias {bias:g}'
  text = f'{text}, {row["training"]}'
  if row['training'] == 'trained':
    return f'{text}: {_title(row["model"])}'
  return text


def accumulation(rows: Sequence[Mapping[str, Any]]) -> figure.Figure:
  """Returns predicted and measured changes of loss, over epsilon and over n.

  Args:
    rows: Of accumulation.csv.
  """
  with figures.house_style():
    # What has one length only shows no growth.
    varied = [
      v
      for v in _VARIED
      if len({row['n'] for row in rows if row['varied'] == v}) > 1
    ]
    names = list(dict.fromkeys(row['model'] for row in rows))
    num_rows = -(-(1 + len(varied)) // 2)
    fig = figure.Figure(figsize=(8.2, 3.3 * num_rows))
    panels = fig.subplots(num_rows, 2, squeeze=False).ravel()
    for panel in panels[1 + len(varied) :]:
      panel.set_visible(False)
    epsilon = min(r['epsilon'] for r in rows if r['varied'] != 'epsilon')
    for m, name in enumerate(names):
      mine = [row for row in rows if row['model'] == name]
      along = [row for row in mine if row['varied'] == 'epsilon']
      _medians(panels[0], along, 'epsilon', m)
      for panel, what in zip(panels[1:], varied, strict=False):
        grown = [
          r for r in mine if r['varied'] == what and r['epsilon'] == epsilon
        ]
        _medians(panel, grown, 'n', m, unit=_unit(what, rows))
    panels[0].set_xlabel('epsilon (half of full scale)')
    panels[0].set_title('all samples moved', loc='left', fontsize=10)
    for panel, what in zip(panels[1:], varied, strict=False):
      panel.set_xlabel(_VARIED[what])
      panel.set_title(f'epsilon {epsilon:g}', loc='left', fontsize=10)
      panel.minorticks_off()
      if what != 'samples':
        ticks = sorted(
          {r['n'] / _unit(what, rows) for r in rows if r['varied'] == what}
        )
        panel.set_xticks(ticks, [f'{t:g}' for t in ticks])
    for panel in panels[: 1 + len(varied)]:
      panel.set_ylabel('change of loss in nats')
    handles = [
      lines.Line2D([], [], color='0.2', linestyle='--', label='predicted'),
      lines.Line2D(
        [], [], color='0.2', linestyle='', marker='.', label='measured'
      ),
      *(
        lines.Line2D(
          [],
          [],
          color=f'C{m % 5}',
          linestyle='',
          marker=_MARKERS[m % len(_MARKERS)],
          label=_title(name),
        )
        for m, name in enumerate(names)
      ),
    ]
    fig.legend(
      handles=handles,
      loc='lower center',
      ncols=len(handles),
      bbox_to_anchor=(0.5, -0.03),
      fontsize=8,
    )
    fig.tight_layout()
    num_clips = len({row['id'] for row in rows})
    figures.note(
      fig, f'{num_clips} clips: medians, and quartiles of what was measured.'
    )
    return fig


def _unit(varied, rows):
  """Returns how many samples are one of what the axis is labelled with."""
  if varied == 'samples':
    return 1
  if varied == 'rate':
    whole = max(row['n'] for row in rows if row['varied'] == varied)
    return whole * 1000 / audio.SAMPLE_RATE_HZ
  return audio.SAMPLE_RATE_HZ


def _medians(panel, rows, key, index, unit=1):
  if not rows:
    return
  x = sorted({row[key] for row in rows})
  predicted, measured = (
    np.array(
      [
        np.quantile([r[what] for r in rows if r[key] == at], [0.25, 0.5, 0.75])
        for at in x
      ]
    )
    for what in ('predicted', 'measured')
  )
  at = np.array(x) / unit
  color = f'C{index % 5}'
  panel.plot(at, predicted[:, 1], color=color, linestyle='--', linewidth=1.2)
  panel.plot(
    at,
    _positive(measured[:, 1]),
    color=color,
    linestyle='',
    marker=_MARKERS[index % len(_MARKERS)],
    markerfacecolor='white',
  )
  panel.fill_between(
    at,
    _positive(measured[:, 0]),
    _positive(measured[:, 2]),
    color=color,
    alpha=0.15,
    linewidth=0,
  )
  figures.set_log(panel, x=at, y=[predicted, measured])


def _tick_at(panel, values, most=5):
  """Labels some values of a logarithmic axis, which may span no decade."""
  ticks = sorted(values)
  ticks = ticks[:: -(-len(ticks) // most)]
  panel.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
  panel.minorticks_off()


def arithmetics(
  fidelity: Sequence[Mapping[str, Any]], fgsm: Sequence[Mapping[str, Any]]
) -> figure.Figure:
  """Returns what each arithmetic leaves of the signs, and FGSM with each.

  Args:
    fidelity: Rows of fidelity.csv.
    fgsm: Rows of fgsm.csv.
  """
  with figures.house_style():
    names = list(dict.fromkeys(row['model'] for row in fidelity))
    kinds = list(dict.fromkeys(row['arithmetic'] for row in fidelity))
    fig = figure.Figure(figsize=(8.2, 3.3 * len(names)))
    grid = fig.subplots(len(names), 2, squeeze=False)
    for (left, right), name in zip(grid, names, strict=True):
      mine = [row for row in fidelity if row['model'] == name]
      for k, kind in enumerate(kinds):
        of_kind = [row for row in mine if row['arithmetic'] == kind]
        for j, key in enumerate(('early_zero_share', 'early_sign_agreement')):
          values = [100 * float(row[key]) for row in of_kind]
          left.bar(
            k + 0.4 * (j - 0.5),
            np.mean(values),
            width=0.36,
            color=('0.25', '0.75')[j],
            edgecolor='0.1',
            linewidth=0.6,
          )
      left.set_xticks(range(len(kinds)), kinds)
      left.set_ylim(0, 100)
      left.set_ylabel('% of the first 5/8 of the samples')
      left.set_title(_title(name), loc='left')
      left.grid(axis='x', visible=False)
      directions = list(dict.fromkeys(row['direction'] for row in fgsm))
      for d, direction in enumerate(directions):
        curve = [
          row
          for row in fgsm
          if (row['model'], row['direction']) == (name, direction)
          and row['epsilon'] > 0
        ]
        noise = direction == 'random_sign'
        right.plot(
          [row['epsilon'] for row in curve],
          [100 * row['error_rate'] for row in curve],
          color='0.5' if noise else f'C{d % 5}',
          linestyle=':' if noise else _STYLES[d % len(_STYLES)],
          marker=_MARKERS[d % len(_MARKERS)],
          label=direction.replace('_', ' '),
        )
      right.set_xscale('log')
      _tick_at(right, {row['epsilon'] for row in fgsm} - {0})
      right.set_ylim(0, 100)
      right.set_xlabel('epsilon (half of full scale)')
      right.set_ylabel('error rate in %')
      right.set_title('FGSM on itself, by arithmetic', loc='left', fontsize=10)
      right.legend(fontsize=7, loc='best')
    fig.legend(
      handles=[
        patches.Patch(facecolor=color, edgecolor='0.1', label=label)
        for color, label in (
          ('0.25', 'exact zeros: not perturbed'),
          ('0.75', 'signs as in float64'),
        )
      ],
      loc='lower left',
      ncols=2,
      bbox_to_anchor=(0.05, -0.06 / len(names)),
      fontsize=8,
    )
    fig.tight_layout()
    n = max(row['num_clips'] for row in fgsm)
    low, high = statistics.wilson_interval(n // 2, n)
    figures.note(
      fig,
      f'{n} clips: means; an error of 50 % is known to {50 * (high - low):.0f} '
      'points either way (95 % Wilson interval).',
    )
    return fig


def member_title(name: str) -> str:
  """Returns 'WaveCNN, seed 0' for 'wavecnn-seed0'; other names as they are."""
  folder, _, last = name.rpartition('/')
  model, _, seed = last.partition('-seed')
  title = figures.title(model)
  if seed:
    title = f'{title}, seed {seed}'
  return f'{title} ({folder})' if folder else title


def _title(name):
  return figures.plain(member_title(name), 50)
