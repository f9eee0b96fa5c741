"""Losses a clip, for attacks to ascend.

Attacks ascend the loss they are given; a targeted attack is given another loss.
The DLR loss of AutoAttack needs a third class, so `margin` takes its place
(Croce & Hein 2020).
"""

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


def margin(logits: jax.Array, label: jax.Array) -> jax.Array:
  """Returns the best wrong logit minus the label's, [batch]; > 0 iff wrong.

  Unlike cross entropy it does not saturate where the model is sure. At exactly
  0 two classes tie, and argmax takes the first.

  Args:
    logits: [batch, num_classes] before softmax.
    label: [batch] integers.
  """
  is_label = jnp.arange(logits.shape[-1])[None] == label[:, None]
  wrong = jnp.where(is_label, -jnp.inf, logits).max(-1)
  return wrong - jnp.take_along_axis(logits, label[:, None], axis=-1)[:, 0]


def targeted_cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
  """Returns log softmax(logits)[target], [batch]: highest at the target.

  Args:
    logits: [batch, num_classes] before softmax.
    target: [batch] integers, the classes wanted.
  """
  return -cross_entropy(logits, target)


def targeted_margin(logits: jax.Array, target: jax.Array) -> jax.Array:
  """Returns the target's logit minus the best other, [batch]; > 0 iff there.

  Args:
    logits: [batch, num_classes] before softmax.
    target: [batch] integers, the classes wanted.
  """
  return -margin(logits, target)
