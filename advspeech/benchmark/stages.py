"""Whole stages: epochs, batches from disk and memory, memory, a start."""

import functools
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import (
  attacks,
  audio,
  input_pipeline,
  models,
  parallel,
)
from advspeech.benchmark import computations, timing


def measure_training(config, num_clips, num_steps=6) -> dict[str, Any]:
  """Returns what feeding the training step and evaluating cost.

  `host_waited_share` is the share of a step's time spent getting the next batch
  ready, measured as the training loop runs; `evaluation_over_forward` the time
  of WaveCNN's evaluation step in its forward passes; `lstm_share_of_forward`
  the part of WaveRNN's forward that is not its front end.
  """
  subject = computations.make_subject(config, 'wavecnn', 1)
  steps, state, split, mesh = computations.training_parts(
    subject, num_clips * num_steps
  )
  fixed = next(input_pipeline.batches(split, num_clips, mesh))
  state, _ = steps.train(
    state, input_pipeline.step_arrays(fixed), computations.RATE
  )

  def epoch(state, batches):
    jax.block_until_ready(state)
    started, waited = time.perf_counter(), 0.0
    for _ in range(num_steps):
      asked = time.perf_counter()
      batch = input_pipeline.step_arrays(next(batches))
      waited += time.perf_counter() - asked
      state, sums = steps.train(state, batch, computations.RATE)
    jax.block_until_ready((state, sums))
    return state, time.perf_counter() - started, waited

  fed, again = [], []
  for _ in range(3):
    state, *took = epoch(state, iter([fixed] * num_steps))
    again.append(took)
    state, *took = epoch(state, input_pipeline.batches(split, num_clips, mesh))
    fed.append(took)
  (again_s, _), (fed_s, waited_s) = min(again), min(fed)
  whole, front = _lstm_calls(config, num_clips)
  subject = computations.make_subject(config, 'wavecnn', num_clips)
  seconds = timing.time_calls(
    {
      'whole': whole,
      'front end': front,
      'forward': functools.partial(
        jax.jit(functools.partial(computations.forward, subject)),
        subject.variables,
        subject.clips,
      ),
      'evaluation': functools.partial(
        steps.evaluate, state.variables, input_pipeline.step_arrays(fixed)
      ),
    },
    5,
  )
  return {
    'clips_per_s': num_clips * num_steps / fed_s,
    'same_batch_clips_per_s': num_clips * num_steps / again_s,
    'host_waited_share': waited_s / fed_s,
    'evaluation_over_forward': min(seconds['evaluation'])
    / min(seconds['forward']),
    'lstm_share_of_forward': 1
    - min(seconds['front end']) / min(seconds['whole']),
  }


def measure_input(config, num_clips, rounds, num_stored=400) -> dict[str, Any]:
  """Returns clips a second of each source of batches, and of WaveCNN's step.

  Batches arrive on the device as training takes them, from a data set of noise
  prepared in a temporary folder; the step takes one batch over and over.

  Args:
    config: See configs/paper.py.
    num_clips: Clips a batch.
    rounds: Epochs read of each source; the fastest counts.
    num_stored: Clips of the data set.
  """
  mesh = parallel.make_mesh(devices=jax.devices()[:1])
  with tempfile.TemporaryDirectory() as folder:
    in_memory, on_disk = _stored_splits(config, folder, num_stored)
    sources = {
      'memory': in_memory,
      'device': input_pipeline.put_on_devices(in_memory, mesh),
      'disk': on_disk,
    }

    def epoch(split):
      return [
        batch['audio']
        for batch in input_pipeline.batches(split, num_clips, mesh)
      ][-1]

    step = computations.training_call(
      computations.make_subject(config, 'wavecnn', num_clips)
    )
    seconds = timing.time_calls(
      {
        'training step': step,
        **{name: functools.partial(epoch, s) for name, s in sources.items()},
      },
      rounds,
    )
  consumed = num_clips / min(seconds['training step'])
  rates = {name: num_stored / min(seconds[name]) for name in sources}
  return {
    'clips_per_s': rates,
    'training_clips_per_s': consumed,
    'ratio': {name: rate / consumed for name, rate in rates.items()},
  }


