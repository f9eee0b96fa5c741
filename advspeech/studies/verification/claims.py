"""The claim of the paper's Figure 1."""

from advspeech import claim, section, storage
from advspeech.studies.verification import attacked, figures, parts
from advspeech.studies.verification.trials import UNKNOWN


def accepted(results: section.Results) -> claim.Claim:
  """Returns whether an attacker can be accepted as another speaker."""
  text = (
    'A speaker verification system accepts an impostor whose clip was changed '
    'by little (Figure 1).'
  )
  rule = (
    'On every embedder attacked directly, at the largest epsilon tried and the '
    'threshold fixed for a small FAR on clean trials of other speakers, each '
    'attack has more impostors accepted than every noise of its size does '
    '(interval by speaker above 0).'
  )
  rows = [
    row
    for row in results.table('attacked')
    if row['source'] == row['embedder']
    and row['operating'] == parts.FAR
    and row['kind'] == UNKNOWN
    and row['format'] == 'memory'
  ]
  if not rows:
    return claim.Claim(
      text,
      claim.NOT_TESTED,
      claim.how_to_test('verification'),
      rule,
    )
  answers, words = [], []
  for (source, attack), group in storage.grouped(
    rows, ('source', 'attack')
  ).items():
    largest = max(row['epsilon'] for row in group)
    at = [row for row in group if row['epsilon'] == largest]
    (made,) = (row for row in at if not row['control'])
    controls = [row for row in at if attacked.is_of_its_size(row)]
    answers.append(_is_more(controls))
    noise = max(row['rate'] for row in controls)
    words.append(
      f'{figures.title(source)}, {figures.attack_title(attack)} at '
      f'{made["epsilon_given"]}: FAR {claim.percent(made["clean_rate"])} '
      f'before, {claim.percent(made["rate"])} under attack, '
      f'{claim.percent(noise)} under the most harmful noise of its size, '
      f'{made["num_trials"]} trials of {made["num_speakers"]} speakers'
    )
  return claim.Claim(text, claim.verdict(answers), words, rule)


def _is_more(controls):
  """Returns whether an attack does more than all of its controls, or less."""
  if any(row['more_low'] == '' for row in controls):
    return None  # too few speakers
  if all(row['more_low'] > 0 for row in controls):
    return True
  return False if any(row['more_high'] < 0 for row in controls) else None


def of_study(results: section.Results) -> list[claim.Claim]:
  """Returns every claim with its verdict on a run."""
  return [accepted(results)]
