"""The page of a run: figures and tables in one HTML file, no network."""

import base64
import importlib.metadata
import json
import mimetypes
import os
import platform
from typing import Any

import jinja2

from advspeech import errors, figures, storage

_CAPTIONS = {
  'attacks': (
    'Error under every attack, mean over seeds; grey: the controls of the '
    'first one.'
  ),
  'transfer': (
    'Error of every model under the first attack made on every source, at the '
    'epsilon at which it exceeds random signs by most.'
  ),
}
# Figure 6 of the paper, read off its text: (clean error, epsilon, error).
PAPER = {
  'gender': {'wavernn': (0.12, 0.02, 0.31), 'wavecnn': (0.12, 0.02, 0.25)},
  'emotion': {'wavernn': (0.16, 0.015, 0.48), 'wavecnn': (0.15, 0.015, 0.425)},
  'speaker': {'wavernn': (0.31, 0.032, 0.62), 'wavecnn': (0.29, 0.032, 0.44)},
}
_PACKAGES = ('jax', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'librosa')


def write(workdir: str) -> str:
  """Writes `report/index.html` and its figures; returns the page's path.

  Args:
    workdir: A run's folder; only its tables and JSON files are read.

  Raises:
    errors.InputError: If the attack has not been run there.
  """
  table = os.path.join(workdir, 'attack', 'sweep.csv')
  if not os.path.exists(table):
    raise errors.InputError(
      f'{workdir} holds no attack/sweep.csv; run python -m launch.attack (or '
      'launch.reproduce) with the same --config and --workdir first'
    )
  folder = os.path.join(workdir, 'report')
  os.makedirs(folder, exist_ok=True)
  config = storage.read_json(os.path.join(workdir, 'config.json'))
  summaries = [
    {
      'member': model,
      **storage.read_json(
        os.path.join(workdir, f'{model}-seed{seed}', 'summary.json')
      ),
    }
    for seed in config['seeds']
    for model in config['models']
  ]
  num_classes = len(summaries[0]['classes'])
  rows = [
    {**row, 'num_classes': num_classes} for row in storage.read_table(table)
  ]
  ours = _plain(rows, config)
  name = f'figure6-{config["task"]}'
  drawn = {
    name: figures.error_against_epsilon(
      [row for row in ours if row['attack'] == ours[0]['attack']]
    ),
    **_more_figures(rows, ours),
  }
  for each, figure in drawn.items():
    figures.save(figure, os.path.join(folder, each))
  environment = jinja2.Environment(
    loader=jinja2.PackageLoader('advspeech', ''),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.filters.update(
    percent=lambda x: '' if x == '' else f'{100 * x:.1f}',
    rate=_rate,
    title=_title,
  )
  page = environment.get_template('report.html.j2').render(
    config=config,
    config_json=json.dumps(config, indent=2),
    summaries=summaries,
    rows=[row for row in ours if row['attack'] == ours[0]['attack']],
    num_rows=len(rows),
    comparison=_comparison(config['task'], ours),
    more_figures={
      each: (_CAPTIONS[each], _data_uri(os.path.join(folder, f'{each}.png')))
      for each in drawn
      if each != name
    },
    findings=storage.read_json(os.path.join(workdir, 'attack', 'checks.json')),
    transforms=_transforms(rows),
    masks=_masks(rows, config),
    num_classes=num_classes,
    figure=_data_uri(os.path.join(folder, f'{name}.png')),
    figure_name=name,
    examples=_examples(workdir),
    versions=_versions(),
  )
  path = os.path.join(folder, 'index.html')
  with open(f'{path}.tmp', 'w', encoding='utf-8') as file:
    file.write(page)
  os.replace(f'{path}.tmp', path)
  return path


def _comparison(task: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
  """Returns the paper's numbers with ours at the epsilon nearest to each."""
  result = []
  for target, (clean, epsilon, attacked) in PAPER.get(task, {}).items():
    ours = [
      r
      for r in rows
      if (r['target'], r['attack'], r['control']) == (target, 'fgsm', '')
    ]
    if not ours:
      continue
    nearest = min((r['epsilon'] for r in ours), key=lambda e: abs(e - epsilon))
    result.append(
      {
        'target': target,
        'paper_clean': clean,
        'paper_epsilon': epsilon,
        'paper_attacked': attacked,
        'epsilon': nearest,
        'clean': [r for r in ours if r['epsilon'] == 0],
        'attacked': [r for r in ours if r['epsilon'] == nearest],
        'control': [
          r
          for r in rows
          if r['target'] == target
          and r['attack'] == 'fgsm'
          and r['control'] == 'random_sign'
          and r['epsilon'] == nearest
        ],
      }
    )
  return result


def _plain(rows, config):
  """Returns rows of the paper's setting: one source, its own seed, one mask."""
  mask = config['sweep']['masks'][0]
  return [
    row
    for row in rows
    if row['source'] == config['source']
    and row['seed'] == row['target_seed']
    and row['mask'] == mask
    and not row['transform']
    and row['epsilon_fs'] != ''  # radii of features are on no axis here
    and row['error_rate'] != ''
  ]


def _more_figures(rows, ours):
  """Returns figures by name, of what the sweep holds beyond FGSM's curve."""
  drawn = {}
  if len({row['attack'] for row in ours}) > 1:
    drawn['attacks'] = figures.error_by_attack(ours)
  matrix = [
    row
    for row in rows
    if (row['attack'], row['mask'], row['control'], row['transform'])
    == (ours[0]['attack'], ours[0]['mask'], '', '')
  ]
  if len({(row['source'], row['seed']) for row in matrix}) > 1:
    epsilon = _telling_epsilon(ours)
    drawn['transfer'] = figures.transfer_matrix(
      [row for row in matrix if row['epsilon'] == epsilon]
    )
  return drawn


def _telling_epsilon(rows):
  """Returns the epsilon at which the attack exceeds its control by most."""
  excess: dict[float, list[float]] = {}
  for row in rows:
    if row['control'] == 'random_sign' and row['attack'] == rows[0]['attack']:
      excess.setdefault(row['epsilon'], []).append(row['excess'])
  return max(excess, key=lambda epsilon: sum(excess[epsilon]))


def _transforms(rows):
  """Returns what each transform does to clean and attacked clips."""
  return [row for row in rows if row['transform'] and row['error_rate'] != '']


def _masks(rows, config):
  """Returns FGSM's rows for each mask, where there are several."""
  if len(config['sweep']['masks']) < 2:
    return []
  return [
    row
    for row in rows
    if row['attack'] == 'fgsm'
    and row['source'] == config['source']
    and row['seed'] == row['target_seed']
    and not (row['control'] or row['transform'])
    and row['error_rate'] != ''
  ]


def _examples(workdir):
  """Returns the example clips with their sound as data URIs."""
  folder = os.path.join(workdir, 'attack')
  return [
    {
      **entry,
      **{
        kind: _data_uri(os.path.join(folder, 'audio', entry[kind]))
        for kind in ('original', 'adversarial')
      },
    }
    for entry in storage.read_json(os.path.join(folder, 'examples.json'))
  ]


def _rate(row: dict[str, Any]) -> str:
  return (
    f'{100 * row["error_rate"]:.1f} '
    f'[{100 * row["ci_low"]:.1f}, {100 * row["ci_high"]:.1f}]'
  )


def _title(model: str) -> str:
  return figures.title(model)


def _versions():
  return {
    'Python': platform.python_version(),
    **{name: importlib.metadata.version(name) for name in _PACKAGES},
  }


def _data_uri(path):
  with open(path, 'rb') as file:
    data = base64.b64encode(file.read()).decode()
  return f'data:{mimetypes.guess_type(path)[0]};base64,{data}'
