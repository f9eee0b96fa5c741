"""The stages in which trained models are studied."""

import os

from advspeech import (
  figures,
  ownership,
  parallel,
  section,
  storage,
  studies,
)
from advspeech.experiment.run import Run, exists


def is_studied(run: Run, name: str) -> bool:
  """Returns whether a study is complete."""
  return exists(_table(run, studies.resolve(name)))


def study(run: Run, name: str) -> str:
  """Runs a study that is not complete; returns the folder of its tables.

  Args:
    run: Its models are trained.
    name: See `studies.resolve`.

  Raises:
    errors.InputError: If the study cannot be run, or a model is not trained.
  """
  found = studies.resolve(name)
  found.check(run.config)
  found.check_run(run.config)
  found.check_devices(run.config)
  folder = run.paths.study(found.name)
  run.remove_page_without(_table(run, found), 'this study')
  if parallel.is_lead():
    storage.make_folder(folder)
  with ownership.owned(folder):
    if parallel.is_lead() and not storage.exists(_table(run, found)):
      _remove_figures(folder)
    found.run(run, folder)
    results = section.Results(folder, run.config.to_dict(), run.classes)
    parallel.on_lead(lambda: _draw(found, results), f'{folder} has its figures')
  return folder


def _table(run, found):
  return os.path.join(run.paths.study(found.name), found.table)


def _remove_figures(folder):
  """Removes figures of tables that are about to be made, as after others."""
  for name in storage.names(folder):
    if name.endswith('.svg'):  # written last, by which one is known as drawn
      storage.remove(os.path.join(folder, name))


def _draw(found, results):
  """Draws the figures that are not there, as PNG and SVG."""
  for each in found.figures(results):
    path = os.path.join(results.folder, each.name)
    if not storage.exists(f'{path}.svg'):
      figures.save(each.draw(), path)
