"""Gradients summarised, compared and followed in time, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import gradients

FRAME = 640
TIME = 150 * FRAME
FRAME_MS = 40
RATE = 16_000


def summarise(gradient, mask=None):
  gradient = jnp.asarray(gradient, jnp.float32)
  mask = jnp.ones_like(gradient) if mask is None else jnp.asarray(mask)
  result = gradients.summarise(
    gradient, mask, frame_samples=FRAME, frame_ms=FRAME_MS
  )
  return {key: np.asarray(value) for key, value in result.items()}


def exponential(half_life_ms, time=TIME):
  """A gradient that halves every so often going back from the end."""
  ms = (np.arange(time) - time) / RATE * 1000
  return 2.0 ** (ms / half_life_ms)


def noise(shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_the_gradient_of_a_linear_loss_is_its_weights():
  weights = noise((2 * FRAME, 1))
  audio = jnp.full((3, 2 * FRAME), 0.5)
  grad = gradients.input_gradient(lambda x: (x @ weights)[:, 0], audio)
  np.testing.assert_allclose(grad, np.tile(weights.T, (3, 1)), rtol=1e-6)


def test_norms_and_mean_are_numpys():
  gradient = noise((2, 4 * FRAME))
  result = summarise(gradient)
  np.testing.assert_allclose(result['l1'], np.abs(gradient).sum(-1), rtol=1e-5)
  np.testing.assert_allclose(
    result['l2'], np.linalg.norm(gradient, axis=-1), rtol=1e-5
  )
  np.testing.assert_allclose(result['max'], np.abs(gradient).max(-1))
  np.testing.assert_allclose(
    result['mean_abs'], np.abs(gradient).mean(-1), rtol=1e-5
  )
  assert (result['num_samples'] == 4 * FRAME).all()


def test_zero_shares_are_exact():
  gradient = np.ones((1, 10 * FRAME), np.float32)
  gradient[0, 7 : 7 + 1600] = 0
  gradient[0, 5] = 1e-30  # tiny is not zero
  assert summarise(gradient)['zero_share'][0] == np.float32(0.25)


def test_a_norm_whose_squares_underflow_is_reported():
  result = summarise(np.full((1, FRAME), 1e-30))
  np.testing.assert_allclose(result['l2'], 1e-30 * np.sqrt(FRAME), rtol=1e-5)


def test_mass_indices_of_a_flat_gradient_are_shares_of_its_length():
  result = summarise(np.ones((1, TIME)))
  assert result['index_1'][0] == 0.01 * TIME
  assert result['index_10'][0] == 0.1 * TIME
  assert result['index_50'][0] == 0.5 * TIME
  np.testing.assert_allclose(result['early_l1_share'], 60 / 96, rtol=1e-6)


def test_mass_indices_are_those_of_a_running_sum():
  gradient = noise((5, 20 * FRAME)) ** 3
  shares = (0.01, 0.1, 0.5, 0.99)
  index = gradients.mass_index(jnp.asarray(gradient), shares, FRAME)
  running = np.cumsum(np.abs(gradient).astype(np.float64), -1)
  for row in range(5):
    for s, share in enumerate(shares):
      expected = np.searchsorted(running[row], share * running[row, -1]) + 1
      assert abs(int(index[row, s]) - expected) <= 1


def test_all_mass_in_the_last_sample_is_found_there():
  gradient = np.zeros((2, 3 * FRAME))
  gradient[0, -1] = 2.0
  result = summarise(gradient)
  assert result['index_1'].tolist() == [3 * FRAME, 3 * FRAME]
  # Of nothing there is no share.
  np.testing.assert_array_equal(result['early_l1_share'], [0, np.nan])
  np.testing.assert_array_equal(result['outside_energy'], [0, np.nan])
  assert result['l1'].tolist() == [2, 0]


@pytest.mark.parametrize('half_life_ms', [60.0, 250.0, 2000.0])
def test_the_half_life_of_an_exponential_is_found_to_1_percent(half_life_ms):
  gradient = exponential(half_life_ms) * np.sign(noise(TIME))
  result = summarise(gradient[None])
  np.testing.assert_allclose(result['half_life_ms'], half_life_ms, rtol=0.01)
  # The last t hold 1 - 2^(-t / half-life) of an exponential's mass.
  last_ms = (TIME - result['index_50'][0]) / RATE * 1000
  mass, whole = (1 - 2 ** (-t / half_life_ms) for t in (last_ms, 6000))
  assert mass == pytest.approx(whole / 2, rel=0.01)


def test_a_gradient_that_does_not_fall_has_no_half_life():
  assert summarise(np.ones((1, TIME)))['half_life_ms'][0] == np.inf
  backwards = exponential(100)[None, ::-1]
  assert summarise(backwards)['half_life_ms'][0] == np.inf
  assert np.isnan(summarise(np.zeros((1, TIME)))['half_life_ms'][0])


def test_underflown_frames_do_not_bend_the_half_life():
  gradient = exponential(100.0)[None]
  gradient[gradient < 1e-4] = 0
  np.testing.assert_allclose(
    summarise(gradient)['half_life_ms'], 100.0, rtol=0.03
  )


def test_only_samples_the_mask_names_are_counted():
  gradient = np.ones((1, 10 * FRAME), np.float32)
  gradient[0, 8 * FRAME :] = 3
  gradient[0, 4 * FRAME] = 0
  for start, end in ((0, 5), (3, 8)):
    mask = np.zeros_like(gradient)
    mask[0, start * FRAME : end * FRAME] = 1
    result = summarise(gradient, mask)
    assert result['num_samples'][0] == 5 * FRAME
    assert result['l1'][0] == 5 * FRAME - 1
    assert result['zero_share'][0] == np.float32(1 / (5 * FRAME))
    # One sample later where the zero is among the first half.
    assert result['index_50'][0] == 2.5 * FRAME + (start == 3)
    np.testing.assert_allclose(result['early_l1_share'], 0.625, rtol=1e-3)
    # 5 frames of 1 inside, less one sample; 3 of 1 and 2 of 9 outside.
    outside = 21 * FRAME / (26 * FRAME - 1)
    np.testing.assert_allclose(result['outside_energy'], outside, rtol=1e-5)


def test_profiles_are_means_by_frame():
  profile = gradients.frame_profile(
    jnp.repeat(jnp.array([[1.0, -2.0, 4.0]]), FRAME, axis=1), FRAME
  )
  np.testing.assert_array_equal(profile, [[1, 2, 4]])
  with pytest.raises(ValueError, match=r'whole frames of 640.*got 700'):
    gradients.frame_profile(jnp.ones((1, 700)), FRAME)


def compare(a, b):
  result = gradients.compare(
    jnp.asarray(a), jnp.asarray(b), frame_samples=FRAME
  )
  return {key: np.asarray(value) for key, value in result.items()}


def test_a_gradient_compared_with_itself_and_its_opposite():
  a = noise((2, 8 * FRAME))
  same, opposite = compare(a, a), compare(a, -2 * a)
  np.testing.assert_allclose(same['cosine'], 1, rtol=1e-5)
  np.testing.assert_allclose(opposite['cosine'], -1, rtol=1e-5)
  assert (same['sign_agreement'] == 1).all()
  assert (opposite['sign_agreement'] == 0).all()
  np.testing.assert_allclose(same['norm_ratio'], 1, rtol=1e-6)
  np.testing.assert_allclose(opposite['norm_ratio'], 0.5, rtol=1e-6)
  np.testing.assert_allclose(opposite['rank_correlation'], 1, rtol=1e-6)


def test_comparisons_are_numpys_and_scipys():
  stats = pytest.importorskip('scipy.stats')
  a, b = noise((1, 20 * FRAME), 1), noise((1, 20 * FRAME), 2)
  b += 0.3 * a
  a[0, : 2 * FRAME] = 0  # two frames tie
  result = compare(a, b)
  cosine = (a @ b.T)[0, 0] / np.linalg.norm(a) / np.linalg.norm(b)
  np.testing.assert_allclose(result['cosine'], cosine, rtol=1e-4)
  np.testing.assert_allclose(
    result['sign_agreement'], (np.sign(a) == np.sign(b)).mean(), rtol=1e-6
  )
  profiles = [np.abs(x).reshape(20, FRAME).mean(-1) for x in (a, b)]
  np.testing.assert_allclose(
    result['rank_correlation'], stats.spearmanr(*profiles)[0], rtol=1e-4
  )
  with pytest.raises(ValueError, match='same clips'):
    compare(a, b[:, :FRAME])


def test_a_rank_correlation_of_counted_values_is_scipys_of_these_alone():
  stats = pytest.importorskip('scipy.stats')
  a, b = noise((3, 20), 1), noise((3, 20), 2) + 0.5 * noise((3, 20), 1)
  a[:, 3:6] = 0.25  # ties
  counted = np.ones((3, 20), bool)
  counted[0, 12:], counted[1, :7] = False, False
  found = gradients.rank_correlation(*map(jnp.asarray, (a, b, counted)))
  expected = [
    stats.spearmanr(x[c], y[c])[0]
    for x, y, c in zip(a, b, counted, strict=True)
  ]
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_gradients_whose_squares_underflow_have_a_cosine():
  result = compare(noise((1, FRAME)) * 1e-30, noise((1, FRAME)))
  np.testing.assert_allclose(result['cosine'], 1, rtol=1e-5)
  np.testing.assert_allclose(result['norm_ratio'], 1e-30, rtol=1e-5)


def test_fidelity_tells_zeros_from_small_and_early_from_late():
  reference = np.where(noise((1, 1600)) > 0, 1.0, -1.0) * 1e-20
  gradient = reference.astype(np.float32).copy()
  gradient[0, :400] = 0
  gradient[0, 1500:] *= -1
  result = gradients.sign_fidelity(
    jnp.asarray(gradient), jnp.asarray(reference)
  )
  assert result['zero_share'][0] == np.float32(0.25)
  assert result['early_zero_share'][0] == np.float32(0.4)
  np.testing.assert_allclose(result['sign_agreement'][0], 1100 / 1600)
  np.testing.assert_allclose(result['early_sign_agreement'][0], 0.6)
  assert result['first_perturbed'][0] == 400
  nothing = gradients.sign_fidelity(jnp.zeros((1, 8)), jnp.ones((1, 8)))
  assert nothing['first_perturbed'][0] == 8


def norms(step_fn, initial, inputs, starts, num_iterations=40):
  return np.asarray(
    gradients.state_jacobian_norms(
      step_fn,
      initial,
      inputs,
      jnp.asarray(starts),
      num_iterations=num_iterations,
      key=jax.random.key(0),
    )
  )


def test_a_linear_rnn_of_known_decay_is_found_to_1_percent():
  # A rotation times 0.9: every singular value of its k-th power is 0.9^k.
  rotation, _ = np.linalg.qr(noise((8, 8)))
  weights = jnp.asarray(0.9 * rotation)
  inputs = jnp.asarray(noise((60, 8)))
  starts = np.arange(0, 61, 5)
  found = norms(lambda s, x: weights @ s + x, jnp.zeros(8), inputs, starts)
  np.testing.assert_allclose(found, 0.9 ** (60 - starts), rtol=0.01)
  life = gradients.half_life_ms(jnp.asarray(found)[None], 5 * FRAME_MS)
  expected = FRAME_MS * np.log(2) / -np.log(0.9)
  np.testing.assert_allclose(life, expected, rtol=0.01)


def test_one_step_is_as_long_as_its_weights_make_it():
  """Equation 10 holds of tanh alone, and not of W before it."""
  rng = np.random.default_rng(0)
  rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0]
  inputs = jnp.zeros((5, 4))
  for scale in (0.5, 3.0):
    weights = jnp.asarray(scale * rotation, jnp.float32)
    norms = gradients.one_step_norms(
      lambda state, x, w=weights: jnp.tanh(w @ state + x), jnp.zeros(4), inputs
    )
    # At rest tanh is the identity.
    np.testing.assert_allclose(norms, scale, rtol=1e-5)
  saturated = gradients.one_step_norms(
    lambda state, x: jnp.tanh(3 * state + x), jnp.zeros(4), inputs + 9
  )
  assert float(saturated.max()) < 1e-5


def test_norms_are_those_of_the_whole_jacobian():
  weights = jnp.asarray(noise((5, 5)))
  inputs = jnp.asarray(noise((7, 5)))
  initial = jnp.asarray(noise(5))

  def step(state, x):
    return jnp.tanh(weights @ state + x)

  found = norms(step, initial, inputs, range(8), num_iterations=200)
  state = initial
  for i in range(8):

    def rest(state, i=i):
      for x in inputs[i:]:
        state = step(state, x)
      return state

    jacobian = jax.jacobian(rest)(state)
    expected = np.linalg.norm(np.asarray(jacobian, np.float64), 2)
    np.testing.assert_allclose(found[i], expected, rtol=0.01)
    if i < 7:
      state = step(state, inputs[i])


def test_norms_far_below_what_squares_can_hold_are_reported():
  inputs = jnp.zeros((100, 3))
  found = norms(lambda s, x: 0.5 * s + x, jnp.zeros(3), inputs, [0, 100])
  np.testing.assert_allclose(found, [0.5**100, 1], rtol=0.01)


def test_a_linear_loss_changes_as_predicted_at_every_epsilon():
  weights = jnp.asarray(noise((2, FRAME)))

  def loss_fn(x):
    return (x * weights).sum(-1)

  audio = jnp.zeros((2, FRAME))
  gradient = gradients.input_gradient(loss_fn, audio)
  predicted = np.asarray(gradients.predicted_change(gradient))
  np.testing.assert_allclose(predicted, np.abs(weights).sum(-1), rtol=1e-5)
  epsilons = np.array([1e-6, 1e-3, 0.1], np.float32)
  measured = gradients.loss_changes(
    loss_fn,
    audio,
    jnp.broadcast_to(jnp.sign(gradient), (3, *audio.shape)),
    jnp.asarray(epsilons),
  )
  expected = epsilons[:, None] * predicted[None]
  np.testing.assert_allclose(measured, expected, rtol=1e-4)
  until = gradients.linear_until(epsilons, expected.T, measured.T, 0.1)
  np.testing.assert_allclose(until, 0.1)


def test_linearity_ends_before_the_first_epsilon_that_is_off():
  epsilons = np.array([0.1, 0.2, 0.3])
  predicted = np.ones((3, 3))
  measured = np.array([[1.05, 0.92, 1.2], [1.2, 1.0, 1.0], [1, 1.11, 1.0]])
  until = gradients.linear_until(epsilons, predicted, measured, 0.1)
  assert until.tolist() == [0.2, 0, 0.1]


def test_subsets_are_nested_and_of_the_size_asked():
  sizes = jnp.array([1, 10, 200, FRAME])
  keys = jax.random.split(jax.random.key(3), 2)
  masks = np.asarray(gradients.nested_subsets(keys, FRAME, sizes))
  assert masks.shape == (4, 2, FRAME)
  np.testing.assert_array_equal(masks.sum(-1), np.tile(sizes, (2, 1)).T)
  assert (masks[:-1] <= masks[1:]).all()
  assert (masks[1, 0] != masks[1, 1]).any()


def test_a_power_law_is_found():
  n = np.array([10, 100, 1000, 5000])
  change = np.stack([3 * n**1.0, 0.1 * n**0.5, [-1, 1, 1, 1]])
  found = gradients.fitted_exponent(n, change)
  np.testing.assert_allclose(found[:2], [1, 0.5], rtol=1e-6)
  assert np.isnan(found[2])


def test_half_rate_keeps_low_tones_and_takes_high_ones():
  seconds = np.arange(3200) / RATE
  for hz, gain in ((440, 1.0), (2000, 1.0), (7000, 0.0)):
    tone = np.sin(2 * np.pi * hz * seconds)[None]
    low = gradients.half_rate(jnp.asarray(tone))
    assert low.shape == (1, 1600)
    back = np.asarray(gradients.from_half_rate(low))[0, 200:-200]
    np.testing.assert_allclose(back, gain * tone[0, 200:-200], atol=0.02)
