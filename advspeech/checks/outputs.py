"""Whether logits and gradients are what an attack takes them for."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from advspeech.checks.finding import Finding

# Rows of probabilities sum to 1 this closely, in float32 or bfloat16.
SOFTMAX_TOLERANCE = 1e-2
# Shares of zero gradients that are worth a word, and that spoil an attack.
ZERO_SHARE_WARNING, ZERO_SHARE_ERROR = 0.01, 0.5


class GradientShares(NamedTuple):
  """Shares of input gradients that are exactly zero, and not finite."""

  zero: float
  nonfinite: float


def logits_look_like_softmax(logits: npt.ArrayLike) -> list[Finding]:
  """Finds probabilities where logits belong.

  Args:
    logits: [batch, num_classes] as the model returned them.
  """
  logits = np.asarray(logits, np.float64)
  sums = logits.sum(-1)
  apart = float(np.abs(sums - 1).max())
  if logits.min() < 0 or logits.max() > 1 or apart > SOFTMAX_TOLERANCE:
    return []
  return [
    Finding(
      'logits_look_like_softmax',
      'error',
      f'all {len(logits)} rows of logits lie in [0, 1] and sum to 1 within '
      f'{apart:.1g}: a softmax before the loss flattens its gradient, so '
      'return logits without it',
      {'num_clips': len(logits), 'max_distance_from_one': apart},
    )
  ]


def gradient_shares(input_grads: jax.Array) -> GradientShares:
  """Returns the shares of zero and of non-finite gradients.

  Args:
    input_grads: [batch, time] of the loss by the samples.
  """
  input_grads = jnp.asarray(input_grads)
  return GradientShares(
    float(jnp.mean(input_grads == 0)),
    float(jnp.mean(~jnp.isfinite(input_grads))),
  )


def gradient_findings(
  share_zero: float, share_nonfinite: float
) -> list[Finding]:
  """Finds gradients that show no direction.

  Args:
    share_zero: Of samples whose gradient is exactly 0; see `gradient_shares`.
    share_nonfinite: Of samples whose gradient is infinite or not a number.
  """
  findings = []
  if share_zero > ZERO_SHARE_WARNING:
    findings.append(
      Finding(
        'zero_gradients',
        'error' if share_zero > ZERO_SHARE_ERROR else 'warning',
        f'{share_zero:.1%} of input gradients are exactly zero, and the attack '
        'leaves those samples alone: look for saturated activations, a loss '
        'that underflows or a step without gradient, or attack the margin '
        'of the logits instead of the cross entropy',
        {'share_zero': share_zero},
      )
    )
  if share_nonfinite > 0:
    findings.append(
      Finding(
        'nonfinite_gradients',
        'error',
        f'{share_nonfinite:.1%} of input gradients are infinite or not a '
        'number: find the operation that makes them before trusting the curve',
        {'share_nonfinite': share_nonfinite},
      )
    )
  return findings


def batch_dependent_logits(
  logits_fn: Callable[[jax.Array], jax.Array],
  audio: jax.Array,
  tolerance: float = 1e-3,
) -> list[Finding]:
  """Finds a model whose answer on a clip depends on its neighbours.

  Args:
    logits_fn: Maps audio [batch, time] to logits [batch, num_classes].
    audio: [batch, time] of two clips or more.
    tolerance: Largest difference of a logit put down to rounding, as a fraction
      of the largest logit.
  """
  together = logits_fn(audio)
  alone = jax.lax.map(lambda clip: logits_fn(clip[None])[0], audio)
  difference = float(jnp.abs(together - alone).max())
  largest = float(jnp.abs(alone).max())
  if difference <= tolerance * largest:
    return []
  return [
    Finding(
      'batch_dependent_logits',
      'error',
      f'logits of a clip alone and in a batch of {len(audio)} differ by up to '
      f'{difference:.2g} (largest logit {largest:.2g}): use running '
      'batch-norm statistics and no dropout (train=False), or gradients and '
      'verdicts mix clips',
      {'max_difference': difference, 'largest_logit': largest},
    )
  ]
