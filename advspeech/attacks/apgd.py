"""Auto-PGD (Croce & Hein 2020): PGD that finds its own step sizes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from advspeech.attacks import arguments, constraints

MOMENTUM = 0.75  # weight of the new step; the rest goes on as before
PROGRESS = 0.75  # share of steps that must raise the loss


def apgd(
  objective_fn: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
  audio: jax.Array,
  epsilons: jax.Array,
  keys: jax.Array,
  *,
  norm: str = 'linf',
  num_steps: int = 100,
  num_restarts: int = 1,
  mask: jax.Array | None = None,
  band: jax.Array | None = None,
  bounds: tuple[float, float] = (0.0, 1.0),
  ceiling: constraints.Ceiling | None = None,
  epsilons_at_once: int | None = None,
) -> jax.Array:
  """Returns Auto-PGD examples, [num_epsilons, batch, time].

  A clip's step begins at 2 epsilon and is halved, and the search sent back to
  its best point, wherever the loss stops rising often enough (Croce & Hein
  2020, algorithm 1 and its conditions 1 and 2). Of all iterates of all
  restarts a clip keeps the one with the highest margin: a misclassified one as
  soon as there is one. The clean clip is not among them.

  Args:
    objective_fn: Maps audio [batch, time] to losses [batch], which the steps
      ascend, and margins [batch], by which examples are chosen; a clip's must
      not depend on its neighbours. For cross entropy:
      `lambda a: (cross_entropy(logits_fn(a), y), margin(logits_fn(a), y))`.
    audio: [batch, time] clean clips, in the model's input range.
    epsilons: [num_epsilons] radii in `norm` of a whole clip, in the unit of
      `audio`, or [num_epsilons, batch] with a radius a clip.
    keys: [batch] typed PRNG keys, one a clip.
    norm: 'linf', 'l2' or 'ceiling'.
    num_steps: Gradients a restart, after the first.
    num_restarts: Random starts.
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

  def attack(epsilon):
    def restart(i, best):
      starts = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
      found, margin = _search(
        objective_fn, audio, epsilon, starts, threat, num_steps
      )
      return _better((found, margin), best, (margin > best[1]) | (i == 0))

    nothing = jnp.zeros_like(audio), jnp.zeros_like(epsilon)
    best, _ = jax.lax.fori_loop(0, num_restarts, restart, nothing)
    return threat.add(audio, best)

  radii = arguments.radii(epsilons, audio)
  return arguments.each_epsilon(attack, radii, epsilons_at_once)


def _search(objective_fn, audio, epsilon, keys, threat, num_steps):
  """Returns one restart's best perturbation and its margin."""

  def total(adv):
    loss, margin = objective_fn(adv)
    return loss.sum(), (loss, margin)

  def evaluate(perturbation):
    gradient, (loss, margin) = jax.grad(total, has_aux=True)(
      threat.add(audio, perturbation)
    )
    return gradient, loss, margin

  def body(inertia, carry, window):
    """Makes one step; `window` is its length where a checkpoint ends it."""
    now, before, gradient, loss, step, top, strongest, count, checked = carry
    ahead = threat.project(
      audio, now + step[:, None] * threat.steepest(gradient), epsilon
    )
    new = threat.project(
      audio,
      now + inertia * (ahead - now) + (1 - inertia) * (now - before),
      epsilon,
    )
    before, now = now, new
    gradient, new_loss, margin = evaluate(now)
    count = count + (new_loss > loss)
    top = _better((now, gradient, new_loss), top, new_loss > top[2])
    strongest = _better((now, margin), strongest, margin > strongest[1])
    # Condition 1: too few steps of the window have raised the loss. Condition
    # 2: the last checkpoint did not halve the step, and the best loss has not
    # risen since. Between checkpoints `window` is 0, and neither is looked at.
    best_then, had_halved = checked
    stuck = (count <= PROGRESS * window) | (~had_halved & (best_then >= top[2]))
    at_checkpoint = window > 0
    halve = stuck & at_checkpoint
    # The best point's gradient is at hand: going back costs none.
    now, gradient, loss = _better(top, (now, gradient, new_loss), halve)
    step = jnp.where(halve, step / 2, step)
    checked = (
      jnp.where(at_checkpoint, top[2], best_then),
      jnp.where(at_checkpoint, stuck, had_halved),
    )
    count = jnp.where(at_checkpoint, 0, count)
    return now, before, gradient, loss, step, top, strongest, count, checked

  start = threat.random_start(keys, audio, epsilon)
  gradient, loss, margin = evaluate(start)
  carry = (
    start,
    start,
    gradient,
    loss,
    2 * epsilon,
    (start, gradient, loss),
    (start, margin),
    jnp.zeros(epsilon.shape, jnp.int32),
    # As if halved before: at the first checkpoint condition 2 has nothing to
    # compare with.
    (loss, jnp.ones(epsilon.shape, bool)),
  )
  windows = jnp.asarray(checkpoint_windows(num_steps))
  # Before the first step there was none whose direction could be strongest.
  inertia = jnp.full(num_steps, MOMENTUM, audio.dtype).at[0].set(1)
  carry, _ = jax.lax.scan(
    lambda carry, x: (body(x[0], carry, x[1]), None), carry, (inertia, windows)
  )
  return carry[6]


def _better(new, old, where):
  """Returns new clips and numbers where `where`, [batch], the old elsewhere."""
  return tuple(
    jnp.where(where.reshape(-1, *[1] * (n.ndim - 1)), n, o)
    for n, o in zip(new, old, strict=True)
  )


def checkpoint_windows(num_steps):
  """Returns steps since the last checkpoint at each checkpoint, else 0.

  The first comes after 22 % of all steps; each window is 3 % of them shorter
  than the one before, down to 6 % (Croce & Hein 2020, section 3).
  """
  window, shortest, shorter = (
    max(int(share * num_steps), 1) for share in (0.22, 0.06, 0.03)
  )
  windows, since = [], 0
  for _ in range(num_steps):
    since += 1
    windows.append(window if since == window else 0)
    if since == window:
      since, window = 0, max(window - shorter, shortest)
  return windows
