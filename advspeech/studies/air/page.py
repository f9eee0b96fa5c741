"""What the study shows on the page."""

from advspeech import figures as house
from advspeech import section
from advspeech.studies.air import figures, sending


def figure_list(results: section.Results) -> list[section.Figure]:
  """Returns the figures."""
  return [
    section.Figure(
      'gap',
      lambda: figures.gap(results),
      'Error rate in simulated rooms, seen and unseen, against the number of '
      'rooms that the attack averages over, a panel for each model, beside '
      'noise of equal size and clean clips.',
      'Simulated. What the attack reaches in the rooms it was made in and in '
      'others: the gap is overfitting to rooms. “None” knows nothing of the '
      'air.',
    ),
    section.Figure(
      'reverberation',
      lambda: figures.reverberation(results),
      'Error rate against the reverberation time of simulated rooms, a dot for '
      'each room, of clean, noisy and attacked clips, a panel for each model.',
      'Simulated. Error in every unseen room against its T60.',
    ),
  ]


def make(results: section.Results) -> section.Section:
  """Returns the section."""
  return section.of_package(
    'advspeech.studies.air',
    {
      'rows': results.table('air'),
      'model_title': house.model_name,
      'sent_titles': {
        sending.CLEAN: 'clean',
        sending.ATTACK: 'attack',
        'random_sign': 'random signs',
        'gaussian': 'Gaussian noise',
        'shuffled': 'shuffled in time',
      },
    },
  )
