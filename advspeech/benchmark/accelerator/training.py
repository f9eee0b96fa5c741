"""Training steps by model, precision and batch size."""

import jax
import jax.numpy as jnp
import optax

from advspeech import input_pipeline, models, parallel, training
from advspeech.benchmark import computations
from advspeech.benchmark.accelerator import streaks


def measure(session):
  """Adds training steps by model, precision and batch size."""
  sizes = session.scale.batch_sizes
  kinds = [(sizes[0], p) for p in ('float32', 'bfloat16', 'tf32')]
  kinds += [(s, p) for s in sizes[1:] for p in ('bfloat16', 'float32')]
  for size, precision in kinds:
    if session.left_s() < 15:
      session.add(not_measured=f'batch {size}, {precision}')
      continue
    programs = {}
    for name in models.NAMES:
      steps, state, batch = make_step(session.config, name, size, precision)
      programs[name] = steps.train, (state, batch, computations.RATE)
    compiled = streaks.compile_all(programs)
    for name, (_, (state, batch, rate)) in programs.items():
      with session.measuring(
        model=name, batch_size=size, precision=precision
      ) as row:
        run, row['compile_s'] = streaks.unpack(compiled[name])
        row['temporary_gb'] = run.memory_analysis().temp_size_in_bytes / 1e9
        box = [state]

        def step(run=run, batch=batch, rate=rate, box=box):
          box[0], sums = run(box[0], batch, rate)  # the old state is donated
          return sums

        seconds = streaks.median_s(session, step)
        row['ms'] = seconds * 1e3
        row['clips_per_s'] = size / seconds
        flops = 3 * computations.direct_flops(session.config, name) * size
        row['direct TFLOP/s'] = flops / seconds / 1e12


def make_step(config, name, batch_size, precision):
  """Returns the compiled steps, a state, and a batch made on the device."""
  mesh = parallel.make_mesh(devices=jax.devices()[:1])
  subject = computations.make_subject(config, name, 1)
  num_samples = subject.clips.shape[1]
  steps = training.make_steps(
    subject.model(precision, norm_axis='data'),
    optax.scale_by_adam(),
    num_samples,
    mesh,
  )
  shapes = input_pipeline.abstract_batch(batch_size, num_samples, mesh)
  keys = jax.random.split(jax.random.key(1), 2)
  batch = {
    # What augmentation alone looks at.
    **{key: jnp.zeros(x.shape, x.dtype) for key, x in shapes.items()},
    'audio': 0.5 + 0.1 * jax.random.normal(keys[0], shapes['audio'].shape),
    'label': jax.random.randint(keys[1], (batch_size,), 0, 2),
    'valid': jnp.ones(batch_size),
  }
  batch = jax.device_put(
    batch, {key: shape.sharding for key, shape in shapes.items()}
  )
  return steps, steps.init(jax.random.key(0)), batch
