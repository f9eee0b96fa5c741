"""What the study shows on the page."""

from typing import Any

from advspeech import figures as names
from advspeech import section
from advspeech.studies import listening
from advspeech.studies.verification import attacked as attacked_lib
from advspeech.studies.verification import examples, figures, parts


def figure_list(results: section.Results) -> list[section.Figure]:
  """Returns the figures."""
  return [
    section.Figure(
      'rates',
      lambda: figures.rates(results),
      'Impostors accepted and targets rejected against signal-to-noise ratio, '
      'a panel for each pair of embedder attacked and embedder that judges, '
      'beside noise of equal size.',
      'Figure 1 of the paper in numbers: impostors accepted (FAR) and targets '
      'rejected (FRR) at the threshold fixed on clean trials of other '
      'speakers. Broad and pale: the most harmful noise of the same size.',
    ),
    section.Figure(
      'det',
      lambda: figures.det(results),
      'Targets rejected against impostors accepted, on probit axes, a curve '
      'an embedder for the speakers who set thresholds and those judged.',
      'Clean trials: FRR against FAR over all thresholds. Dots: those that '
      'were fixed. Dotted: the speakers they were fixed on.',
    ),
  ]


def make(results: section.Results) -> section.Section:
  """Returns the section."""
  return section.of_package(
    'advspeech.studies.verification',
    {
      'clean': results.table('clean'),
      'attacked': attacked(results),
      'clips': listening.clips(results, _title),
      'embedder_title': figures.title,
      'kind_titles': {
        'target': 'targets rejected',
        'same_sex': 'impostors of the same sex accepted',
        'cross_sex': 'impostors of the other sex accepted',
        'impostor': 'impostors accepted',
      },
    },
  )


def _title(entry):
  """Returns what a player is called: what is sent, and what comes of it."""
  if entry['sent'] == examples.ENROLLED:
    return 'a clip that is enrolled'
  sent = {
    examples.CLEAN: 'as it is',
    examples.ATTACK: f'{names.attack_title(entry["attack"])}',
    examples.NOISE: 'random signs',
  }[entry['sent']]
  verdict = 'accepted' if entry['score'] >= entry['threshold'] else 'rejected'
  return f'{sent}, cosine {entry["score"]:.2f}: {verdict}'


def attacked(results: section.Results) -> list[dict[str, Any]]:
  """Returns rates at the threshold for a small FAR, a row an attack and kind.

  With the row of the control that harms most (`noise`), and what is left of the
  attack in a 16-bit file (`int16`).
  """
  rows = [
    row for row in results.table('attacked') if row['operating'] == parts.FAR
  ]
  keys = ('source', 'embedder', 'attack', 'epsilon_given', 'kind')
  beside: dict[Any, list[Any]] = {}
  for row in rows:
    beside.setdefault(tuple(row[key] for key in keys), []).append(row)
  found = []
  for group in beside.values():
    (made,) = (r for r in group if not r['control'] and r['format'] == 'memory')
    (saved,) = (r for r in group if r['format'] == 'int16')
    noise = max(
      filter(attacked_lib.is_of_its_size, group), key=lambda row: row['rate']
    )
    found.append({**made, 'noise': noise, 'int16': saved})
  return found
