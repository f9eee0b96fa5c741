"""Whether who speaks can be hidden while the emotion stays, and from whom."""

from advspeech import attacks, claim, section
from advspeech.studies.privacy import attackers, figures, points

# Of UAR that may be lost, and of the EER gained that counts as most of it.
_LOST, _MOST = 0.05, 0.5


def hidden(results: section.Results) -> claim.Claim:
  """Returns whether attackers who do not know of it are kept out."""
  text = (
    'Who speaks can be hidden from a speaker model by a change of the clip '
    'that keeps the emotion.'
  )
  rule = (
    'At the largest epsilon each solver that spares the emotion raises the EER '
    'of the speaker model attacked, with clean enrolment, by more than random '
    'signs of the same SNR do (interval by speaker above 0), and no model '
    'of the run loses more than 5 points of UAR. It is refuted where the '
    'interval lies below 0, or that of a UAR below -5 points.'
  )
  rows, utility = _spared(results)
  if not rows:
    return claim.Claim(
      text, claim.NOT_TESTED, claim.how_to_test('privacy'), rule
    )
  answers, words = [], []
  for row in points.by_key(rows, attacker=attackers.IGNORANT, attacked=1):
    lost = points.by_key(
      utility, protection=row['protection'], weight=row['weight']
    )
    answers.append(_is_hidden(row, lost))
    clean = row['eer'] - row['more']
    noise = row['eer'] - row['over_noise']
    worst = min(lost, key=lambda r: r['more'])
    words.append(
      f'{figures.protection(row)} at {row["epsilon_given"]}: EER '
      f'{claim.percent(clean)} before, {claim.percent(noise)} under noise, '
      f'{claim.percent(row["eer"])} protected; the model that loses most has a '
      f'UAR of {claim.percent(worst["uar"])}, '
      f'{100 * worst["more"]:+.1f} points'
    )
  return claim.Claim(text, claim.verdict(answers), words, rule)


def _is_hidden(row, lost):
  """Returns whether a protection hides and spares, or surely does not."""
  if row['over_noise_low'] == '':
    return None  # too few speakers
  if row['over_noise_high'] < 0 or any(r['more_high'] < -_LOST for r in lost):
    return False
  spares = all(r['more'] >= -_LOST for r in lost)
  return True if row['over_noise_low'] > 0 and spares else None


def survives(results: section.Results) -> claim.Claim:
  """Returns whether it still holds against those who know of it."""
  text = (
    'Privacy keeps emotion: the protection survives an attacker whose speaker '
    'model is trained on it, or is another.'
  )
  rule = (
    'Judged by the strongest of those who know of it that were run: one who '
    'refits what compares embeddings (centring and whitening) to protected '
    'clips of other speakers, one who also puts a transform before the speaker '
    'model, and one who also trains its network on clips of these speakers. '
    'Each chooses by speakers whom he held out: the transform or none, and '
    'whether to enrol clean or protected clips. At the largest epsilon the '
    'protection survives if the '
    'EER of each of them is above his own on clean clips (interval by '
    'speaker above 0), on the speaker model attacked and on every other that '
    'is named; it does not if what one of them has left of it is surely less '
    'than half of what the ignorant one meets on the model attacked.'
  )
  rows, _ = _spared(results)
  if not rows:
    return claim.Claim(
      text, claim.NOT_TESTED, claim.how_to_test('privacy'), rule
    )
  answers, words = [], []
  for row in points.by_key(rows, attacker=attackers.SEMI):
    same = {key: row[key] for key in ('protection', 'weight')}
    of_all = points.by_key(rows, embedder=row['embedder'], **same)
    ignorant, lazy = (
      points.by_key(of_all, attacker=who)[0]
      for who in (attackers.IGNORANT, attackers.LAZY)
    )
    (attacked,) = points.by_key(
      rows, attacker=attackers.IGNORANT, attacked=1, **same
    )
    informed = [
      x for x in of_all if x['attacker'] in (row['attacker'], *_ANSWERS)
    ]
    answer = _worst([_survives(x, attacked) for x in informed])
    answers.append(answer)
    kind = 'attacked' if row['attacked'] else 'not attacked'
    words.append(
      f'{figures.protection(row)} at {row["epsilon_given"]} '
      f'{_VERDICTS[answer]} on {figures.title(row["embedder"])} ({kind}): EER '
      f'{claim.percent(ignorant["eer"])} of the attacker who does not know of '
      f'it, {claim.percent(lazy["eer"])} with protected enrolment, '
      + ', '.join(map(_found, informed))
    )
    if all(x['attacker'] != attackers.RETRAINED for x in informed):
      words[-1] += '; its network was not trained again'
  if all(row['attacked'] for row in rows):
    words.append(
      'No other speaker model was named in config.privacy.embedders: whether '
      'it is hidden from one that was not attacked is not known.'
    )
  return claim.Claim(text, claim.verdict(answers), words, rule)


_ANSWERS = {
  attackers.FILTERING: 'behind a transform',
  attackers.RETRAINED: 'with the network retrained',
}


def _found(row):
  """Returns what an attacker who knows of the protection finds, in words."""
  how = _ANSWERS.get(row['attacker'], 'refitted')
  if row['attacker'] == attackers.FILTERING:
    how = f'{how} ({figures.answer(row)})'
  clean = row['eer'] - row['more']
  return (
    f'{claim.percent(row["eer"])} {how} (on clean clips {claim.percent(clean)})'
  )


def _worst(answers):
  """Returns whether a protection survives all attackers, or surely not one."""
  if False in answers:
    return False
  return None if None in answers else True


_VERDICTS = {
  True: 'survives',
  False: 'does not survive',
  None: 'is not shown to survive',
}


def _survives(row, ignorant):
  """Returns whether a protection holds against one who knows of it.

  Args:
    row: Of his.
    ignorant: Of the attacker without knowledge, on the model attacked.
  """
  if row['more_low'] == '':
    return None  # too few speakers
  if row['more_low'] > 0:
    return True
  return False if row['more_high'] < _MOST * ignorant['more'] else None


def _spared(results):
  """Returns rows of solvers that spare the emotion, and of all models' UAR.

  At the largest epsilon, on every speaker model.
  """
  names = {*attacks.SOLVERS}
  privacy, utility = (
    [
      row
      for row in figures.loudest(results.table(name))
      if row['protection'] in names
    ]
    for name in ('privacy', 'utility')
  )
  return privacy, utility


def of_study(results: section.Results) -> list[claim.Claim]:
  """Returns every claim with its verdict on a run."""
  return [hidden(results), survives(results)]
