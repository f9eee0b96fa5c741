"""What the study shows on the page."""

from advspeech import figures as house
from advspeech import section
from advspeech.studies import listening
from advspeech.studies.air import examples, figures, sending

_SENT_TITLES = {
  sending.CLEAN: 'clean',
  sending.ATTACK: 'attack',
  'random_sign': 'random signs',
  'gaussian': 'Gaussian noise',
  'shuffled': 'shuffled in time',
}


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
      'sent_titles': _SENT_TITLES,
      'clips': listening.clips(results, _title),
    },
  )


def _title(entry):
  """Returns what a player is called: what is sent where, and the answer."""
  sent = _SENT_TITLES[entry['sent']]
  if entry['sent'] == sending.ATTACK:
    sent = f'{house.attack_title(entry["attack"])} on ' + house.model_name(
      entry['model']
    )
  where = (
    'at the source'
    if entry['place'] == examples.SOURCE
    else f'in an unseen room of T60 {entry["t60_s"]:.2f} s'
  )
  return f'{sent}, {where}, heard as {entry["answer"]}'
