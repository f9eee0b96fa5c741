"""A session with an accelerator: its time, and the rows measured in it."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax

from advspeech import preemption
from advspeech.benchmark import host

if TYPE_CHECKING:  # a bare accelerator machine need not have it
  import ml_collections
from advspeech.benchmark.accelerator.scale import Scale


@dataclasses.dataclass(frozen=True)
class Section:
  """One thing to measure.

  Attributes:
    seconds: Its share of a session, beside those of the other sections.
    measure: Adds rows to a session.
  """

  seconds: float
  measure: Callable[['Session'], None]


class Session:
  """Rows measured so far, and the time that is left.

  Attributes:
    config: See configs/paper.py.
    scale: How much is measured.
  """

  def __init__(
    self,
    config: 'ml_collections.ConfigDict',
    scale: Scale,
    limit_s: float,
    write: Callable[[str, list[dict[str, Any]]], None],
    log: Callable[[str], None],
  ):
    """Starts the clock.

    Args:
      config: See configs/paper.py.
      scale: How much is measured.
      limit_s: Of the whole session.
      write: Writes a section's rows so far.
      log: Prints a line.
    """
    self.config = config
    self.scale = scale
    self._end = time.monotonic() + limit_s
    self._section_end = self._end
    self._write = write
    self._log = log
    self._section = ''
    self._rows: list[dict[str, Any]] = []

  def run(self, sections: Mapping[str, Section]) -> None:
    """Measures sections, one after another; what one leaves is the next one's.

    Args:
      sections: By name, in their order.
    """
    left = sum(section.seconds for section in sections.values())
    for name, section in sections.items():
      share = section.seconds / left
      left -= section.seconds
      self._section, self._rows = name, []
      self._section_end = time.monotonic() + share * self._left(self._end)
      self._log(f'== {name}: {self._left(self._section_end):.0f} s at most')
      try:
        section.measure(self)
      except Exception as e:
        preemption.check_alone()
        # The device is lent for minutes: the other sections go on.
        self.add(failed=_line(e))

  def left_s(self) -> float:
    """Returns seconds left of this section."""
    return self._left(self._section_end)

  @staticmethod
  def _left(end):
    return end - time.monotonic()

  def add(self, **row: Any) -> None:
    """Writes a row of the section, and logs it."""
    self._rows.append(row)
    self._write(self._section, self._rows)
    self._log('  '.join(f'{k} {_short(v)}' for k, v in row.items()))

  @contextlib.contextmanager
  def measuring(self, **row: Any) -> Iterator[dict[str, Any]]:
    """Yields a row to be filled in, and adds it, with what went wrong if so.

    Args:
      **row: What is measured.
    """
    try:
      yield row
    except Exception as e:
      preemption.check_alone()  # a signal may end a compiler that XLA started
      row['failed'] = _line(e)
    self.add(**row)


def _line(error):
  """Returns what an exception says, in one line."""
  text = ' '.join(str(error).split())
  return f'{type(error).__name__}: {text[:200]}'


def _short(value):
  return f'{value:.4g}' if isinstance(value, float) else str(value)


def environment() -> dict[str, Any]:
  """Returns what results belong to: device, memory, versions, flags."""
  stats = jax.devices()[0].memory_stats() or {}
  return {
    **host.environment(),
    'device_memory_gb': stats.get('bytes_limit', 0) / 1e9,
    'xla_flags': os.environ.get('XLA_FLAGS', ''),
  }
