"""What the study of gradients shows on the page."""

from typing import Any

from advspeech import section
from advspeech.studies.gradients import claims, figures

# Of a gradient, with the headings of the page.
_STATISTICS = {
  'early_l1_share': 'L1 norm in the first 5/8, %',
  'outside_energy': 'energy on padding, %',
  'zero_share': 'exact zeros, %',
  'index_50': 'half of it lies before sample',
  'speech_correlation': 'rank correlation with the level of speech',
}


def figure_list(results: section.Results) -> list[section.Figure]:
  """Returns the figures, by topic."""
  found = []
  for name, draw in figures.plans(results.folder).items():
    text = _TEXTS.get(name) or _TEXTS[name.partition('-')[0]]
    topic, alt, caption = text
    found.append(section.Figure(name, draw, alt, caption, topic))
  return found


def make(results: section.Results) -> section.Section:
  """Returns the section."""
  estimates = _estimates(results)
  shown = [x for row in estimates for x in row.values() if isinstance(x, dict)]
  return section.of_package(
    'advspeech.studies.gradients',
    {
      'estimates': estimates,
      'by_speaker': any(row['ci_speaker_low'] != '' for row in shown),
      'headings': _headings(estimates),
      'growth': claims.growth(results),
      'dimensions': claims.DIMENSIONS,
      'member_title': figures.member_title,
    },
  )


def _estimates(results):
  """Returns where the gradients lie, a row a model, by statistic."""
  by_model: dict[str, dict[str, Any]] = {}
  for row in claims.claimed(results):
    if (row['part'], row['setting']) == ('clips', 'start, all') and (
      row['statistic'] in _STATISTICS
    ):
      by_model.setdefault(row['model'], {})[row['statistic']] = row
  return [{'model': name, **found} for name, found in by_model.items()]


def _headings(estimates):
  """Returns the headings of `_estimates`: what, and mean or median."""
  of = {
    key: row[key]['of']
    for row in estimates
    for key in row
    if key in _STATISTICS
  }
  return [
    f'{title} ({of[key]})' if key in of else title
    for key, title in _STATISTICS.items()
  ]


_TEXTS = {
  'figure5': (
    'figure5',
    'The gradient of the loss along one clip, each model below the other, as '
    'it is and on a logarithmic scale; the waveform on top.',
    "The paper's Figure 5: how much each sample of one clip moves the loss. "
    'Where the logarithmic curve falls by decades towards the start, the '
    'gradient vanishes.',
  ),
  'profile-start': (
    'figure5',
    'Mean magnitude of the gradient in each 40 ms frame over the clip, median '
    'and quartiles of all clips, a line a model.',
    'The same over all clips studied, by frames of 40 ms.',
  ),
  'profile-end': (
    'figure5',
    'The same with every recording moved to the end of its clip.',
    'And with every recording moved to the end of its clip, so that padding '
    'lies before it: does the gradient follow the speech, or the end?',
  ),
  'comparison': (
    'comparison',
    "Scatter plots of two models' gradients on the same clips: size, and the "
    'time before which half of it lies.',
    "Two models' gradients of the same clips against each other.",
  ),
  'jacobians': (
    'vanishing',
    'Norm of the derivative of the last state by an earlier one against their '
    'distance, and the mean forget gate.',
    'Equations 8 to 12: how much an early state still matters for the last. A '
    'straight fall on this scale is a vanishing gradient.',
  ),
  'accumulation': (
    'accumulation',
    'Predicted and measured change of the loss against epsilon and against the '
    'number of samples moved.',
    "Equations 3 to 5: with the size of each sample's change fixed, the loss "
    'moves the further the more samples move. A slope of one on both '
    'logarithmic axes is proportion. Of clips with noise of one step of 16 '
    'bit, without which equal samples of digital silence would tie.',
  ),
  'arithmetics': (
    'arithmetics',
    'Share of samples whose gradient is zero or keeps its sign in each '
    'arithmetic, and the error under the attack made with each.',
    "What each number format leaves of the gradient's signs, and how well the "
    'attack works with it. Of clips with noise of one step of 16 bit: in '
    'digital silence equal samples would tie, and rounding would say which one '
    'the gradient is of.',
  ),
}
