"""The claim of Papernot et al.: one need not know the model."""

from typing import Any

from advspeech import claim, figures, section, storage
from advspeech.studies.substitute import augmenting, clips

REGIME_TITLES = {
  clips.SAME: "the victim's training clips",
  clips.OTHER: 'other clips of its corpus',
  clips.CORPUS: 'clips of another corpus',
}


def of_study(results: section.Results) -> list[claim.Claim]:
  """Returns every claim with its verdict on a run."""
  return [need_not_know(results), gradient_helps(results)]


def need_not_know(results: section.Results) -> claim.Claim:
  """Returns whether examples made on a substitute break its victim."""
  text = (
    'One need not know the model: examples made on a substitute, trained on '
    "nothing but the victim's answers, break the victim (Papernot et al. 2016)."
  )
  rule = (
    'For every victim and every source of clips, after the last round along '
    "the substitute's gradient the victim errs more, at some epsilon, than "
    "under every noise of that size: McNemar's exact test on the same clips "
    'and, where there are enough speakers, a bootstrap that draws these, the '
    'level of both shared out among the epsilons (Bonferroni). Models of one '
    'seed.'
  )
  rows = _last(results, augmenting.JACOBIAN)
  answers, words = [], []
  for (victim, regime, attack), group in storage.grouped(
    rows, ('victim', 'regime', 'attack')
  ).items():
    noisy = [row for row in group if row['control']]
    at = storage.grouped(noisy, ('epsilon_given',))
    telling = [
      given
      for given, noises in at.items()
      if all(_is_beyond(row, results, len(at)) for row in noises)
    ]
    answers.append(True if telling else None)
    # Where the attack exceeds the most harmful noise by most.
    best = max(
      telling or at, key=lambda given: min(row['excess'] for row in at[given])
    )
    noise = min(at[best], key=lambda row: row['excess'])
    rate = noise['error_rate'] + noise['excess']
    words.append(
      f'{figures.model_name(victim)} by way of '
      f'{figures.model_name(noise["substitute"])}, '
      f'{noise["num_queries"]} queries about {REGIME_TITLES[regime]}, '
      f'{figures.attack_title(attack)} at {noise["epsilon_given"]}: '
      f'{claim.percent(rate)} wrong, {claim.percent(noise["error_rate"])} '
      f'under the most harmful noise ({claim.points(noise, "excess")}, '
      f'corrected p {_corrected_p(noise, len(at)):.2g})'
    )
  return _claim(text, answers, words, rule)


def _is_beyond(row, results, num_epsilons):
  """Returns whether an attack errs more than a control, beyond chance."""
  level = 1 - results.config['sweep']['confidence']
  return row['excess'] > 0 and _corrected_p(row, num_epsilons) < level


def _corrected_p(row, num_epsilons):
  """Returns a control's p for all epsilons, by clip or speaker: the larger."""
  found = (row['mcnemar_p'], row['excess_speaker_p'])
  return min(1.0, num_epsilons * max(p for p in found if p != ''))


def gradient_helps(results: section.Results) -> claim.Claim:
  """Returns whether clips along the gradient beat as many natural ones."""
  text = (
    "Clips along the substitute's gradient tell an attacker more than as many "
    'natural ones (Papernot et al. 2016, Jacobian augmentation).'
  )
  rule = (
    'For every victim and every source of clips, at the largest epsilon and '
    'after the last round that both have, the victim errs more under the '
    'substitute of the one than under that of the other (interval of the '
    'paired difference, by speaker where there is one, above 0); refuted where '
    'it errs less.'
  )
  rows = [
    row
    for row in results.table('substitute')
    if row['arm'] == augmenting.JACOBIAN and row['over_natural'] != ''
  ]
  answers, words = [], []
  for group in storage.grouped(rows, ('victim', 'regime', 'attack')).values():
    row = max(group, key=lambda r: (r['round'], r['epsilon']))
    low, high = claim.widest(row, 'over_natural')
    answers.append(True if low > 0 else False if high < 0 else None)
    words.append(
      f'{figures.model_name(row["victim"])}, {row["num_queries"]} queries '
      f'about {REGIME_TITLES[row["regime"]]}, '
      f'{figures.attack_title(row["attack"])} at {row["epsilon_given"]}: '
      f'{claim.percent(row["error_rate"])} wrong, '
      f'{claim.points(row, "over_natural")} over natural clips'
    )
  return _claim(text, answers, words, rule)


def _last(results, arm) -> list[dict[str, Any]]:
  """Returns an arm's rows after its last round."""
  rows = [row for row in results.table('substitute') if row['arm'] == arm]
  return [
    row
    for group in storage.grouped(rows, ('victim', 'regime')).values()
    for row in group
    if row['round'] == max(r['round'] for r in group)
  ]


def _claim(text, answers, words, rule):
  if not answers:
    return claim.Claim(
      text, claim.NOT_TESTED, claim.how_to_test('substitute'), rule
    )
  return claim.Claim(text, claim.verdict(answers), words, rule)
