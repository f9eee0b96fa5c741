"""What a check found."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal


@dataclasses.dataclass(frozen=True)
class Finding:
  """Something that a reader of the results must know.

  Attributes:
    name: The check's.
    severity: 'warning' (the result needs a word) or 'error' (it is not what it
      says it is).
    sentence: What was found, with its values, and what to do.
    values: The values by name.
  """

  name: str
  severity: Literal['warning', 'error']
  sentence: str
  values: Mapping[str, Any]
