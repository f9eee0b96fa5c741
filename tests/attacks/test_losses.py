"""Cross entropy against the formula in float64."""

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
