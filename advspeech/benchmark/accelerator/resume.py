"""Whether training resumes to the same bits."""

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from advspeech import checkpoint, models, parallel
from advspeech.benchmark import computations

if TYPE_CHECKING:  # a bare accelerator machine need not have it
  pass
from advspeech.benchmark.accelerator import training
from advspeech.benchmark.accelerator.scale import SCALES
from advspeech.benchmark.accelerator.session import Section, Session

_DETERMINISTIC = '--xla_gpu_deterministic_ops=true'


def measure(session):
  """Adds whether training goes on to the same bits, with and without the flag.

  With it in a process of its own: XLA reads flags when it starts.
  """
  for name in models.NAMES:
    with session.measuring(
      model=name, xla_flags=os.environ.get('XLA_FLAGS', '')
    ) as row:
      row.update(_resumed(session, name))
  if _DETERMINISTIC in os.environ.get('XLA_FLAGS', ''):
    return
  if parallel.platform() != 'gpu' or session.left_s() < 20:
    return
  flags = f'{os.environ.get("XLA_FLAGS", "")} {_DETERMINISTIC}'.strip()
  code = (
    'import json, sys; from advspeech.benchmark.accelerator import resume; '
    'resume.run_alone(json.loads(sys.argv[1]), sys.argv[2])'
  )
  config = session.config.to_json()
  scale = next(k for k, v in SCALES.items() if v is session.scale)
  done = subprocess.run(
    [sys.executable, '-c', code, config, scale],
    env={**os.environ, 'XLA_FLAGS': flags},
    stdout=subprocess.PIPE,
    text=True,
    timeout=session.left_s(),
    check=True,
  )
  for line in done.stdout.splitlines():
    if line.startswith('{'):
      session.add(**json.loads(line))


def run_alone(config: Mapping[str, Any], scale: str) -> None:
  """Prints the rows of `measure`, each a line of JSON, in a new process.

  Args:
    config: See configs/paper.py.
    scale: One of `SCALES`.
  """
  import ml_collections

  session = Session(
    ml_collections.ConfigDict(config),
    SCALES[scale],
    math.inf,  # the process that waits for this one has a limit
    write=lambda section, rows: print(json.dumps(rows[-1]), flush=True),
    log=lambda line: None,
  )
  session.run({'resume': Section(1, measure)})


def _resumed(session, name):
  """Returns whether two steps, a save, a restore and two more are as four."""
  size = session.scale.batch_sizes[0]
  steps, state, batch = training.make_step(
    session.config, name, size, 'float32'
  )
  run = steps.train.lower(state, batch, computations.RATE).compile()

  def taken(state, num):
    for _ in range(num):
      state, _ = run(state, batch, computations.RATE)
    return state

  whole = jax.device_get(taken(steps.init(jax.random.key(0)), 4))
  again = jax.device_get(taken(steps.init(jax.random.key(0)), 4))
  half = taken(steps.init(jax.random.key(0)), 2)
  described = {'model': {'name': name}}
  with (
    tempfile.TemporaryDirectory() as folder,
    checkpoint.Checkpoints(folder) as checkpoints,
  ):
    checkpoints.save(2, described, {}, None, state=half)
    checkpoints.wait()
    restored = checkpoints.restore(2, described, state=half)['state']
  resumed = jax.device_get(taken(restored, 2))
  return {
    'same_bits_again': _same_bits(whole, again),
    'same_bits_resumed': _same_bits(whole, resumed),
  }


def _same_bits(a, b):
  return all(
    np.array_equal(x, y)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )
