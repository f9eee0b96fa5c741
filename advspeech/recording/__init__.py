"""One recording against one trained classifier: sounds, a table, a figure."""

from advspeech.recording.attacking import COLUMNS, attack
from advspeech.recording.output import FILE, output_folder
from advspeech.recording.text import format_rows

__all__ = ['COLUMNS', 'FILE', 'attack', 'format_rows', 'output_folder']
