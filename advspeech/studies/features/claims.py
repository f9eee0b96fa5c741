"""The claim of the paper that the study of attacks on features tests."""

import collections
from typing import Any

from advspeech import claim, section
from advspeech.studies.features import figures
from advspeech.sweep import rates

Row = dict[str, Any]


def conversion(results: section.Results) -> claim.Claim:
  """Returns whether conversion loss can be the larger part."""
  text = (
    'Attacks on features carry a conversion loss besides their perturbation, '
    'and it can be the larger of the two (Figure 3, equation 6).'
  )
  rule = (
    'For some feature and the smallest budget tried the conversion loss has '
    'the larger L2 norm in more than half of the clips (interval, by speaker '
    'where there is one).'
  )
  rows = [
    row
    for row in results.table('budgets')
    if row['representation'] != 'waveform'
    and row['method'] == 'fgsm'
    and row['kind'] == 'epsilon'
    and row['target'] == row['source']  # sizes are the same for every judge
    and row['budget'] > 0
    and row['num_attainable'] > 0
  ]
  if not rows:
    return claim.Claim(
      text,
      claim.NOT_TESTED,
      claim.how_to_test('features'),
      rule,
    )
  smallest: dict[tuple[str, str], Row] = {}
  for row in rows:
    key = (row['representation'], row['through'], row['seed'])
    if row['budget'] <= smallest.get(key, row)['budget']:
      smallest[key] = row
  answers, words = collections.defaultdict(list), []
  for (name, through, seed), row in smallest.items():
    known = {'estimate': row['conversion_larger']} | {
      f'ci_{end}': row[f'conversion_larger_{end}'] for end in rates.ENDS
    }
    answers[seed].append(claim.within(known, 0.5, 1))
    words.append(
      f'{figures.representation_title(name)}, gradient through '
      f'{through}, seed {seed}: {claim.share(known)} of clips at budget '
      f'{row["budget"]:g}'
    )
  found = [
    True if True in of_seed else None if None in of_seed else False
    for of_seed in answers.values()
  ]
  return claim.Claim(text, claim.verdict(found), words, rule)


def of_study(results: section.Results) -> list[claim.Claim]:
  """Returns every claim with its verdict on a run."""
  return [conversion(results)]
