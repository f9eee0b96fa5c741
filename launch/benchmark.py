"""Times everything on this machine, as ratios to its own matrix products.

python -m launch.benchmark --config=configs/paper.py --output=benchmark.json

With --accelerator, what a GPU or TPU can do, in minutes; see README.md.
"""

import datetime
import json
import sys
import threading

from absl import flags

from launch import command, ending, path_flags

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
  'batch_size', 100, 'Batch whose memory is reported.', lower_bound=1
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
_ACCELERATOR = flags.DEFINE_bool(
  'accelerator',
  False,
  'Measure what a GPU or TPU can do in a short session, in the order of what '
  'matters most.',
)
_SCALE = flags.DEFINE_enum(
  'scale',
  'paper',
  ['paper', 'tiny'],
  'Of --accelerator: tiny only shows that everything runs.',
)
_MINUTES = flags.DEFINE_float(
  'minutes', 8.5, 'How long --accelerator may take.', lower_bound=0.1
)
_SECTION = flags.DEFINE_multi_enum(
  'section',
  None,
  [
    'peaks',
    'convolutions',
    'training',
    'sweep',
    'gradients',
    'answers',
    'resume',
  ],
  'Of --accelerator: measure only this; may be repeated.',
)
_OUTPUT = path_flags.define(
  'output', 'Where the results go, as JSON.', in_bucket=False
)
# What a compilation under way at the end may still take.
_GRACE_S = 20


def main():
  import jax

  from advspeech import storage

  output = _OUTPUT.value
  if output:
    storage.check_output_file(output)
  # What is compiled is to be compiled here and now.
  jax.config.update('jax_enable_compilation_cache', False)
  config = command.CONFIG.value
  if _ACCELERATOR.value:
    _measure_accelerator(config)
    return
  from advspeech.benchmark import duration, host, stages, timing

  sections = _ONLY.value or _SECTIONS
  results = {
    'date': datetime.date.today().isoformat(),
    'command': ' '.join(['python -m launch.benchmark', *sys.argv[1:]]),
    **host.environment(),
  }
  command.report(f'{results["device"]}, JAX {results["jax"]}')
  rate = timing.matmul_flop_per_s()
  for section in _SECTIONS:
    if section in sections:
      seconds = duration.estimate_s(
        config,
        section,
        num_clips=_CLIPS.value,
        rounds=_ROUNDS.value,
        peers=_PEERS.value,
        flop_per_s=rate,
      )
      command.report(f'{section}: about {seconds / 60:.1f} minutes if idle')

  def write(section, value, text):
    results[section] = value
    command.report(f'\n== {section}\n{text}')
    if output:
      storage.write_json(output, results)

  if 'models' in sections:
    peers_calls = {}
    if _PEERS.value:
      from advspeech.benchmark import peers

      peers_calls = peers.make_calls(config, _CLIPS.value)
    measured = host.measure_models(
      config, _CLIPS.value, _ROUNDS.value, peers_calls
    )
    write('models', measured, host.format_models(measured))
  if 'convolutions' in sections:
    rows = host.measure_convolutions(config, _ROUNDS.value)
    write('convolutions', rows, host.format_rows(rows))
  for section, measure in (
    ('sweep', lambda: host.measure_sweep(config, _ROUNDS.value)),
    ('training', lambda: stages.measure_training(config, _CLIPS.value)),
    (
      'input',
      lambda: stages.measure_input(config, _CLIPS.value, _ROUNDS.value),
    ),
    ('memory', lambda: stages.measure_memory(config, _BATCH_SIZE.value)),
    ('start', lambda: stages.measure_start(config, _CLIPS.value)),
  ):
    if section in sections:
      measured = measure()
      write(section, measured, json.dumps(measured, indent=2))


def _measure_accelerator(config):
  """Runs the short session, and ends it when its time is over."""
  from advspeech import storage
  from advspeech.benchmark import accelerator

  results = {
    'date': datetime.date.today().isoformat(),
    'command': ' '.join(['python -m launch.benchmark', *sys.argv[1:]]),
    **accelerator.environment(),
  }
  command.report(json.dumps(results))

  def write(section, rows):
    results[section] = rows
    if _OUTPUT.value:
      storage.write_json(_OUTPUT.value, results)

  limit_s = 60 * _MINUTES.value
  # A program that is being compiled cannot be asked to stop.
  alarm = threading.Timer(limit_s + _GRACE_S, _time_is_over)
  alarm.daemon = True
  alarm.start()
  session = accelerator.Session(
    config, accelerator.SCALES[_SCALE.value], limit_s, write, command.report
  )
  chosen = _SECTION.value or tuple(accelerator.SECTIONS)
  session.run({name: accelerator.SECTIONS[name] for name in chosen})
  alarm.cancel()


def _time_is_over():
  command.report('time is over; what is above was measured, and written')
  ending.at_once(0)


if __name__ == '__main__':
  command.run(
    main,
    default_config='paper',
    after_a_stop=lambda: f'what is above was measured; {command.STARTS_AGAIN}',
  )
