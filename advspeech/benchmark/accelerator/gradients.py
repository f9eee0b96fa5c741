"""Input gradients, and what the study of gradients records of them."""

import functools

import jax
import jax.numpy as jnp

from advspeech import models
from advspeech.benchmark import computations
from advspeech.benchmark.accelerator import streaks


def measure(session):
  """Adds input gradients and what the study of gradients records of them."""
  for name in models.NAMES:
    subject = computations.make_subject(
      session.config, name, session.scale.clips
    )
    args = (subject.variables, subject.clips, subject.label)
    mask = jnp.ones_like(subject.clips)
    compiled = streaks.compile_all(
      {
        'input gradient': (
          jax.jit(functools.partial(computations.input_gradient, subject)),
          args,
        ),
        'gradient statistics': (
          jax.jit(functools.partial(computations.gradient_statistics, subject)),
          (*args, mask),
        ),
      }
    )
    for what, extra in (
      ('input gradient', ()),
      ('gradient statistics', (mask,)),
    ):
      with session.measuring(model=name, what=what) as row:
        run, row['compile_s'] = streaks.unpack(compiled[what])
        seconds = streaks.median_s(
          session, functools.partial(run, *args, *extra)
        )
        row['clips_per_s'] = session.scale.clips / seconds
        flops = 2 * computations.direct_flops(session.config, name)
        row['direct TFLOP/s'] = flops * session.scale.clips / seconds / 1e12
