"""What the study shows on the page."""

from advspeech import figures as names
from advspeech import section
from advspeech.studies import listening
from advspeech.studies.privacy import attackers, figures


def figure_list(results: section.Results) -> list[section.Figure]:
  """Returns the figures."""
  return [
    section.Figure(
      'pareto',
      lambda: figures.pareto(results),
      'EER of the attacker against UAR of the emotion, a point a protection, a '
      'panel an embedder and attacker.',
      'The higher, the better hidden; the further right, the more emotion is '
      'left (mean of the models of the run). Ringed: no other protection is '
      'better in both, in half of the resamples of speakers or more.',
    ),
    section.Figure(
      'who',
      lambda: figures.who(results),
      'EER under each protection of attackers who do not know of it, who enrol '
      'protected clips, who refit their speaker model to protected speech, who '
      'put a transform before it, and who train its network.',
      'Whether the protection survives those who know of it: an EER that falls '
      'back to the clean one hides nobody.',
    ),
  ]


def make(results: section.Results) -> section.Section:
  """Returns the section."""
  return section.of_package(
    'advspeech.studies.privacy',
    {
      'utility': results.table('utility'),
      'privacy': results.table('privacy'),
      'protection_title': figures.protection,
      'is_retrained': any(
        row['attacker'] == attackers.RETRAINED
        for row in results.table('privacy')
      ),
      'attacker_titles': figures.ATTACKER_TITLES,
      'answer_title': figures.answer,
      'embedder_title': figures.title,
      'model_title': names.model_name,
      'clips': listening.clips(results, figures.protection),
    },
  )
