"""How far a recurrent state reaches: spectral norms of ds_n / ds_i."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def state_jacobian_norms(
  step_fn: Callable[[jax.Array, jax.Array], jax.Array],
  initial: jax.Array,
  inputs: jax.Array,
  starts: jax.Array,
  *,
  num_iterations: int,
  key: jax.Array,
) -> jax.Array:
  """Returns the largest singular value of ds_n / ds_i for every i, [starts].

  s_i is the state before input i, so that s_0 is `initial` and s_n the last
  (paper, eqs. 8-12). Power iteration on J^T J, whose products with a vector are
  a JVP and a VJP through the steps from i on, all i side by side; vectors are
  scaled at every turn, so that norms down to the smallest number are reported.

  Args:
    step_fn: Maps (state [size], input) to the next state.
    initial: [size] state.
    inputs: [n, ...] one input a step.
    starts: [starts] integers i in [0, n].
    num_iterations: Products with J^T J; the error falls with each as the ratio
      of the two largest singular values to the fourth power.
    key: Of the random vectors to start from.
  """
  num_steps = inputs.shape[0]

  def advance(state, x):
    return step_fn(state, x), state

  # Every state is computed once; a norm then begins at the one it is of.
  last, states = jax.lax.scan(advance, initial, inputs)
  states = jnp.concatenate([states, last[None]])

  def norm(start):
    def tail(state):
      """Returns s_n from s_start."""

      def step(state, step_input):
        index, x = step_input
        # The steps before are the identity: tails of one length can be vmapped
        # over their starts.
        return jnp.where(index >= start, step_fn(state, x), state), None

      steps = jnp.arange(num_steps), inputs
      return jax.lax.scan(step, state, steps)[0]

    state = states[start]
    # J is too large to be built for every i; its products are not. Linearised
    # once, the steps are not run again for each of them.
    push = jax.linearize(tail, state)[1]
    pull = jax.linear_transpose(push, state)

    def iterate(_, carry):
      vector, _ = carry
      image, length = _scaled(push(vector))
      back, length_back = _scaled(pull(image)[0])
      # |J^T u| for u = J v / |J v| is a better estimate than |J v|.
      return back, jnp.where(length > 0, length_back, 0)

    vector, _ = _scaled(jax.random.normal(key, state.shape, state.dtype))
    zero = jnp.zeros((), state.dtype)
    return jax.lax.fori_loop(0, num_iterations, iterate, (vector, zero))[1]

  return jax.vmap(norm)(starts)


def one_step_norms(
  step_fn: Callable[[jax.Array, jax.Array], jax.Array],
  initial: jax.Array,
  inputs: jax.Array,
) -> jax.Array:
  """Returns the largest singular value of ds_{j+1} / ds_j, [n].

  Equation 10 bounds it by 1, that of tanh's derivative; the recurrent weights W
  belong to it and may make it larger.

  Args:
    step_fn: As in `state_jacobian_norms`.
    initial: [size] state.
    inputs: [n, ...] one input a step.
  """

  def step(state, x):
    jacobian = jax.jacfwd(step_fn)(state, x)
    return step_fn(state, x), jnp.linalg.norm(jacobian, 2)

  return jax.lax.scan(step, initial, inputs)[1]


def _scaled(vector):
  """Returns the vector at length 1, and its length, without underflow."""
  peak = jnp.abs(vector).max()
  small = vector / jnp.where(peak > 0, peak, 1)
  length = jnp.sqrt((small**2).sum())
  return small / jnp.where(length > 0, length, 1), peak * length
