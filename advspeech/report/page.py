"""Writes the page of a run and its figures."""

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jinja2
import markupsafe

from advspeech import (
  figures,
  provenance,
  storage,
)
from advspeech.report import claims, players, sections, study_claims
from advspeech.report import run as run_lib
from advspeech.studies import features as feature_study
from advspeech.studies import gradients as gradient_study


class Image(NamedTuple):
  """A figure that was drawn.

  Attributes:
    name: Of its files beside the page.
    uri: The PNG itself.
    width: In pixels.
    height: In pixels.
    alt: See `sections.Figure`.
    caption: See `sections.Figure`.
  """

  name: str
  uri: str
  width: int
  height: int
  alt: str
  caption: str


def write(workdir: str) -> str:
  """Writes `report/index.html` and its figures; returns the page's path.

  Args:
    workdir: A run's folder; only its tables, JSON files and sounds are read.

  Raises:
    errors.InputError: If the attack has not been run there.
  """
  run = run_lib.read(workdir)
  folder = run.path('report')
  storage.make_folder(folder)
  clips, num_left_out = players.clips(run)

  def images(found):
    return [draw(each, folder) for each in found]

  of_clips = sections.example_figure_list(run, clips)
  estimates = sections.gradient_estimates(run)
  return render(
    'run.html.j2',
    folder,
    run=run,
    in_short=sections.in_short(run),
    curve=draw(sections.curve_figure(run), folder),
    class_figures=images(sections.class_figures(run)),
    claims=claims.of_run(run),
    beside=sections.beside_the_paper(run),
    clips=clips,
    num_left_out=num_left_out,
    clip_figures={id_: draw(each, folder) for id_, each in of_clips.items()},
    accuracies=sections.accuracies(run),
    architectures=sections.architectures(run),
    attack_figures=images(sections.attack_figures(run)),
    masks=sections.masks(run),
    filters=run_lib.filters(run),
    quality=sections.quality(run),
    measures=sections.measures(),
    gradients={
      topic: images(found)
      for topic, found in sections.gradient_section(run).items()
    },
    gradient_estimates=estimates,
    gradient_headings=sections.gradient_headings(estimates),
    growth=study_claims.growth(run),
    dimensions=study_claims.DIMENSIONS,
    features=images(sections.feature_section(run)),
    feature_comparison=sections.feature_comparison(run),
    equal_errors=sections.equal_errors(run),
    contradicting_sizes=sections.contradicting_sizes(run),
    feature_sounds=_feature_sounds(run),
    checks=sections.checks(run),
    attack_made=sections.made(run.sessions),
    config_json=json.dumps(run.config, indent=2, ensure_ascii=False),
  )


def _feature_sounds(run):
  path = run.path('features', 'examples.json')
  if not storage.exists(path):
    return []
  entries = storage.read_json(path, kind=list)
  return players.feature_sounds(run.path('features'), entries)


def draw(found: sections.Figure, folder: str) -> Image:
  """Draws a figure into the folder and returns it as the page shows it."""
  path = os.path.join(folder, found.name)
  figures.save(found.draw(), path)
  with storage.opened(f'{path}.png', 'rb') as file:
    data = file.read()
  # The first chunk of a PNG, IHDR, begins with width and height.
  width, height = (int.from_bytes(data[i : i + 4], 'big') for i in (16, 20))
  uri = f'data:image/png;base64,{base64.b64encode(data).decode()}'
  return Image(found.name, uri, width, height, found.alt, found.caption)


def render(template: str, folder: str, **context: Any) -> str:
  """Writes a template as `folder`/index.html; returns its path."""
  environment = jinja2.Environment(
    loader=jinja2.PackageLoader('advspeech.report', 'templates'),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.filters.update(
    percent=lambda rate: f'{100 * rate:.1f}',
    rate=_rate,
    points=_points,
    by_class=sections.by_class,
    title=figures.title,
    attack=figures.attack_title,
    transform=figures.transform_title,
    control=figures.control_title,
    member=gradient_study.member_title,
    representation=feature_study.representation_title,
  )
  script, style = (
    environment.loader.get_source(environment, name)[0]
    for name in ('page.js', 'page.css')
  )
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
  page = environment.get_template(template).render(
    # The page's own text; everything else is escaped.
    script=markupsafe.Markup(script),
    style=markupsafe.Markup(style),
    script_digest=digest,
    written=provenance.code(),
    versions=provenance.versions(),
    **context,
  )
  path = os.path.join(folder, 'index.html')
  with storage.replacing(path) as file:
    file.write(page)
  return path


def _points(row: Mapping[str, Any], key: str) -> str:
  """Returns a difference of rates with its intervals, without the unit."""
  return f'{100 * row[key]:+.1f} ' + _interval(row, key)


def _rate(row: Mapping[str, Any]) -> str:
  return f'{100 * row["error_rate"]:.1f} ' + _interval(row, 'ci')


def _interval(row, key):
  """Returns an interval in %, and that by speaker below it, if there is one."""
  low, high = (100 * row[f'{key}_{end}'] for end in ('low', 'high'))
  text = f'[{low:.1f}, {high:.1f}]'
  low, high = (row.get(f'{key}_speaker_{end}', '') for end in ('low', 'high'))
  if low == '':
    return text
  return text + markupsafe.Markup(
    '<span class="voices">by speaker [%.1f, %.1f]</span>'
  ) % (100 * low, 100 * high)
