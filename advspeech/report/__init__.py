"""The page of a run: what was found, and how it sounds, in one HTML file.

Made of tables, JSON and sounds alone: no model is loaded, nothing is fetched.
"""

from advspeech.report.comparison import compare
from advspeech.report.page import write

__all__ = ['compare', 'write']
