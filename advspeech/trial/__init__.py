"""One trial against one speaker verifier: sounds, a table, a figure.

A recording claims to be of the speaker of others, by the score of
`studies.verification`: the cosine of their embeddings.
"""

from advspeech.trial.attacking import COLUMNS, attack
from advspeech.trial.text import format_rows
from advspeech.trial.trial import Trial

__all__ = ['COLUMNS', 'Trial', 'attack', 'format_rows']
