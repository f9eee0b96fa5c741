"""The FGSM sweep, Figure 6 whole, and the attack as launch.attack runs it."""

import dataclasses
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import attacks, models, sweep
from advspeech.benchmark import computations, host
from advspeech.benchmark.accelerator import streaks
from advspeech.benchmark.accelerator.scale import FIGURE_6


def measure(session):
  """Adds the FGSM sweep, Figure 6 whole, and the attack with its controls."""
  config, clips = session.config, session.scale.clips
  subjects = {
    name: computations.make_subject(config, name, clips)
    for name in models.NAMES
  }
  epsilons = computations.epsilon_grid()
  steps = {}
  for precision in ('float32', 'bfloat16'):
    pair = {
      name: dataclasses.replace(subject, precision=precision)
      for name, subject in subjects.items()
    }
    steps[precision] = (
      jax.jit(functools.partial(_figure_6_step, pair)),
      (
        {name: s.variables for name, s in pair.items()},
        subjects['wavecnn'].clips,
        subjects['wavecnn'].label,
        epsilons,
      ),
    )
  compiled = streaks.compile_all(steps)
  for precision, (_, args) in steps.items():
    with session.measuring(
      what=f'FGSM on wavecnn, {len(epsilons)} epsilons, judged by both',
      precision=precision,
      clips=clips,
    ) as row:
      run, row['compile_s'] = streaks.unpack(compiled[precision])
      seconds = streaks.median_s(session, functools.partial(run, *args), 2)
      row['clips_per_s'] = clips / seconds
      flops = _figure_6_flops(config, len(epsilons)) * clips
      row['direct TFLOP/s'] = flops / seconds / 1e12
  with session.measuring(
    what='Figure 6 whole',
    precision='float32',
    clips=session.scale.figure_6_clips,
    epsilons=len(epsilons),
    seeds=FIGURE_6['seeds'],
    models=len(models.NAMES),
  ) as row:
    run, _ = streaks.unpack(compiled['float32'])
    row['seconds'] = _figure_6(session, run, subjects)
  for memory_mb, batch_size in ((2048, 20), (16384, 128)):
    if session.left_s() < 10:
      session.add(not_measured=f'launch.attack, sweep.memory_mb={memory_mb}')
      continue
    _judge(session, subjects, memory_mb, batch_size)


def _figure_6_step(subjects, variables, clips, label, epsilons):
  """Returns classes, [models, epsilons, batch]: one gradient, then forwards."""
  nets = {name: subject.model() for name, subject in subjects.items()}

  def logits(name, clips):
    return nets[name].apply(variables[name], clips, train=False)

  direction = attacks.gradient_sign(
    lambda x: attacks.cross_entropy(logits('wavecnn', x), label), clips
  )

  def judge(epsilon):
    perturbed = attacks.perturb(clips, direction, epsilon[None])[0]
    return jnp.stack([jnp.argmax(logits(name, perturbed), -1) for name in nets])

  return jax.lax.map(judge, epsilons).swapaxes(0, 1)


def _figure_6_flops(config, num_epsilons):
  gradient = 2 * computations.direct_flops(config, 'wavecnn')
  forwards = sum(
    computations.direct_flops(config, name) for name in models.NAMES
  )
  return gradient + num_epsilons * forwards


def _figure_6(session, run, subjects):
  """Returns seconds of attacking all clips, from 16-bit ones in memory."""
  clips = session.scale.clips
  num_clips, num_samples = (
    session.scale.figure_6_clips,
    subjects['wavecnn'].clips.shape[1],
  )
  pcm = (
    np.random.default_rng(0)
    .integers(-3000, 3000, (clips, num_samples))
    .astype(np.int16)
  )
  decode = jax.jit(lambda pcm: 0.5 + pcm.astype(jnp.float32) / 65536)
  variables = {name: s.variables for name, s in subjects.items()}
  label, epsilons = subjects['wavecnn'].label, computations.epsilon_grid()
  started = time.perf_counter()
  found = []
  for _ in range(FIGURE_6['seeds']):
    for _ in range(0, num_clips, clips):
      batch = decode(jax.device_put(pcm))
      found.append(run(variables, batch, label, epsilons))
  jax.device_get(found)
  return time.perf_counter() - started


def _judge(session, subjects, memory_mb, batch_size):
  """Adds one part of the attack as launch.attack runs it."""
  config = session.config.copy_and_resolve_references()
  config.sweep.memory_mb, config.sweep.batch_size = memory_mb, batch_size
  num = session.scale.judged_clips
  epsilons = sweep.parse_epsilons(config.sweep.epsilons)
  judge = host.judge_call(config, subjects, num, epsilons)
  with session.measuring(
    what='launch.attack: formats, controls, both models',
    precision='float32',
    epsilons=len(epsilons),
    memory_mb=memory_mb,
    batch_size=batch_size,
    clips=num,
  ) as row:
    started = time.perf_counter()
    judge()
    first = time.perf_counter() - started
    if session.left_s() < 2 * first:
      row['clips_per_s, compiling included'] = num / first
      return
    started = time.perf_counter()
    judge()
    row['clips_per_s'] = num / (time.perf_counter() - started)
