"""What a config would cost on devices that nobody has.

Programs are compiled, by the TPU's own compiler or for the host's processors,
and never run: `chips` says what they are compiled for, `programs` what a config
consists of, `hlo` reads the compiler's answer, `costs` reckons with it, and
`text` writes it for people.
"""

import datetime
import importlib.metadata
import logging
from collections.abc import Callable, Sequence
from typing import Any

import jax
import ml_collections

from advspeech import errors, experiment, preemption, storage, sweep
from advspeech.plan import chips, costs, programs, text

__all__ = ['PARTS', 'make', 'only_compile']

logger = logging.getLogger(__name__)

PARTS = ('training', 'evaluation', 'sweep', 'gradients')


def only_compile(num_devices: int | None = None) -> None:
  """Keeps JAX to the host's processors, before the first use of a device.

  An accelerator of this machine is left to those who run something on it.
  Compiling is timed: nothing is taken from a cache.

  Args:
    num_devices: Devices that the processors are to stand for; None for as many
      as there are anyway.
  """
  jax.config.update('jax_platforms', 'cpu')
  jax.config.update('jax_enable_compilation_cache', False)
  if num_devices:
    jax.config.update('jax_num_cpu_devices', num_devices)


def make(
  config: ml_collections.ConfigDict,
  *,
  topology: str | None = None,
  num_devices: int | None = None,
  parts: Sequence[str] | None = None,
  num_clips: int | None = None,
  largest_batch: bool = False,
  output: str | None = None,
  report: Callable[[str], None] = print,
) -> dict[str, Any]:
  """Compiles a config's programs and returns what they would cost.

  Args:
    config: See configs/paper.py.
    topology: Slice of TPUs, such as 'v5e:16x16'.
    num_devices: In its place, devices that the host's processors stand for.
    parts: Some of `PARTS`; None for all.
    num_clips: Of the corpus; see `costs.corpus_of`.
    largest_batch: Look for the largest training batch that fits.
    output: Where the plan goes, as JSON, written after every program.
    report: Prints a text.

  Raises:
    errors.InputError: If the config cannot be run, there is no such slice, its
      compiler is not installed, a program does not fit the chips' memory, or
      `output` cannot be written.
  """
  experiment.validate(config)
  if output:
    storage.check_output_file(output)
  if (topology is None) == (num_devices is None):
    raise errors.InputError(
      'one of --topology and --devices must say what to compile for, got '
      f'{"both" if topology else "neither"}; for example --topology=v5e:16x16'
    )
  if topology:
    target = chips.slice_of(topology)
  else:
    target = chips.processors(num_devices)
  corpus = costs.corpus_of(config, num_clips)
  run = programs.Run(config, target.devices, corpus.num_classes)
  results = {
    'date': datetime.date.today().isoformat(),
    'target': target.name,
    'num_chips': len(target.devices),
    'chip': target.chip and target.chip._asdict(),
    'versions': _versions('jax', 'libtpu'),
    'config': config.to_dict(),
    'corpus': corpus._asdict(),
    'num_trainings': len(config.models) * len(config.seeds),
    'num_at_a_time': len(run.training_meshes),
    'left_out': [*config.sweep.checkpoints, *config.sweep.victims],
    'programs': [],
  }
  report(text.heading(results))

  def write():
    if output:
      storage.write_json(output, results)

  for program in _programs(run, parts or PARTS):
    preemption.check_alone()
    logger.info('%s: being compiled', program.name)
    row = costs.cost(program, target.chip, corpus, config)
    results['programs'].append(row)
    report(text.table(row, results))
    write()
  # Last, as large programs are long in compiling.
  for row in results['programs']:
    if row['part'] == 'training' and largest_batch and target.chip:
      row['largest_batch'] = costs.largest_batch(
        run, row, target.chip, corpus.num_clips['train']
      )
      report(text.largest_batch(row, results))
      write()
  return results


def _programs(run, parts):
  """Yields the programs of a config, one after another."""
  config = run.config
  for name in config.models:
    if 'training' in parts:
      yield programs.training(run, name)
    if 'evaluation' in parts:
      yield programs.evaluation(run, name)
  if 'sweep' in parts:
    for name in config.models:
      if name in sweep.source_names(config):
        yield programs.attack(run, name)
  if 'gradients' in parts:
    yield programs.gradients(run)


def _versions(*names):
  found = {}
  for name in names:
    try:
      found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found
