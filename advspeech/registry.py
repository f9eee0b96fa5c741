"""What a config may name: what is built in, or an object of the user's own.

An own one is written `package.module:attribute`. Its module is imported from
the current folder or from where Python finds modules, and it may carry a
`title`, which figures and pages then call it.
"""

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

from advspeech import errors

_MARK = ':'


def is_own(name: str) -> bool:
  """Returns whether a name is one of the user's own, not a built-in one."""
  return _MARK in name


def resolve(kind: str, name: str, builtin: Mapping[str, Any]) -> Any:
  """Returns what a name stands for.

  Args:
    kind: What it is to be, for messages: 'config.models', 'an attack'.
    name: A key of `builtin`, or `package.module:attribute`.
    builtin: By name.

  Raises:
    errors.InputError: If there is no such name, module or attribute.
  """
  if name in builtin:
    return builtin[name]
  if not is_own(name):
    choices = f'one of {", ".join(builtin)}, or your own as ' if builtin else ''
    raise errors.InputError(
      f'{kind} must be {choices}package.module:attribute, got {name!r}'
    )
  module_name, _, attribute = name.partition(_MARK)
  if not attribute.isidentifier():
    raise errors.InputError(
      f'{kind} of your own is written package.module:attribute, got {name!r}'
    )
  module = _import(kind, name, module_name)
  if not hasattr(module, attribute):
    public = [n for n in vars(module) if n.isidentifier() and n[0] != '_']
    raise errors.InputError(
      f'{kind} is {name!r}, and {module_name} has no {attribute}; it has '
      f'{", ".join(public) or "nothing"}'
    )
  return getattr(module, attribute)


def _import(kind, name, module_name):
  """Returns a module, looked for in the current folder too."""
  here = os.getcwd()
  if not {'', here} & {*sys.path}:
    sys.path.append(here)  # for good: it may import others when it is used
  try:
    return importlib.import_module(module_name)
  except ModuleNotFoundError as e:
    # Another module that it imports is missing: a defect of the user's own.
    if e.name is None or not f'{module_name}.'.startswith(f'{e.name}.'):
      raise
  except (ValueError, TypeError):  # '' and '.relative'
    pass
  raise errors.InputError(
    f'{kind} is {name!r}, and there is no module {module_name} in {here} or '
    'among the installed ones; start from the folder that holds it, or '
    'install it'
  )


def short_name(name: str) -> str:
  """Returns a name for files: an own thing's attribute in lower case."""
  return name.partition(_MARK)[2].lower() if is_own(name) else name


def check_short_names(key: str, names) -> None:
  """Refuses two names that would share their files.

  Args:
    key: What the user calls the list.
    names: In it.

  Raises:
    errors.InputError: If two have one `short_name`.
  """
  seen = {}
  for name in names:
    other = seen.setdefault(short_name(name), name)
    if other != name:
      raise errors.InputError(
        f'{key} names {other} and {name}, whose files would both be called '
        f'{short_name(name)}; give one of them another name'
      )


def title(name: str, builtin: Mapping[str, str]) -> str:
  """Returns what figures call something: its `title`, or its own name.

  Args:
    name: As a config names it.
    builtin: Titles of the built-in ones.
  """
  if not is_own(name):
    return builtin.get(name, name)
  last = name.partition(_MARK)[2]
  try:
    found = getattr(resolve('a name', name, {}), 'title', last)
  except (errors.InputError, ImportError):
    return last  # a page is drawn elsewhere too
  return found if found and isinstance(found, str) else last
