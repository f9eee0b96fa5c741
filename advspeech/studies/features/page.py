"""What the study of attacks on features shows on the page."""

import os
from typing import Any

from advspeech import audio, section, sounds
from advspeech.studies.features import figures


def figure_list(results: section.Results) -> list[section.Figure]:
  """Returns the figures."""
  return [
    section.Figure(name, draw, *_TEXTS[name.partition('-')[0]])
    for name, draw in figures.plans(results.folder).items()
  ]


def make(results: section.Results) -> section.Section:
  """Returns the section."""
  return section.of_package(
    'advspeech.studies.features',
    {
      'comparison': _comparison(results),
      'equal_errors': _equal_errors(results),
      # Pairs of perturbations of eq. 7 whose sizes contradict.
      'contradicting_sizes': results.table('norms_examples'),
      'clips': _clips(results),
      'representation_title': figures.representation_title,
    },
  )


def _comparison(results):
  """Returns attacks on features beside the same end to end, at equal size.

  On the model attacked, a row a (representation, method, SNR or max-norm, seed)
  that some clip can have.
  """
  return [
    row
    for row in results.table('equal_size')
    if row['kind'] in ('snr', 'max_norm')
    and row['method'] in ('fgsm', 'pgd')
    and row['target'] == row['source']
    and row['num_attainable'] > 0
  ]


def _equal_errors(results):
  """Returns the SNR at which each attack reaches an error, on its source."""
  return [
    row
    for row in results.table('equal_error')
    if row['target'] == row['source'] and row['method'] in ('fgsm', 'pgd')
  ]


def _clips(results):
  """Returns the clips to listen to: (id, entries with their sounds)."""
  by_id: dict[str, list[Any]] = {}
  for entry in results.entries('examples'):
    path = os.path.join(results.folder, 'audio', entry['file'])
    sound = sounds.Sound(
      sounds.flac_uri(audio.read(path)), f'{entry["kind"]} of {entry["id"]}'
    )
    by_id.setdefault(entry['id'], []).append({**entry, 'sound': sound})
  return list(by_id.items())


_TEXTS = {
  'error_against_snr': (
    'Error rate against signal-to-noise ratio, a panel a model, a curve an '
    'attack; crosses mark the conversion loss alone.',
    'Attacks on features beside the attack on samples, at the same '
    'signal-to-noise ratio; quieter to the left. A curve begins where at least '
    'half of the clips can have the ratio at all: left of it the conversion '
    'alone costs more. Crosses: converted and not attacked.',
  ),
  'norms': (
    "Scatter plots of a perturbation's size in audio against its size in "
    'features, a panel a representation, with the conversion loss as a line.',
    'Equation 7: a perturbation of one size in features may have many sizes in '
    'audio; the line is the conversion loss (equation 6).',
  ),
  'spectrograms': (
    'Spectrograms of one clip: original, attacked end to end, on the '
    'spectrogram, converted to MFCC and back, and attacked there.',
    'One clip under each attack, and converted without any.',
  ),
}
