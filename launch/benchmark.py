"""Times everything on this machine, as ratios to its own matrix products.

python -m launch.benchmark --config=configs/paper.py --output=benchmark.json
"""

import datetime
import json
import os
import sys

from absl import flags

from launch import command, path_flags

_SECTIONS = (
  'models',
  'sweep',
  'convolutions',
  'training',
  'input',
  'memory',
  'start',
)
_ONLY = flags.DEFINE_multi_enum(
  'only', None, _SECTIONS, 'Measure only this; may be repeated.'
)
_CLIPS = flags.DEFINE_integer('clips', 4, 'Clips a call.', lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer(
  'batch_size', 100, 'Batch whose memory is told.', lower_bound=1
)
_ROUNDS = flags.DEFINE_integer(
  'rounds', 5, 'Times each call is timed; the least counts.', lower_bound=1
)
_PEERS = flags.DEFINE_bool(
  'peers',
  False,
  'Time PyTorch, Foolbox, torchattacks and ART as well, on the same weights, '
  'once their answers agree.',
)
_OUTPUT = path_flags.define('output', 'Where the results go, as JSON.')


def main():
  import jax

  from advspeech import benchmark, errors, storage

  output = _OUTPUT.value
  if output and os.path.isdir(output):
    raise errors.InputError(
      f'--output must be a file, got the folder {output}; name one in it'
    )
  if output:
    folder = os.path.dirname(output) or '.'
    storage.check_writable(folder)
    storage.make_folder(folder)
  # What is compiled is to be compiled here and now.
  jax.config.update('jax_enable_compilation_cache', False)
  config = command.CONFIG.value
  sections = _ONLY.value or _SECTIONS
  results = {
    'date': datetime.date.today().isoformat(),
    'command': ' '.join(['python -m launch.benchmark', *sys.argv[1:]]),
    **benchmark.environment(),
  }
  command.tell(f'{results["device"]}, JAX {results["jax"]}')

  def keep(section, value, text):
    results[section] = value
    command.tell(f'\n== {section}\n{text}')
    if output:
      storage.write_json(output, results)

  if 'models' in sections:
    peers_calls = {}
    if _PEERS.value:
      from advspeech import peers

      peers_calls = peers.make_calls(config, _CLIPS.value)
    measured = benchmark.measure_models(
      config, _CLIPS.value, _ROUNDS.value, peers_calls
    )
    keep('models', measured, benchmark.format_models(measured))
  if 'convolutions' in sections:
    rows = benchmark.measure_convolutions(config, _ROUNDS.value)
    keep('convolutions', rows, benchmark.format_rows(rows))
  for section, measure in (
    ('sweep', lambda: benchmark.measure_sweep(config, _ROUNDS.value)),
    ('training', lambda: benchmark.measure_training(config, _CLIPS.value)),
    (
      'input',
      lambda: benchmark.measure_input(config, _CLIPS.value, _ROUNDS.value),
    ),
    ('memory', lambda: benchmark.measure_memory(config, _BATCH_SIZE.value)),
    ('start', lambda: benchmark.measure_start(config, _CLIPS.value)),
  ):
    if section in sections:
      measured = measure()
      keep(section, measured, json.dumps(measured, indent=2))


if __name__ == '__main__':
  command.run(main, default_config='paper')
