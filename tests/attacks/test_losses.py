"""Losses against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import attacks


def test_cross_entropy_is_minus_the_log_of_the_labels_softmax():
  logits = np.array([[1.0, -2.0, 0.5], [30.0, 0.0, 0.0], [-90.0, 0.0, 0.0]])
  label = np.array([1, 0, 0])
  shifted = logits - logits.max(-1, keepdims=True)
  log_probs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
  expected = -log_probs[np.arange(3), label]
  loss = attacks.cross_entropy(jnp.asarray(logits, jnp.float32), label)
  np.testing.assert_allclose(loss, expected, rtol=1e-6, atol=1e-7)


LOGITS = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
LABEL = np.random.default_rng(1).integers(0, 4, 200)


def test_margin_is_the_best_wrong_logit_minus_the_labels():
  out = attacks.margin(jnp.asarray(LOGITS), LABEL)
  for i in range(200):
    wrong = np.delete(LOGITS[i], LABEL[i]).max()
    assert out[i] == wrong - LOGITS[i, LABEL[i]]
  np.testing.assert_array_equal(out > 0, LOGITS.argmax(-1) != LABEL)


def test_margin_of_two_classes_is_their_difference():
  out = attacks.margin(jnp.array([[1.0, 3.0], [1.0, 3.0]]), jnp.array([0, 1]))
  np.testing.assert_array_equal(out, [2, -2])


def test_margin_does_not_saturate_where_the_model_is_sure():
  def gradient(loss):
    logits = jnp.array([[200.0, 0.0, -1.0]])
    return jax.grad(lambda x: loss(x, jnp.array([0])).sum())(logits)

  assert not gradient(attacks.cross_entropy).any()
  np.testing.assert_array_equal(gradient(attacks.margin), [[-1, 1, 0]])


def test_targeted_losses_are_highest_at_the_target():
  logits = jnp.asarray(LOGITS)
  np.testing.assert_array_equal(
    attacks.targeted_margin(logits, LABEL) > 0, LOGITS.argmax(-1) == LABEL
  )
  np.testing.assert_allclose(
    attacks.targeted_cross_entropy(logits, LABEL),
    jax.nn.log_softmax(logits)[np.arange(200), LABEL],
    rtol=1e-6,
  )
