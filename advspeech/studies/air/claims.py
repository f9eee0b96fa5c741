"""The claim of the works that the paper builds on: attacks survive the air."""

from advspeech import claim, figures, section, storage
from advspeech.studies.air import sending


def survives(results: section.Results) -> claim.Claim:
  """Returns whether an attack does more than noise in rooms it does not know.

  Kurakin et al. 2016, cited in the paper's introduction.
  """
  text = (
    'Adversarial examples survive the physical world (Kurakin et al. 2016): '
    'here, simulated rooms.'
  )
  rule = (
    'On every model, the attack that averages over most rooms is judged wrong '
    'more often, in rooms it does not know, than every noise of its size in '
    'the same rooms (interval over clips and rooms above 0). Nothing is '
    'played: rooms and devices are simulated.'
  )
  rows = results.table('air')
  if not rows:
    return claim.Claim(
      text,
      claim.NOT_TESTED,
      claim.how_to_test('air'),
      rule,
    )
  most = max(row['draws'] for row in rows)
  rows = [row for row in rows if row['draws'] == most]
  answers, words = [], []
  for (model, attack), group in storage.grouped(
    rows, ('model', 'attack')
  ).items():
    at = {row['sent']: row for row in group}
    noises = [at[name] for name in sending.SENT[2:]]
    if all(row['more_low'] > 0 for row in noises):
      answers.append(True)
    else:
      answers.append(
        False if any(row['more_high'] < 0 for row in noises) else None
      )
    made, noise = at[sending.ATTACK], max(noises, key=lambda r: r['unseen'])
    words.append(
      f'{figures.model_name(model)}, {figures.attack_title(attack)} at '
      f'{made["epsilon_given"]} over {most} simulated rooms: '
      f'{claim.percent(made["unseen"])} wrong in {made["num_rooms"]} unseen '
      f'rooms ({claim.percent(made["seen"])} in its own), '
      f'{claim.percent(noise["unseen"])} under the most harmful noise of its '
      f'size, {claim.percent(at[sending.CLEAN]["unseen"])} clean, '
      f'{made["num_clips"]} clips'
    )
  return claim.Claim(text, claim.verdict(answers), words, rule)


def of_study(results: section.Results) -> list[claim.Claim]:
  """Returns every claim with its verdict on a run."""
  return [survives(results)]
