"""Figures of a page's sections, with what they show and what to make of it."""

import functools
from collections.abc import Iterable

from advspeech import figures, section
from advspeech.report import (
  attack_curves,
  error_curves,
  figure7,
  players,
  transfer,
)
from advspeech.report import run as run_lib

# Whole waveforms drawn: the figures are large.
_NUM_FIGURES_7 = 2


def curve_figure(run: run_lib.Run) -> section.Figure:
  """Returns the paper's Figure 6, of this task."""
  return section.Figure(
    f'figure6-{run.task}',
    lambda: error_curves.error_against_epsilon(
      run.first, run.confidence, run.over_trainings
    ),
    'Error rate against epsilon, a panel for each model: the attack as solid '
    f'lines, {figures.control_title(run.control)} dashed, one line a seed, '
    'with interval bands and the chance level. Its numbers are the table under '
    '“Every point”.',
    f"The paper's Figure 6 for {run.task}. Solid: "
    f'{figures.attack_title(run.attack)} made on '
    f'{figures.title(run.source)}. Dashed: '
    f'{figures.control_title(run.control)}. Only '
    "what rises above the dashed line is the attack's doing. The axis above "
    'says how loud the speech is over the perturbation; dotted is a blind '
    'guess. One unit of epsilon is half of full scale: 0.001 moves a sample by '
    'up to 66 of the 65,536 steps of 16-bit audio.',
  )


def class_figures(run: run_lib.Run) -> list[section.Figure]:
  """Returns the error of every class by itself, where it was recorded."""
  if (
    len(run.classes) > error_curves.MOST_CLASSES
    or not run.first[0]['errors_by_class']
  ):
    return []
  return [
    section.Figure(
      'classes',
      lambda: error_curves.error_by_class(run.first),
      'Error rate against epsilon of each class by itself, a panel for each '
      'model and seed, the attack as solid lines, noise dashed. Its numbers '
      'are in the table under “Every point”.',
      'Who is judged wrong: the same errors, each class by itself. Where one '
      'class is near 0 and the others near 100 % the model gives one answer '
      'to all clips; the error over all of them then looks like that of a '
      'blind guess, and it falls where the answer flips.',
    )
  ]


def attack_figures(run: run_lib.Run) -> list[section.Figure]:
  """Returns what the sweep holds beyond the first attack's curve."""
  found = []
  if len({row['attack'] for row in run.plain}) > 1:
    found.append(
      section.Figure(
        'attacks',
        lambda: attack_curves.error_by_attack(run.plain),
        'Error rate against epsilon under every attack, a panel for each '
        'model, with the noise controls of the first attack in grey.',
        'Error under every attack. Those that search for longer were made at '
        'fewer epsilons. “Any of them” counts a clip as broken if one attack '
        'breaks it.',
      )
    )
  where = (run.attack, run.config['sweep']['masks'][0], '', '')
  matrix = [
    {'seed': None, 'target_seed': None, **row}
    for row in (run.trainings if run.is_about_trainings else run.rows)
    if (row['attack'], row['mask'], row['control'], row['transform']) == where
    and row['epsilon'] == run.telling_epsilon
  ]
  if len({(row['source'], row['seed']) for row in matrix}) > 1:
    found.append(
      section.Figure(
        'transfer',
        lambda: transfer.transfer_matrix(matrix, run.confidence),
        'Heat map of error rates: each row a model that examples were made on, '
        'each column one that judged them; the numbers stand in the cells.',
        'Who breaks whom: error in % of every model (columns) under examples '
        'made on every source (rows), at the epsilon at which the attack '
        'exceeds its noise by most. Framed: judged by the model attacked.',
      )
    )
  return found


def example_figure_list(
  run: run_lib.Run, clips: Iterable[players.Clip]
) -> dict[str, section.Figure]:
  """Returns the paper's Figure 7 of the first clips, by utterance id."""
  found = {}
  for number, clip in enumerate(list(clips)[:_NUM_FIGURES_7]):
    pair = clip.pairs[0]
    original, adversarial = pair.waves
    entry = pair.entry
    attack = figures.attack_title(entry['attack'])
    where = f'{attack}, epsilon {entry["epsilon"]}, made on '
    note = (
      f'{figures.plain(clip.id)}: {where}{figures.title(entry["source"])} seed '
      f'{entry["seed"]}.'
    )
    found[clip.id] = section.Figure(
      f'figure7-{number}',
      functools.partial(
        figure7.waveform_and_spectrograms, original, adversarial, note
      ),
      'Waveform, spectrogram and enlarged spectrogram of the clip, the '
      'adversarial example above, the original below.',
      f"The paper's Figure 7: {where}{figures.title(entry['source'])}. "
      'Adversarial above, original below; the further from the background, the '
      'louder. What the attack '
      'adds shows as grey between the harmonics and in the pauses.',
    )
  return found
