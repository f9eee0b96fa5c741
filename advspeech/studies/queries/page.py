"""What the study shows on the page."""

from advspeech import figures as house
from advspeech import section
from advspeech.studies import listening
from advspeech.studies.queries import asking, figures


def figure_list(results: section.Results) -> list[section.Figure]:
  """Returns the figures of what was asked."""
  found = []
  if results.table('errors'):
    found.append(
      section.Figure(
        'errors',
        lambda: figures.errors(results),
        'Error rate, and below it the median margin, against the number of '
        'queries of each clip, of attacks that are given scores, a panel for '
        'each model, beside random signs of the same size.',
        'What so many queries reach, all from one run of each attack. Grey: as '
        'many queries spent on random signs of the same size. Below: how far '
        'the wrong class is behind, in logits; above 0 a clip is judged wrong.',
      )
    )
  if results.table('distances'):
    found.append(
      section.Figure(
        'distances',
        lambda: figures.distances(results),
        'Median signal-to-noise ratio of the nearest clip that is judged wrong '
        'against the number of queries, a line for each model.',
        'How quiet a change becomes to an attacker who sees decisions alone. '
        'Higher is quieter.',
      )
    )
  return found


def make(results: section.Results) -> section.Section:
  """Returns the section."""
  return section.of_package(
    'advspeech.studies.queries',
    {
      'rows': results.table('errors'),
      'distances': results.table('distances'),
      'settings': results.config['queries'],
      'model_title': house.model_name,
      'noise': asking.NOISE,
      'clips': listening.clips(results, _title),
    },
  )


def _title(entry):
  """Returns what a player is called: who asked, and where that led."""
  if not entry['attack']:
    return 'as it is'
  verdict = 'wrong' if entry['is_wrong'] else 'right'
  return (
    f'{house.attack_title(entry["attack"])}, judged {verdict} by '
    f'{house.model_name(entry["model"])} before rounding to 16 bit'
  )
