"""Figures of the study of feature-level attacks, from its tables and clips."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib import figure, lines

from advspeech import audio, features, figures, storage

# Colour, marker and line of every attack drawn, in the order of the legend.
_CURVES = {
  ('waveform', 'fgsm', 'waveform'): ('end to end', 'C0', 'o', '-'),
  ('waveform', 'pgd', 'waveform'): ('end to end, PGD', 'C0', 'v', '--'),
  ('waveform', 'random_sign', 'waveform'): (
    'end to end, random signs',
    'C0',
    'o',
    ':',
  ),
  ('spectrogram_original', 'fgsm', 'waveform'): (
    'spectrogram',
    'C2',
    's',
    '-',
  ),
  ('spectrogram_original', 'pgd', 'waveform'): (
    'spectrogram, PGD',
    'C2',
    '<',
    '--',
  ),
  ('spectrogram_original', 'random_sign', 'waveform'): (
    'spectrogram, random signs',
    'C2',
    's',
    ':',
  ),
  ('mfcc13_original', 'fgsm', 'features'): (
    'MFCC, original phase',
    'C3',
    '^',
    '-',
  ),
  ('mfcc13_griffin_lim', 'fgsm', 'features'): (
    'MFCC, Griffin-Lim',
    'C1',
    'D',
    '-',
  ),
  ('mfcc13_griffin_lim', 'random_sign', 'features'): (
    'MFCC, Griffin-Lim, random signs',
    'C1',
    'D',
    ':',
  ),
}
_TITLES = {
  'original': 'original',
  'end-to-end': 'end to end (FGSM)',
  'spectrogram': 'spectrogram, original phase (FGSM)',
  'mfcc-unperturbed': 'MFCC and back, no attack',
  'mfcc': 'MFCC, Griffin-Lim (FGSM)',
}
# Below this the spectrograms are one colour.
_RANGE_DB = 70


def error_against_snr(rows: Sequence[Mapping[str, Any]]) -> figure.Figure:
  """Returns error against SNR, a panel a model, a curve an attack.

  Bars are the intervals of the table. A curve starts where at least half the
  clips can have the SNR at all: left of it the conversion loss is larger. Thick
  crosses are the conversion loss alone.

  Args:
    rows: Of `budgets.csv`, of one task and one seed.
  """
  with figures.house_style():
    targets = list(dict.fromkeys(row['target'] for row in rows))
    fig = figure.Figure(figsize=(4.2 * len(targets) + 0.6, 4.7))
    panels = fig.subplots(1, len(targets), sharey=True, squeeze=False)[0]
    for panel, target in zip(panels, targets, strict=True):
      for variant, (label, color, marker, line) in _CURVES.items():
        of_variant = [
          row
          for row in rows
          if row['target'] == target
          and (row['representation'], row['method'], row['through']) == variant
        ]
        curve = [
          row
          for row in of_variant
          if row['kind'] == 'snr'
          and 2 * row['num_attainable'] >= row['num_clips']
        ]
        curve.sort(key=lambda row: row['budget'])
        if not of_variant:
          continue
        x = [row['budget'] for row in curve]
        panel.plot(
          x,
          [100 * row['error_rate'] for row in curve],
          color=color,
          marker=marker,
          linestyle=line,
          label=label,
          markerfacecolor='white' if line == ':' else color,
        )
        if line == '-':  # of FGSM alone, lest intervals hide each other
          panel.errorbar(
            x,
            [100 * row['error_rate'] for row in curve],
            yerr=[
              [100 * (row['error_rate'] - row['ci_low']) for row in curve],
              [100 * (row['ci_high'] - row['error_rate']) for row in curve],
            ],
            color=color,
            linewidth=0,
            elinewidth=0.8,
            capsize=2,
          )
        alone = [
          row
          for row in of_variant
          if row['kind'] == 'epsilon'
          and row['budget'] == 0
          and row['median_conversion_snr_db'] < 40
          and row['method'] == 'fgsm'
        ]
        for row in alone:
          panel.errorbar(
            row['median_conversion_snr_db'],
            100 * row['unperturbed_error'],
            yerr=[
              [100 * (row['unperturbed_error'] - row['unperturbed_ci_low'])],
              [100 * (row['unperturbed_ci_high'] - row['unperturbed_error'])],
            ],
            color=color,
            marker='X',
            markersize=9,
            linewidth=1,
          )
      panel.set_title(figures.title(target))
      panel.set_xlabel('SNR of the example in dB (quieter to the left)')
      panel.invert_xaxis()
      panel.set_ylim(0, 101)
    panels[0].set_ylabel('error rate in %')
    handles, labels = panels[0].get_legend_handles_labels()
    handles.append(lines.Line2D([], [], color='0.3', linestyle='', marker='X'))
    fig.legend(
      handles,
      [*labels, 'conversion loss alone'],
      loc='lower center',
      ncols=4,
      bbox_to_anchor=(0.5, -0.2),
      fontsize=8,
    )
    fig.tight_layout()
    n, seed = rows[0]['num_clips'], rows[0]['seed']
    figures.note(
      fig,
      f'{rows[0]["task"]}, {n} test clips, or those of them, at least half, '
      f'that can have the SNR; seed {seed}, made on '
      f'{figures.title(rows[0]["source"])}. Bars: Wilson intervals.',
    )
    return fig


def spectrograms(
  folder: str, examples: Sequence[Mapping[str, Any]]
) -> figure.Figure:
  """Returns one clip's spectrograms, original and attacked, side by side.

  Args:
    folder: Of the WAV files.
    examples: Entries of `examples.json` of one clip.
  """
  with figures.house_style():
    shown = [e for kind in _TITLES for e in examples if e['kind'] == kind]
    fig = figure.Figure(figsize=(3.1 * len(shown), 3.3))
    panels = fig.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    top = None
    for panel, entry in zip(panels, shown, strict=True):
      pcm = audio.load(os.path.join(folder, entry['file']))
      clip = audio.from_pcm(jnp.asarray(pcm))[None]
      level = np.asarray(features.spectrogram().analyse(clip)[0])[0].T
      top = level.max() if top is None else top
      image = panel.imshow(
        level - top,
        origin='lower',
        aspect='auto',
        extent=(0, len(pcm) / audio.SAMPLE_RATE_HZ, 0, 8),
        vmin=-_RANGE_DB,
        vmax=0,
        cmap='Greys',
      )
      panel.grid(visible=False)
      panel.set_title(_TITLES[entry['kind']], fontsize=9)
      label = f'heard as {figures.plain(entry["prediction"], 30)}'
      if np.isfinite(entry['snr_db']):
        label = f'{entry["snr_db"]:.0f} dB SNR, {label}'
      panel.set_xlabel(f'time in s\n{label}', fontsize=9)
    panels[0].set_ylabel('frequency in kHz')
    fig.tight_layout()
    fig.colorbar(image, ax=list(panels), label='dB below the loudest', pad=0.01)
    clip = figures.plain(shown[0]['id'])
    figures.note(fig, f'Clip {clip}, 16-bit files as written.')
    return fig


def representation_title(name: str) -> str:
  """Returns how a representation and where its phases come from are called."""
  kind, _, phase = name.partition('_')
  kind = {'mfcc13': 'MFCC'}.get(kind, kind)
  phases = {'original': 'original phase', 'griffin_lim': 'Griffin-Lim'}
  return f'{kind}, {phases[phase]}' if phase else kind


def norms(rows: Sequence[Mapping[str, Any]]) -> figure.Figure:
  """Returns size in audio against size in features, a panel a representation.

  Args:
    rows: Of `norms.csv`.
  """
  with figures.house_style():
    names = list(dict.fromkeys(row['representation'] for row in rows))
    fig = figure.Figure(figsize=(3.0 * len(names) + 0.6, 3.4))
    panels = fig.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for panel, name in zip(panels, names, strict=True):
      points = [row for row in rows if row['representation'] == name]
      sizes, sizes_in_audio = (
        [row[key] for row in points] for key in ('feature_l2', 'adversarial_l2')
      )
      panel.scatter(
        sizes,
        sizes_in_audio,
        s=5,
        color='C0',
        alpha=0.5,
        linewidth=0,
        label='adversarial part',
      )
      panel.axhline(
        np.median([row['conversion_l2'] for row in points]),
        color='C1',
        linewidth=1,
        label='conversion loss, median',
      )
      figures.set_log(panel, x=sizes, y=sizes_in_audio)
      panel.set_title(representation_title(name), fontsize=9)
      panel.set_xlabel('L2 norm in features')
    panels[0].set_ylabel('L2 norm in audio')
    panels[0].legend(fontsize=8)
    fig.tight_layout()
    counts = sorted(
      {sum(r['representation'] == name for r in rows) for name in names}
    )
    figures.note(
      fig,
      f'{rows[0]["task"]}, seed {rows[0]["seed"]}, '
      f'{" to ".join(map(str, counts))} random '
      'perturbations a panel, a point each; norms in audio in units of half of '
      'full scale.',
    )
    return fig


def plans(folder: str) -> dict[str, Callable[[], figure.Figure]]:
  """Returns what draws each figure of a study, by its name.

  Args:
    folder: With the tables of `feature_study.write`.
  """
  budgets = storage.read_table(os.path.join(folder, 'budgets.csv'))
  table = storage.read_table(os.path.join(folder, 'norms.csv'))
  examples = storage.read_json(os.path.join(folder, 'examples.json'), kind=list)
  make: dict[str, Callable[[], figure.Figure]] = {
    f'error_against_snr-seed{seed}': functools.partial(
      error_against_snr, [row for row in budgets if row['seed'] == seed]
    )
    for seed in sorted({row['seed'] for row in budgets})
  }
  make['norms'] = functools.partial(norms, table)
  for number, id_ in enumerate(dict.fromkeys(e['id'] for e in examples)):
    make[f'spectrograms-{number}'] = functools.partial(
      spectrograms,
      os.path.join(folder, 'audio'),
      [entry for entry in examples if entry['id'] == id_],
    )
  return make
