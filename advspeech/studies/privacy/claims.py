"""Whether who speaks can be hidden while the emotion stays, and from whom."""

from advspeech import attacks, claim, section, storage
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
    'signs of the same SNR do (95 % interval by speaker above 0), and no model '
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
    'The attacker is the strongest that was run: one who trains the network '
    'further on clips of other speakers, protected and clean, or, where there '
    'is none, one who does not. Both refit what compares embeddings (centring '
    'and whitening) to protected clips of these speakers, and choose by those '
    'whom they held out: whether that network or the one before, and whether '
    'to enrol clean or protected clips. '
    'At the largest epsilon the protection survives if his EER '
    'is above that on clean clips with the same means (95 % interval by '
    'speaker above 0), on the speaker model attacked and on every other that '
    'is named; it does not if what he has left of it is surely less than half '
    'of what the ignorant one meets on the model attacked.'
  )
  rows, _ = _spared(results)
  if not rows:
    return claim.Claim(
      text, claim.NOT_TESTED, claim.how_to_test('privacy'), rule
    )
  answers, words = [], []
  for row in _strongest(rows):
    same = {key: row[key] for key in ('protection', 'weight')}
    ignorant, lazy = (
      points.by_key(rows, attacker=who, embedder=row['embedder'], **same)[0]
      for who in (attackers.IGNORANT, attackers.LAZY)
    )
    (attacked,) = points.by_key(
      rows, attacker=attackers.IGNORANT, attacked=1, **same
    )
    answer = _survives(row, attacked)
    answers.append(answer)
    kind = 'attacked' if row['attacked'] else 'not attacked'
    how = _how(row, same, rows)
    words.append(
      f'{figures.protection(row)} at {row["epsilon_given"]} '
      f'{_VERDICTS[answer]} on {figures.title(row["embedder"])} ({kind}): EER '
      f'{claim.percent(ignorant["eer"])} of the attacker who does not know of '
      f'it, {claim.percent(lazy["eer"])} with protected enrolment, '
      f'{how}, who has {claim.percent(row["eer"] - row["more"])} on clean clips'
    )
  if all(row['attacked'] for row in rows):
    words.append(
      'No other speaker model was named in config.privacy.embedders: whether '
      'it is hidden from one that was not attacked is not known.'
    )
  return claim.Claim(text, claim.verdict(answers), words, rule)


def _strongest(rows):
  """Returns the rows of the strongest attacker that each embedder met."""
  found = []
  for own in storage.grouped(rows, ('embedder',)).values():
    trained = points.by_key(own, attacker=attackers.RETRAINED)
    found += trained or points.by_key(own, attacker=attackers.SEMI)
  return found


def _how(row, same, rows):
  """Returns the EER of the strongest attacker in words."""
  if row['attacker'] == attackers.SEMI:
    return (
      f'{claim.percent(row["eer"])} refitted, its network not trained again'
    )
  (semi,) = points.by_key(
    rows, attacker=attackers.SEMI, embedder=row['embedder'], **same
  )
  kept = (
    ''
    if row['network_retrained']
    else ' (by the network as it was, which finds more of those held out)'
  )
  return (
    f'{claim.percent(semi["eer"])} refitted, {claim.percent(row["eer"])} with '
    f'the network retrained{kept}'
  )


_VERDICTS = {
  True: 'survives',
  False: 'does not survive',
  None: 'is not shown to survive',
}


def _survives(row, ignorant):
  """Returns whether a protection holds against the strongest attacker.

  Args:
    row: His own.
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
