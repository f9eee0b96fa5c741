"""What a study, or a part of a sweep, shows on a run's page."""

import dataclasses
import importlib.resources
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from advspeech import storage

if TYPE_CHECKING:  # a bare accelerator machine need not have it
  from matplotlib import figure

# A template that shows every figure, and nothing else.
ALL_FIGURES = """{% from 'macros.html.j2' import plot %}
{% for images in figures.values() %}{% for image in images %}
{{ plot(image) }}
{% endfor %}{% endfor %}"""


class Figure(NamedTuple):
  """A figure of the page.

  Attributes:
    name: Of its files.
    draw: Draws it.
    alt: What it shows, for those who do not see it.
    caption: What to make of it.
    topic: Where in its section it stands.
  """

  name: str
  draw: 'Callable[[], figure.Figure]'
  alt: str
  caption: str
  topic: str = ''


@dataclasses.dataclass(frozen=True)
class Results:
  """What a study left in its folder, and the run that it is of.

  Attributes:
    folder: Of the study.
    config: The run's, as in `config.json`.
    classes: That its models tell apart.
  """

  folder: str
  config: Mapping[str, Any]
  classes: Sequence[str]

  def table(self, name: str) -> list[dict[str, Any]]:
    """Returns the rows of `<name>.csv`, none where it is not there."""
    path = os.path.join(self.folder, f'{name}.csv')
    return storage.read_table(path) if storage.exists(path) else []

  def entries(self, name: str) -> list[dict[str, Any]]:
    """Returns the list in `<name>.json`, empty where it is not there."""
    path = os.path.join(self.folder, f'{name}.json')
    return storage.read_json(path, kind=list) if storage.exists(path) else []


class Section(NamedTuple):
  """A study's part of the page.

  Attributes:
    template: Jinja. Besides the context there are `figures`, a mapping of
      topics to lists of images, and the macros and filters of the report.
    context: What the template uses.
  """

  template: str
  context: Mapping[str, Any]


def of_package(package: str, context: Mapping[str, Any]) -> Section:
  """Returns a section whose template is a package's `section.html.j2`.

  Args:
    package: Of the study, as it is imported.
    context: What the template uses.
  """
  template = importlib.resources.files(package) / 'section.html.j2'
  return Section(template.read_text(encoding='utf-8'), context)
