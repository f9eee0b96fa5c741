"""The table of an attacked recording, for a console."""

from collections.abc import Sequence
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
  widths = [max(map(len, column)) for column in zip(*table, strict=True)]
  aligned = (str.rjust,) * 3 + (str.ljust,) * 3
  return '\n'.join(
    '  '.join(
      align(cell, width)
      for align, cell, width in zip(aligned, cells, widths, strict=True)
    ).rstrip()
    for cells in table
  )