def _stored_splits(config, folder, num_clips):
  """Returns the same clips of noise in memory and as they lie on disk."""
  from advspeech import corpora

  num_samples = round(config.clip_s * audio.SAMPLE_RATE_HZ)
  for i, pcm in enumerate(
    computations.random_split(num_clips, num_samples).pcm
  ):
    path = os.path.join(folder, 'recordings', 'ab'[i % 2], f'{i}.wav')
    os.makedirs(os.path.dirname(path), exist_ok=True)
    audio.save(path, audio.from_pcm(pcm), 'PCM_16')
  where = {
    'folder': os.path.join(folder, 'recordings'),
    'data_dir': os.path.join(folder, 'data'),
  }
  corpora.prepare('folder', **where)
  corpus = corpora.read('folder', num_samples=num_samples, **where)
  for pcm in (corpus.pcm[:], corpus.pcm):
    yield input_pipeline.Split(
      ids=corpus.ids,
      pcm=pcm,
      num_samples=corpus.num_samples,
      labels=(corpus.label == 'b').astype(np.int32),
    )


def _lstm_calls(config, num_clips):
  subject = computations.make_subject(config, 'wavernn', num_clips)
  model = subject.model()
  variables, clips = subject.variables, subject.clips
  at_once = models.clips_at_once(model, *clips.shape)

  def front(variables, clips):
    def run(clips):
      return model.frame_maps(variables, clips).sum((0, 1, 3))

    return parallel.map_rows(run, at_once, clips)

  whole = jax.jit(functools.partial(computations.forward, subject))
  return (
    functools.partial(whole, variables, clips),
    functools.partial(jax.jit(front), variables, clips),
  )


def measure_memory(config, batch_size) -> dict[str, Any]:
  """Returns bytes of working memory, as the compiler plans it."""
  results = {}
  for precision in ('float32', 'bfloat16'):
    subject = computations.make_subject(config, 'wavecnn', 1)
    model = subject.model(precision)

    def gradient(variables, clips, label, model=model):
      return jax.grad(
        lambda x: attacks.cross_entropy(
          model.apply(variables, x, train=False), label
        ).sum()
      )(clips)

    results[f'input gradient, {precision}, a clip'] = _temporary_bytes(
      jax.jit(gradient), subject.variables, subject.clips, subject.label
    )
  for name in models.NAMES:
    subject = computations.make_subject(config, name, 1)
    steps, state, _, _ = computations.training_parts(subject, 1)
    lean, _, _, _ = computations.training_parts(subject, 1, rematerialize=True)
    batch = {
      'audio': jax.ShapeDtypeStruct(
        (batch_size, subject.clips.shape[1]), jnp.float32
      ),
      'label': jax.ShapeDtypeStruct((batch_size,), jnp.int32),
      'valid': jax.ShapeDtypeStruct((batch_size,), jnp.float32),
    }
    results[f'{name} training step, batch {batch_size}'] = _temporary_bytes(
      steps.train, state, batch, computations.RATE
    )
    results[f'{name} training step, batch {batch_size}, rematerialized'] = (
      _temporary_bytes(lean.train, state, batch, computations.RATE)
    )
  return results


def _temporary_bytes(fn, *args):
  return fn.lower(*args).compile().memory_analysis().temp_size_in_bytes


_IMPORTS = """
import sys, time
import jax, jax.numpy, flax.linen, optax
started = time.perf_counter()
from advspeech import attacks, models, parallel, training
print(time.perf_counter() - started)
"""


def measure_start(config, num_clips) -> dict[str, float]:
  """Returns seconds of imports beyond JAX, Flax and Optax, and of compiling."""
  done = subprocess.run(
    [sys.executable, '-c', _IMPORTS], capture_output=True, text=True, check=True
  )
  results = {'import': float(done.stdout)}
  for name in models.NAMES:
    subject = computations.make_subject(config, name, num_clips)
    steps, state, split, mesh = computations.training_parts(subject, num_clips)
    batch = input_pipeline.step_arrays(
      next(input_pipeline.batches(split, num_clips, mesh))
    )
    run = jax.jit(functools.partial(computations.fgsm_sweep, subject))
    for what, fn, args in (
      ('training step', steps.train, (state, batch, computations.RATE)),
      (
        'FGSM sweep',
        run,
        (
          subject.variables,
          subject.clips,
          subject.label,
          computations.epsilon_grid(),
        ),
      ),
    ):
      started = time.perf_counter()
      fn.lower(*args).compile()
      results[f'compile {name} {what}'] = time.perf_counter() - started
  return results
