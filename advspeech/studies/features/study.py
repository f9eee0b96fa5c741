"""The study of attacks on features, as a stage runs it."""

from collections.abc import Mapping, Sequence
from typing import Any

from advspeech import claim, input_pipeline, section, studies
from advspeech.studies.features import claims, page, tables
from advspeech.studies.features.settings import Settings


class FeatureStudy(studies.Study):
  """Attacks on features beside end-to-end ones: equations 6 and 7."""

  name = 'features'
  title = 'Attacks on features'
  table = 'budgets.csv'
  numbers: Mapping[str, str] = {
    'num_clips': 'whole [1, inf) or -1',
    'num_scored': 'whole [0, inf) or -1',
  }

  def run(self, run: Any, folder: str) -> None:
    """Attacks every seed's source, judged by all models of that seed.

    Args:
      run: An `experiment.Run`.
      folder: Of the tables.

    Raises:
      errors.InputError: If a model is not trained.
    """
    config = run.config
    settings = Settings(**config.features)
    tables.write(
      folder,
      {
        seed: {name: run.classifier(name, seed) for name in config.models}
        for seed in config.seeds
      },
      config.source,
      input_pipeline.spread(run.data.splits['test'], settings.num_clips),
      task=config.task,
      classes=run.classes,
      settings=settings,
    )

  def figures(self, results: section.Results) -> Sequence[section.Figure]:
    """Returns the figures, which are drawn from the tables alone."""
    return page.figure_list(results)

  def claims(self, results: section.Results) -> Sequence[claim.Claim]:
    """Returns the paper's claims that it tests, with their verdicts."""
    return claims.of_study(results)

  def section(self, results: section.Results) -> section.Section:
    """Returns what the page shows besides the title."""
    return page.make(results)
