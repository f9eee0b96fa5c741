"""One recording against one trained classifier: sounds, a table, a figure."""

from advspeech.recording.attacking import COLUMNS, attack, attack_by_name
from advspeech.recording.output import FILE, output_folder
from advspeech.recording.text import format_rows

__all__ = [
  'COLUMNS',
  'FILE',
  'attack',
  'attack_by_name',
  'format_rows',
  'output_folder',
]
