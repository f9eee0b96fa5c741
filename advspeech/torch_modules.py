"""PyTorch modules as functions that JAX traces and differentiates.

Through torchax, which runs PyTorch's operations on JAX arrays; the extra
`[torch]` installs both. The result is a victim like any other function.
"""

from collections.abc import Callable
from typing import Any

import jax

from advspeech import errors


def logits_fn_of(module: Any) -> Callable[[jax.Array], jax.Array]:
  """Returns what a module computes in evaluation, of JAX arrays.

  Args:
    module: A torch.nn.Module from audio [batch, time] in [0, 1] to logits
      [batch, num_classes]; it is put into evaluation, and its weights are
      copied as they are now.

  Raises:
    errors.InputError: If torchax is not installed.
  """
  try:
    import torchax
  except ImportError as e:
    raise errors.InputError(
      f'a PyTorch module needs torchax ({e}); install it with '
      "pip install -e '.[torch]'"
    ) from e
  weights, apply = torchax.extract_jax(module.eval())

  def logits_fn(audio):
    # PyTorch broadcasts ranks, which JAX can be set to refuse.
    with jax.numpy_rank_promotion('allow'):
      return apply(weights, (audio,))

  return logits_fn
