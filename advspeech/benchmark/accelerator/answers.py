"""How far logits and gradients are from float64 ones of the CPU."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import attacks, models, parallel
from advspeech.benchmark import computations


def measure(session):
  """Adds how far logits and gradients are from float64 ones of the CPU."""
  num = 2
  for name in models.NAMES:
    subject = computations.make_subject(session.config, name, num)
    variables, clips, label = (
      jax.device_get(x)
      for x in (subject.variables, subject.clips, subject.label)
    )
    cpu = jax.devices('cpu')[0]
    with jax.enable_x64(True), jax.default_device(cpu):
      wide = jax.tree.map(
        lambda x: jnp.asarray(x, jnp.float64), (variables, clips)
      )
      exact = jax.device_get(_answer(subject, 'float64', *wide, label))
    rows = [(p, None) for p in models.PRECISIONS]
    if not parallel.is_host():
      rows.append(('float32', cpu))
    for precision, device in rows:
      with session.measuring(
        model=name,
        precision=precision,
        device=(device or jax.devices()[0]).platform,
      ) as row:
        with jax.default_device(device) if device else contextlib.nullcontext():
          logits, gradient = jax.device_get(
            _answer(subject, precision, variables, clips, label)
          )
        row['logits_error'] = _relative(logits, exact[0])
        row['gradient_error'] = _relative(gradient, exact[1])
        same = np.sign(gradient) == np.sign(exact[1])
        row['sign_agreement'] = float(same.mean())
        row['same_classes'] = bool(
          (logits.argmax(-1) == exact[0].argmax(-1)).all()
        )


def _answer(subject, precision, variables, clips, label):
  model = subject.model(precision)

  def both(variables, clips):
    def loss(clips):
      logits = model.apply(variables, clips, train=False)
      return attacks.cross_entropy(logits, label).sum(), logits

    gradient, logits = jax.grad(loss, has_aux=True)(clips)
    return logits, gradient

  return jax.jit(both)(variables, clips)


def _relative(value, exact):
  error = np.asarray(value, np.float64) - exact
  return float(np.linalg.norm(error) / np.linalg.norm(exact))
