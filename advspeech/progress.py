"""How far long work is: a bar on a terminal, lines in a log."""

import logging
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

logger = logging.getLogger(__name__)
Item = TypeVar('Item')

# Between the lines of a log, as of Slurm, that no bar can be drawn in.
EVERY_S = 60.0


class Meter:
  """Work of known size; a context manager around it."""

  def __init__(
    self,
    name: str,
    total: int,
    unit: str,
    *,
    done: int = 0,
    shown: bool = True,
  ):
    """Begins.

    Args:
      name: What is done, such as 'attacking'.
      total: Units of work.
      unit: One of them, such as 'part'.
      done: Those that were done before.
      shown: Whether anything is logged: of several processes, by one.
    """
    import tqdm

    # None: where there is a terminal.
    self._bar = tqdm.tqdm(
      desc=name,
      total=total,
      unit=unit,
      initial=done,
      disable=None if shown else True,
    )
    self._in_lines = shown and self._bar.disable
    self._name, self._total, self._unit = name, total, unit
    self._before = self._done = done
    self._began = self._logged = time.monotonic()

  def __enter__(self):
    """Returns itself."""
    return self

  def __exit__(self, *exc_info):
    """Leaves the bar as it is."""
    self.close()

  def close(self) -> None:
    """Ends the bar, which stays where it is."""
    self._bar.close()

  def update(self, what: str = '') -> None:
    """Tells that one more unit is done, and perhaps what it was."""
    self._done += 1
    if what:
      self._bar.set_postfix_str(what, refresh=False)
    self._bar.update()
    now = time.monotonic()
    if self._in_lines and now - self._logged >= EVERY_S:
      self._logged = now
      rate = (now - self._began) / (self._done - self._before)
      logger.info(
        '%s: %d of %d %s, %s left',
        self._name,
        self._done,
        self._total,
        _plural(self._unit),
        duration(rate * (self._total - self._done)),
      )


def duration(seconds: float) -> str:
  """Returns a time in the unit that a reader would take: s, min, h or days."""
  if seconds < 600:
    return f'{seconds:.0f} s'
  if seconds < 2 * 3600:
    return f'{seconds / 60:.0f} min'
  if seconds < 48 * 3600:
    return f'{seconds / 3600:.1f} h'
  return f'{seconds / 86_400:.1f} days'


def _plural(unit):
  """Returns a unit as several of it are called: parts, batches."""
  return f'{unit}es' if unit.endswith(('ch', 's', 'sh', 'x')) else f'{unit}s'


def track(
  items: Iterable[Item], name: str, total: int, unit: str, shown: bool = True
) -> Iterator[Item]:
  """Yields items, telling how many are done; arguments as `Meter`'s."""
  with Meter(name, total, unit, shown=shown) as progress:
    for item in items:
      yield item
      progress.update()
