"""The table of an attacked recording, for a console."""

from collections.abc import Callable, Sequence
from typing import Any

from advspeech import sweep


def format_rows(rows: Sequence[dict[str, Any]], attack_name: str) -> str:
  """Returns the table of `attack` for a console, as wide as its classes are."""
  control = sweep.control_of(attack_name)
  noise = control.replace('_', ' ')
  table = [('epsilon', 'LSB', 'SNR, dB', 'attacked', '16-bit file', noise)]
  for row in rows:
    lsb = row['epsilon_lsb']
    table.append(
      (
        row['epsilon_given'],
        lsb if lsb == '' else f'{lsb:.1f}',
        f'{row["snr_db"]:.1f}',
        *(row[key] for key in ('memory', 'int16', control)),
      )
    )
  return aligned(table, (str.rjust,) * 3 + (str.ljust,) * 3)


def aligned(
  table: Sequence[Sequence[str]], sides: Sequence[Callable[[str, int], str]]
) -> str:
  """Returns a table as lines, its columns as wide as their widest cell.

  Args:
    table: Rows of cells.
    sides: Of each column `str.ljust` or `str.rjust`.
  """
  widths = [max(map(len, column)) for column in zip(*table, strict=True)]
  return '\n'.join(
    '  '.join(
      align(cell, width)
      for align, cell, width in zip(sides, cells, widths, strict=True)
    ).rstrip()
    for cells in table
  )
