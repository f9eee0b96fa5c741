"""Writes the page of a run and its figures."""

import base64
import collections
import hashlib
import io
import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jinja2
import markupsafe
import PIL.Image

from advspeech import figures, provenance, section, storage, studies
from advspeech.report import (
  claims,
  players,
  reading,
  section_figures,
  sections,
  transformed,
)

_SPOKEN = markupsafe.Markup('<span title="%s">%s</span>')
_VOICES = markupsafe.Markup(
  '<span class="voices">by speaker [%.1f, %.1f]</span>'
)


class Study(NamedTuple):
  """A study's part of the page.

  Attributes:
    name: Of its folder.
    given: By which it is named in the config.
    title: Of its section.
    section: HTML; '' where it was not run.
  """

  name: str
  given: str
  title: str
  section: str


class Image(NamedTuple):
  """A figure that was drawn.

  Attributes:
    path: Of its files, from the page, without their endings.
    uri: The figure itself, as WebP: all pixels of the PNG in half the bytes.
    width: In pixels.
    height: In pixels.
    alt: See `section.Figure`.
    caption: See `section.Figure`.
  """

  path: str
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
  run = reading.read(workdir)
  folder = run.path('report')
  storage.make_folder(folder)
  clips, num_left_out = players.clips(run)

  def images(found):
    return [draw(each, folder) for each in found]

  of_clips = section_figures.example_figure_list(run, clips)
  shown = [_study(run, name, results) for name, results in run.studies.items()]
  return render(
    'run.html.j2',
    folder,
    run=run,
    in_short=sections.in_short(run),
    spread=sections.spread(run),
    curve=draw(section_figures.curve_figure(run), folder),
    class_figures=images(section_figures.class_figures(run)),
    claims=claims.of_run(run),
    beside=sections.beside_the_paper(run),
    clips=clips,
    num_left_out=num_left_out,
    clip_figures={id_: draw(each, folder) for id_, each in of_clips.items()},
    accuracies=sections.accuracies(run),
    architectures=sections.architectures(run),
    attack_figures=images(section_figures.attack_figures(run)),
    masks=sections.masks(run),
    filters=transformed.filters(run),
    quality=sections.quality(run),
    measures=sections.measures(),
    studies=shown,
    study_entries=[(each.name, each.title) for each in shown],
    checks=sections.checks(run),
    attack_sessions=sections.sessions_of(run.sessions),
    config_json=json.dumps(run.config, indent=2, ensure_ascii=False),
  )


def _study(run, given, results):
  """Returns the part of a study, with its figures as they lie in its folder."""
  study = studies.resolve(given)
  if not studies.is_complete(study, results.folder):
    return Study(study.name, given, study.title, '')
  images = collections.defaultdict(list)
  for each in study.figures(results):
    images[each.topic].append(
      draw(each, results.folder, f'../studies/{study.name}/')
    )
  found = study.section(results)
  environment = _environment()
  section = environment.from_string(found.template).render(
    figures=dict(images), **found.context
  )
  # What a study's template writes is escaped there.
  return Study(study.name, given, study.title, markupsafe.Markup(section))


def draw(found: section.Figure, folder: str, link: str = '') -> Image:
  """Returns a figure as the page shows it; draws it if it is not there.

  Args:
    found: What to draw.
    folder: Where its files go.
    link: Of the folder, from the page.
  """
  path = os.path.join(folder, found.name)
  if not link or not storage.exists(f'{path}.svg'):
    figures.save(found.draw(), path)
  with storage.opened(f'{path}.png', 'rb') as file, PIL.Image.open(file) as png:
    width, height = png.size
    embedded = io.BytesIO()
    png.convert('RGB').save(embedded, 'webp', lossless=True, quality=30)
  data = base64.b64encode(embedded.getvalue()).decode()
  return Image(
    link + found.name,
    f'data:image/webp;base64,{data}',
    width,
    height,
    found.alt,
    found.caption,
  )


def render(template: str, folder: str, **context: Any) -> str:
  """Writes a template as `folder`/index.html; returns its path."""
  environment = _environment()
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


def _environment():
  """Returns Jinja with the filters of all templates."""
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
    broken=_broken,
    mean=_mean,
    points=_points,
    by_class=sections.by_class,
    title=figures.title,
    attack=figures.attack_title,
    transform=figures.transform_title,
    control=figures.control_title,
  )
  return environment


def _points(row: Mapping[str, Any], key: str) -> str:
  """Returns a difference of rates with its intervals, without the unit."""
  return f'{100 * row[key]:+.1f} ' + _interval(row, key)


def _rate(row: Mapping[str, Any]) -> str:
  return f'{100 * row["error_rate"]:.1f} ' + _interval(row, 'ci')


def _broken(row: Mapping[str, Any]) -> str:
  """Returns the error over the clips that were right when clean."""
  return f'{100 * row["broken_rate"]:.1f} ' + _interval(row, 'broken')


def _mean(row: Mapping[str, Any], key: str = '') -> str:
  """Returns a mean over trainings, with its intervals where it has some."""
  value = 100 * row[key or 'error_rate']
  text = f'{value:+.1f}' if key else f'{value:.1f}'
  ends = key or 'ci'
  return text if row[f'{ends}_low'] == '' else f'{text} ' + _interval(row, ends)


def _interval(row, key):
  """Returns an interval in %, and that by speaker below it, if there is one.

  In words where a mouse rests on it.
  """
  low, high = (100 * row[f'{key}_{end}'] for end in ('low', 'high'))
  many = row.get('num_trainings', 1) > 1
  drawn = 'trainings and clips' if many else 'clips'
  words = (
    f'between {low:.1f} and {high:.1f}, with the {drawn} for what was drawn'
  )
  text = f'[{low:.1f}, {high:.1f}]'
  low, high = (row.get(f'{key}_speaker_{end}', '') for end in ('low', 'high'))
  if low == '':
    return _SPOKEN % (words, text)
  low, high = 100 * low, 100 * high
  words += f'; between {low:.1f} and {high:.1f}, if speakers were'
  return _SPOKEN % (words, text) + _VOICES % (low, high)
