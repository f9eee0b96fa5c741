"""Every key of a config with its default and its comment, as Markdown.

  python -m configs

prints the tables of configs/README.md: a section of the config each.
"""

import ast
import pathlib
import textwrap
from collections.abc import Iterator

_RECIPE = pathlib.Path(__file__).with_name('paper.py')


def entries() -> Iterator[tuple[str, str, str]]:
  """Yields (key, default, comment) of the paper's recipe, as written there."""
  source = _RECIPE.read_text(encoding='utf-8')
  (get_config,) = (
    node
    for node in ast.parse(source).body
    if isinstance(node, ast.FunctionDef) and node.name == 'get_config'
  )
  (made,) = (x for x in ast.walk(get_config) if isinstance(x, ast.Return))
  yield from _entries(made.value.args[0], '', source, source.splitlines())


def _entries(node, prefix, source, lines):
  """Yields the entries of a dict's literal, those of dicts in it in turn."""
  for key, value in zip(node.keys, node.values, strict=True):
    name = f'{prefix}{key.value}'
    comment = _above(lines, key.lineno)
    if isinstance(value, ast.Dict) and value.keys:
      if comment:
        yield name, '', comment
      yield from _entries(value, f'{name}.', source, lines)
    else:
      default = ast.get_source_segment(source, value)
      yield name, ' '.join(default.split()), comment


def _above(lines, number):
  """Returns the comment on the lines above a line, counted from 1."""
  found = []
  for line in reversed(lines[: number - 1]):
    if not line.lstrip().startswith('#'):
      break
    found.append(line.strip().removeprefix('#').strip())
  return ' '.join(reversed(found))


def tables() -> str:
  """Returns the keys as Markdown, those of a section in a table of its own."""
  sections: dict[str, list[tuple[str, str, str]]] = {}
  for name, default, comment in entries():
    first = name.partition('.')[0]
    is_section = '.' in name or not default
    sections.setdefault(first if is_section else '', []).append(
      (name, default, comment)
    )
  return '\n'.join(_table(rows) for rows in sections.values())


def _table(rows):
  lines = ['| key | default | |', '|---|---|---|']
  for name, default, comment in rows:
    shown = textwrap.shorten(default, 60, placeholder=' ...')
    cell = f'`{shown}`' if shown else ''
    lines.append(f'| `{name}` | {cell} | {comment.replace("|", "/")} |')
  return '\n'.join(lines) + '\n'


if __name__ == '__main__':
  print(tables())
