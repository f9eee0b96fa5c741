"""The exceptions whose message is written for the user."""


class InputError(ValueError):
  """Input that the user can correct: says what was expected, came, and to do.

  Launchers print it as one sentence; every other exception is a defect and
  keeps its traceback.
  """


class NonFiniteLossError(InputError):
  """The loss of a training became infinite or not a number."""
