"""The table of an attacked trial, for a console."""

from collections.abc import Sequence
from typing import Any

from advspeech import sweep
from advspeech.recording import text as text_lib
from advspeech.trial.trial import Trial

_TITLES = {'clean': 'before', 'memory': 'attacked', 'int16': '16-bit file'}
_SHOWN = (*_TITLES, *sweep.CONTROLS)


def format_rows(rows: Sequence[dict[str, Any]], trial: Trial) -> str:
  """Returns the table of `attack`, and below it how to read it.

  Args:
    rows: Of the attack.
    trial: The trial.
  """
  titles = [_TITLES.get(kind, kind.replace('_', ' ')) for kind in _SHOWN]
  table = [('epsilon', 'LSB', 'SNR, dB', *titles)]
  for row in rows:
    table.append(
      (
        row['epsilon_given'],
        f'{row["epsilon_lsb"]:.1f}',
        f'{row["snr_db"]:.1f}',
        *(_answer(row, kind) for kind in _SHOWN),
      )
    )
  sides = (str.rjust,) * 3 + (str.ljust,) * len(_SHOWN)
  return '\n'.join([text_lib.aligned(table, sides), *_notes(trial)])


def _answer(row, kind):
  """Returns a score, and what the threshold says of it."""
  return f'{row[kind]:.3f} {row[f"{kind}_answer"]}'.rstrip()


def _notes(trial):
  """Yields what must be known to read the table."""
  goal = 'a target is to be rejected'
  if not trial.is_rejected:
    goal = 'an impostor is to be accepted'
  at = ''
  if trial.threshold is not None:
    at = f', and {trial.threshold:g} and more is accepted'
  judge = trial.enrolled[0]
  yield f'scores are cosines to {judge}{at}; {goal}'
  if sweep.control_of(trial.attack_name) == 'gaussian':
    yield (
      'random signs have the max-norm of this attack in L2 and are louder than '
      'it: compare it with the other two'
    )
  if trial.is_shared:
    yield (
      f'the attack saw {judge}, by which it is judged, and so does better than '
      'one that has other recordings of the speaker; give those as further '
      '--enrol'
    )
  else:
    yield (
      f'the attack saw {", ".join(trial.enrolled[1:])}, and not what it is '
      'judged by'
    )
