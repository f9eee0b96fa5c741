"""The study of attacks on features, as a stage runs it."""

from collections.abc import Mapping
from typing import Any

from advspeech import input_pipeline, studies
from advspeech.studies.features import claims, page, tables
from advspeech.studies.features.settings import Settings


class FeatureStudy(studies.Study):
  """Attacks on features beside end-to-end ones: equations 6 and 7."""

  name = 'features'
  title = 'Attacks on features'
  table = 'budgets.csv'
  figures = staticmethod(page.figure_list)
  claims = staticmethod(claims.of_study)
  section = staticmethod(page.make)
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


STUDY = FeatureStudy()
