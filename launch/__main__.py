"""Lists the programs: python -m launch."""

import ast
import os
import sys

from launch import console


def main():
  """Prints a line on each program."""
  console.never_fail()
  others = [arg for arg in sys.argv[1:] if not console.wants_help(['', arg])]
  if others:
    name = others[0].removeprefix('launch.')
    console.fail(
      f'programs are started as python -m launch.NAME, got {others[0]!r}; '
      + (
        f'write python -m launch.{name}'
        if name in programs()
        else 'python -m launch lists them'
      )
    )
  print('python -m launch.NAME, with --help for its options:\n')
  for name, line in programs().items():
    print(f'  {name:<10}  {line}')


def programs() -> dict[str, str]:
  """Returns the first line of each program's docstring, by its name."""
  folder = os.path.dirname(os.path.abspath(__file__))
  found = {}
  for name in sorted(os.listdir(folder)):
    path = os.path.join(folder, name)
    if not name.endswith('.py') or name.startswith('__'):
      continue
    with open(path, encoding='utf-8') as file:
      text = file.read()
    if "if __name__ == '__main__':" in text:
      docstring = ast.get_docstring(ast.parse(text))
      found[name.removesuffix('.py')] = docstring.splitlines()[0]
  return found


if __name__ == '__main__':
  main()
