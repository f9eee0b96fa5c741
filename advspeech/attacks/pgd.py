"""Many small gradient steps inside a ball: PGD, BIM and MI-FGSM."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from advspeech.attacks import arguments, constraints


def pgd(
  loss_fn: Callable[[jax.Array], jax.Array],
  audio: jax.Array,
  epsilons: jax.Array,
  keys: jax.Array,
  *,
  norm: str = 'linf',
  num_steps: int = 40,
  relative_step: float | None = None,
  num_restarts: int = 1,
  rank_fn: Callable[[jax.Array], jax.Array] | None = None,
  mask: jax.Array | None = None,
  band: jax.Array | None = None,
  bounds: tuple[float, float] = (0.0, 1.0),
  ceiling: constraints.Ceiling | None = None,
  epsilons_at_once: int | None = None,
) -> jax.Array:
  """Returns PGD examples (Madry et al. 2018), [num_epsilons, batch, time].

  Each restart begins at a random point of the ball; a clip keeps the last
  iterate of the restart that `rank_fn` likes best.

  Args:
    loss_fn: Maps audio [batch, time] to losses [batch], which the steps
      ascend; a clip's loss must not depend on its neighbours.
    audio: [batch, time] clean clips, in the model's input range.
    epsilons: [num_epsilons] radii in `norm` of a whole clip, in the unit of
      `audio`, or [num_epsilons, batch] with a radius a clip.
    keys: [batch] typed PRNG keys, one a clip.
    norm: 'linf', 'l2' or 'ceiling'.
    num_steps: Gradients a restart.
    relative_step: Step over epsilon; None for 2.5 / num_steps, which can cross
      the ball (Madry et al.).
    num_restarts: Random starts.
    rank_fn: Maps audio [batch, time] to scores [batch], the highest of which
      wins; None for `loss_fn`. Read only with several restarts.
    mask: [batch, time] or None; samples with 0 stay bit for bit as they are.
    band: [time // 2 + 1] or None; see `band_weights`.
    bounds: Smallest and largest legal sample.
    ceiling: What epsilons are multiples of, for that norm.
    epsilons_at_once: Epsilons that share the memory; None for one at a time.

  Raises:
    ValueError: If `norm` is unknown, a count is not positive, or `epsilons`,
      `keys`, `mask` or `band` has a shape that does not go with `audio`.
  """
  audio = jnp.asarray(audio)
  threat = constraints.Threat(norm, mask, band, bounds, ceiling)
  threat.check(audio)
  arguments.check_keys(keys, audio)
  arguments.check_counts(num_steps=num_steps, num_restarts=num_restarts)
  step = 2.5 / num_steps if relative_step is None else relative_step
  rank_fn = loss_fn if rank_fn is None else rank_fn

  def attack(epsilon):
    def restart(i, best=None):
      starts = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
      start = threat.random_start(starts, audio, epsilon)
      found = _ascend(loss_fn, audio, epsilon, start, threat, num_steps, step)
      if num_restarts == 1:
        return found
      score = rank_fn(threat.add(audio, found))
      better = (score > best[1]) | (i == 0)
      return (
        jnp.where(better[:, None], found, best[0]),
        jnp.where(better, score, best[1]),
      )

    if num_restarts == 1:
      return threat.add(audio, restart(0))
    nothing = jnp.zeros_like(audio), jnp.zeros_like(epsilon)
    best, _ = jax.lax.fori_loop(0, num_restarts, restart, nothing)
    return threat.add(audio, best)

  radii = arguments.radii(epsilons, audio)
  return arguments.each_epsilon(attack, radii, epsilons_at_once)


def bim(
  loss_fn: Callable[[jax.Array], jax.Array],
  audio: jax.Array,
  epsilons: jax.Array,
  *,
  norm: str = 'linf',
  num_steps: int = 10,
  relative_step: float | None = None,
  mask: jax.Array | None = None,
  band: jax.Array | None = None,
  bounds: tuple[float, float] = (0.0, 1.0),
  ceiling: constraints.Ceiling | None = None,
  epsilons_at_once: int | None = None,
) -> jax.Array:
  """Returns examples of iterated FGSM or FGM, [num_epsilons, batch, time].

  The basic iterative method (Kurakin et al. 2016): PGD from the clean clip.

  Args:
    loss_fn: As for `pgd`.
    audio: [batch, time] clean clips.
    epsilons: As for `pgd`.
    norm: 'linf', 'l2' or 'ceiling'.
    num_steps: Gradients.
    relative_step: Step over epsilon; None for 1 / num_steps.
    mask: As for `pgd`.
    band: As for `pgd`.
    bounds: As for `pgd`.
    ceiling: As for `pgd`.
    epsilons_at_once: As for `pgd`.

  Raises:
    ValueError: As for `pgd`.
  """
  return _from_clean(
    loss_fn,
    audio,
    epsilons,
    constraints.Threat(norm, mask, band, bounds, ceiling),
    num_steps,
    relative_step,
    None,
    epsilons_at_once,
  )


def mi_fgsm(
  loss_fn: Callable[[jax.Array], jax.Array],
  audio: jax.Array,
  epsilons: jax.Array,
  *,
  norm: str = 'linf',
  num_steps: int = 10,
  relative_step: float | None = None,
  decay: float = 1.0,
  mask: jax.Array | None = None,
  band: jax.Array | None = None,
  bounds: tuple[float, float] = (0.0, 1.0),
  ceiling: constraints.Ceiling | None = None,
  epsilons_at_once: int | None = None,
) -> jax.Array:
  """Returns MI-FGSM examples, [num_epsilons, batch, time].

  Steps follow the decaying sum of all gradients so far, each divided by its L1
  norm (Dong et al. 2018, eq. 6), which transfers better than BIM.

  Args:
    loss_fn: As for `pgd`.
    audio: [batch, time] clean clips.
    epsilons: As for `pgd`.
    norm: 'linf', 'l2' or 'ceiling'.
    num_steps: Gradients.
    relative_step: Step over epsilon; None for 1 / num_steps.
    decay: Of the gradients before, a step; 0 is BIM.
    mask: As for `pgd`.
    band: As for `pgd`.
    bounds: As for `pgd`.
    ceiling: As for `pgd`.
    epsilons_at_once: As for `pgd`.

  Raises:
    ValueError: As for `pgd`.
  """
  return _from_clean(
    loss_fn,
    audio,
    epsilons,
    constraints.Threat(norm, mask, band, bounds, ceiling),
    num_steps,
    relative_step,
    decay,
    epsilons_at_once,
  )


def _from_clean(
  loss_fn,
  audio,
  epsilons,
  threat,
  num_steps,
  relative_step,
  decay,
  epsilons_at_once,
):
  audio = jnp.asarray(audio)
  threat.check(audio)
  arguments.check_counts(num_steps=num_steps)
  step = 1 / num_steps if relative_step is None else relative_step

  def attack(epsilon):
    start = jnp.zeros_like(audio)
    found = _ascend(
      loss_fn, audio, epsilon, start, threat, num_steps, step, decay
    )
    return threat.add(audio, found)

  radii = arguments.radii(epsilons, audio)
  return arguments.each_epsilon(attack, radii, epsilons_at_once)


def _ascend(
  loss_fn, audio, epsilon, start, threat, num_steps, relative_step, decay=None
):
  """Returns the perturbation after so many steps, [batch, time]."""
  gradient_fn = jax.grad(lambda a: loss_fn(a).sum())
  step = (relative_step * epsilon)[:, None]

  def body(_, carry):
    perturbation, momentum = carry
    gradient = gradient_fn(threat.add(audio, perturbation))
    if decay is not None:
      size = constraints.sum_of(jnp.abs(gradient))[:, None]
      gradient = gradient / jnp.where(size == 0, 1, size)
      momentum = gradient = decay * momentum + gradient
    moved = perturbation + step * threat.steepest(gradient)
    return threat.project(audio, moved, epsilon), momentum

  momentum = None if decay is None else jnp.zeros_like(audio)
  return jax.lax.fori_loop(0, num_steps, body, (start, momentum))[0]
