"""Perturbations that know nothing of the model: what an attack must beat.

Each control takes an attack's own perturbation (adversarial minus clean clip,
after the bounds) and keeps its size. `add` puts a control on the clips.
"""

import jax
import jax.numpy as jnp

from advspeech.attacks import arguments, constraints
from advspeech.attacks.ceiling import radius_of

_FREE = (-jnp.inf, jnp.inf)


def random_sign_like(
  keys: jax.Array,
  perturbation: jax.Array,
  *,
  mask: jax.Array | None = None,
  band: jax.Array | None = None,
  ceiling: constraints.Ceiling | None = None,
) -> jax.Array:
  """Returns random signs of the perturbation's max-norm, of its shape.

  They have the L2 norm of FGSM too, and nothing of its direction. In a band it
  is the band's part of them that has this max-norm, as FGSM's does. Under a
  ceiling their spectrum is brought to it cell by cell, and their radius there
  is at most the perturbation's.

  Args:
    keys: [batch] typed PRNG keys, one a clip: its signs are the same for every
      epsilon, and do not depend on its neighbours.
    perturbation: [..., batch, time], of one or of many epsilons.
    mask: [batch, time] or None; samples with 0 get 0.
    band: [time // 2 + 1] or None; see `band_weights`.
    ceiling: Of the clips, if their perturbations were made under one.

  Raises:
    ValueError: If `mask` is not [batch, time], or `keys` not [batch].
  """
  clips = _clips(keys, perturbation)
  signs = jax.vmap(
    lambda key: jax.random.rademacher(key, clips.shape[1:], clips.dtype)
  )(keys)
  if ceiling is not None:
    threat = constraints.Threat('ceiling', mask, band, _FREE, ceiling)
    noise = threat.project(
      jnp.zeros_like(clips),
      threat.steepest(signs),
      jnp.ones(len(clips), clips.dtype),
    )
    return _scaled(noise, _radii_of(ceiling, perturbation))
  signs = constraints.Threat(mask=mask, band=band).restrict(signs)
  if band is not None:
    signs = constraints.unit(signs, 'linf')
  return _scaled(signs, constraints.norm_of(perturbation, 'linf'))


def gaussian_like(
  keys: jax.Array,
  perturbation: jax.Array,
  *,
  mask: jax.Array | None = None,
  band: jax.Array | None = None,
) -> jax.Array:
  """Returns Gaussian noise of the perturbation's L2 norm, of its shape.

  White, or white in the band.

  Args:
    keys: As for `random_sign_like`.
    perturbation: [..., batch, time], of one or of many epsilons.
    mask: [batch, time] or None; samples with 0 get 0.
    band: As for `random_sign_like`.

  Raises:
    ValueError: If `mask` is not [batch, time], or `keys` not [batch].
  """
  clips = _clips(keys, perturbation)
  threat = constraints.Threat(mask=mask, band=band)
  noise = threat.restrict(constraints.normal(keys, clips))
  noise = constraints.unit(noise, 'l2')
  return _scaled(noise, constraints.norm_of(perturbation, 'l2'))


def shuffled(
  keys: jax.Array,
  perturbation: jax.Array,
  *,
  mask: jax.Array | None = None,
  band: jax.Array | None = None,
) -> jax.Array:
  """Returns the perturbation's own values in a random order in time.

  Every norm, and the histogram, are the attack's, bit for bit; what goes is
  where in time each value stood. That is white noise: in a band the band's part
  of it is scaled back to the attack's L2 norm, and no more is kept than that.

  Args:
    keys: As for `random_sign_like`; a clip's order is the same for every
      epsilon.
    perturbation: [..., batch, time], of one or of many epsilons.
    mask: [batch, time] or None; values move among samples with 1, and the
      others keep theirs, or get 0 if there is a band.
    band: As for `random_sign_like`.

  Raises:
    ValueError: If `mask` is not [batch, time], or `keys` not [batch].
  """
  clips = _clips(keys, perturbation)
  movable = constraints.masked(jnp.ones_like(clips), mask) > 0

  def source_of(key, movable):
    """Returns which sample each sample takes its value from, [time]."""
    fixed = ~movable
    draw = jax.random.bits(key, movable.shape)
    drawn = jnp.lexsort((jnp.where(fixed, 0, draw), fixed))
    places = jnp.argsort(fixed, stable=True)
    return jnp.zeros(movable.shape, drawn.dtype).at[places].set(drawn)

  sources = jax.vmap(source_of)(keys, movable)
  moved = jnp.take_along_axis(
    perturbation, jnp.broadcast_to(sources, perturbation.shape), axis=-1
  )
  if band is None:
    return moved
  part = jnp.where(movable, constraints.in_band(moved, band), 0)
  size = constraints.norm_of(perturbation, 'l2')[..., None]
  return size * constraints.unit(part, 'l2')


def _radii_of(ceiling, perturbation):
  """Returns radii under a ceiling, [..., batch]."""
  leading = perturbation.shape[:-2]
  flat = perturbation.reshape(-1, *perturbation.shape[-2:])
  radii = jax.lax.map(lambda x: radius_of(ceiling, x), flat)
  return radii.reshape(*leading, -1)


def _clips(keys, perturbation):
  """Returns one epsilon's perturbation, [batch, time], for the shape."""
  clips = perturbation.reshape(-1, *perturbation.shape[-2:])[0]
  arguments.check_keys(keys, clips)
  return clips


def _scaled(noise, size):
  """Returns [batch, time] noise times sizes [..., batch]."""
  return (
    jnp.broadcast_to(noise, (*size.shape, noise.shape[-1])) * size[..., None]
  )
