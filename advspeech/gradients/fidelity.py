"""What an arithmetic leaves of a gradient's signs."""

import jax
import jax.numpy as jnp

from advspeech.gradients import profiles


def sign_fidelity(
  gradient: jax.Array, reference: jax.Array
) -> dict[str, jax.Array]:
  """Returns what FGSM would make of a gradient, beside the exact one.

  sign() gives the smallest gradient full strength: only exact zeros, which are
  the arithmetic's underflow, keep a sample from being perturbed.

  Args:
    gradient: [rows, time] as one arithmetic computed it.
    reference: [rows, time] as float64 did.

  Returns:
    [rows] each: `zero_share`, exact zeros; `sign_agreement`, the share of
    samples with the reference's sign; both again over the first
    `profiles.EARLY_SHARE` of the samples, `early_...`; `first_perturbed`, the
    first sample whose gradient is not zero, the clip's length if none is.

  Raises:
    ValueError: If the shapes differ.
  """
  if gradient.shape != reference.shape:
    raise ValueError(
      'gradients must be of the same clips, got '
      f'{gradient.shape} and {reference.shape}'
    )
  time = gradient.shape[1]
  early = round(profiles.EARLY_SHARE * time)
  zero = gradient == 0
  same = jnp.sign(gradient) == jnp.sign(reference)
  return {
    'zero_share': zero.mean(-1),
    'early_zero_share': zero[:, :early].mean(-1),
    'sign_agreement': same.mean(-1),
    'early_sign_agreement': same[:, :early].mean(-1),
    'first_perturbed': jnp.where(
      zero.all(-1), time, jnp.argmin(zero, -1)
    ).astype(jnp.int32),
  }
