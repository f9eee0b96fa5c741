"""Perturbations that know nothing of the model: what an attack must beat."""

import jax
import jax.numpy as jnp

from advspeech.attacks import fgsm


def random_sign(
  keys: jax.Array, audio: jax.Array, *, mask: jax.Array | None = None
) -> jax.Array:
  """Returns random signs, [batch, time] int8 in {-1, 1}.

  Perturbing by epsilon times these has the max-norm and the L2 norm of FGSM,
  and nothing of its direction.

  Args:
    keys: [batch] typed PRNG keys, one a clip, so that a clip's noise does not
      depend on its neighbours.
    audio: [batch, time] clips, for the shape.
    mask: [batch, time] or None; samples with 0 get direction 0.

  Raises:
    ValueError: If `mask` and `audio` differ in shape.
  """
  signs = jax.vmap(
    lambda key: jax.random.rademacher(key, audio.shape[1:], jnp.int8)
  )(keys)
  return fgsm.masked(signs, mask)
