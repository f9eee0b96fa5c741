"""Losses a clip, for attacks to ascend."""

import jax
import jax.numpy as jnp


def cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
  """Returns -log softmax(logits)[label], [batch].

  Args:
    logits: [batch, num_classes] before softmax.
    label: [batch] integers.
  """
  log_probs = jax.nn.log_softmax(logits)
  return -jnp.take_along_axis(log_probs, label[:, None], axis=-1)[:, 0]
