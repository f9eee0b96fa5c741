"""What the study shows on the page."""

from advspeech import figures as house
from advspeech import section, storage
from advspeech.studies import listening
from advspeech.studies.substitute import claims, figures, rounds


def figure_list(results: section.Results) -> list[section.Figure]:
  """Returns the figure: error of a victim against queries."""
  return [
    section.Figure(
      'queries',
      lambda: figures.queries(results),
      'Error rate of each victim under attacks made on substitutes, against '
      'the number of clips it labelled, a panel for each source of clips, a '
      'line for each way to come by more, beside the attack on the victim '
      'itself and random signs of equal size.',
      'What answers are worth. All lines begin with the same clips; from there '
      'each has its own way to come by as many more. Dashed, where it was '
      'tried: an attacker who knows the true labels and asks nothing.',
    )
  ]


def make(results: section.Results) -> section.Section:
  """Returns the section."""
  settings = results.config['substitute']
  rows = results.table('substitute')
  fidelity = {_key(row): row for row in results.table('fidelity')}
  epsilons = {
    key: figures.telling_epsilon(group)
    for key, group in storage.grouped(rows, ('victim', 'attack')).items()
  }
  shown = [
    row
    for row in rows
    if row['epsilon_given'] == epsilons[row['victim'], row['attack']]
  ]
  noise = {
    (*_key(row), row['attack']): row
    for row in shown
    if row['control'] == 'random_sign'
  }
  return section.of_package(
    'advspeech.studies.substitute',
    {
      'rows': [
        (row, noise[*_key(row), row['attack']], fidelity.get(_key(row)))
        for row in shown
        if not row['control']
      ],
      'settings': settings,
      'model_title': house.model_name,
      'arm_titles': {
        **figures.ARM_TITLES,
        rounds.WHITE_BOX: "the victim's own gradient",
      },
      'regime_titles': claims.REGIME_TITLES,
      'clips': listening.clips(results, _title),
      'regimes_done': {row['regime'] for row in rows if row['regime']},
    },
  )


def _key(row):
  return tuple(row[key] for key in ('victim', 'regime', 'arm', 'round'))


def _title(entry):
  """Returns what a player is called: what is sent, and the victim's answer."""
  victim = house.model_name(entry['victim'])
  attack = house.attack_title(entry['attack'])
  sent = {
    'clean': 'as it is',
    'attack': f'{attack} on a substitute of {victim}',
    'random_sign': 'random signs',
  }[entry['sent']]
  return f'{sent}, heard by {victim} as {entry["answer"]}'
