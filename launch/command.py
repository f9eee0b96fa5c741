"""What every launcher shares: flags, signals, and errors in one sentence."""

import ast
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from launch import aside, console, ending, path_flags, surroundings


class _Tuple(flags.ArgumentParser):
  """Reads '(0, 1)', '0, 1' or one element; the last of several flags counts.

  The one of ml_collections appends what further flags say.
  """

  def parse(self, argument: str | tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns the tuple.

    Raises:
      ValueError: If it is none.
    """
    if isinstance(argument, tuple):
      return argument
    text = argument.strip()
    try:
      value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
      value = text  # a name or a path, without quotation marks
      if not text or text[0] in '([{':
        value = {}
    if isinstance(value, dict | set):
      raise ValueError("write a tuple, such as (0, 1), ('fgsm',) or ()")
    return tuple(value) if isinstance(value, tuple | list) else (value,)

  def flag_type(self) -> str:
    """Returns what values are called."""
    return 'tuple'


config_flags.register_flag_parser_for_type(tuple, _Tuple())
CONFIG = config_flags.DEFINE_config_file(
  'config',
  None,
  'The experiment: a file of configs/, with :variant where it has some; '
  'if it is not given configs/quickstart.py, or paper.py for a benchmark. '
  'Values are overridden as --config.training.num_epochs=5.',
  lock_config=True,
)
_WORKDIR = path_flags.define(
  'workdir',
  "The run's folder: models, tables, figures. Stages found complete there are "
  'skipped. Named after the config, in runs/, if it is not given.',
)
SKIP_BAD = flags.DEFINE_bool(
  'skip_bad',
  False,
  'Leave out, and count, recordings that cannot be read, instead of stopping.',
)
_DISTRIBUTED = flags.DEFINE_enum(
  'distributed',
  'auto',
  ['auto', 'on', 'off'],
  'Whether several processes work together: auto where Slurm, a TPU pod or '
  'the three flags below tell of them.',
)
_COORDINATOR_ADDRESS = flags.DEFINE_string(
  'coordinator_address', None, 'host:port of process 0.'
)
_NUM_PROCESSES = flags.DEFINE_integer(
  'num_processes', None, 'How many processes there are.'
)
_PROCESS_ID = flags.DEFINE_integer(
  'process_id', None, 'Which of them this is, from 0.'
)
# Once the program is asked to stop, what the same command would do.
RESUMES = 'the same command goes on from here'
STARTS_AGAIN = 'the same command begins anew'
# A signal to a group of processes may reach a compiler of XLA's first.
_MEANWHILE_S = 0.2
_arguments: list[str] = []


def workdir(default: str | None = None) -> str:
  """Returns --workdir, or runs/<config>[-variant], as runs/quickstart.

  Args:
    default: What else it is if it is not given.
  """
  if _WORKDIR.value or default:
    return _WORKDIR.value or default
  path, _, variant = _config_file().partition(':')
  name = os.path.basename(path).removesuffix('.py')
  parts = [name, *variant.replace(',', '-').split()]
  return os.path.join('runs', '-'.join(parts))


def _config_file():
  return config_flags.get_config_filename(flags.FLAGS['config'])


def arguments() -> list[str]:
  """Returns what was given besides flags."""
  return list(_arguments)


def run(
  main: Callable[[], None],
  default_config: str = 'quickstart',
  takes_arguments: Callable[[], bool] = lambda: False,
  before: Callable[[], None] = lambda: None,
  after_a_stop: Callable[[], str] = lambda: RESUMES,
) -> None:
  """Parses flags, runs `main`, and exits; bad input gets one sentence.

  Args:
    main: What the command does.
    default_config: File of configs/ used when --config is not given.
    takes_arguments: Whether there may be any besides flags, once those are
      parsed.
    before: Done once flags are parsed, before JAX looks for devices.
    after_a_stop: Returns what is reported of it: `RESUMES`, or `STARTS_AGAIN`
      of what cannot be resumed.
  """
  console.never_fail()
  if console.wants_help(sys.argv):
    console.print_help('launch.command')
  surroundings.check_limits()
  ending.prepare()
  started = time.monotonic()
  ending.clean_up(surroundings.leave)
  messages = surroundings.prepare()

  def guarded(argv):
    _arguments.extend(argv[1:])
    if _arguments and not takes_arguments():
      console.fail(f'unexpected argument {argv[1]!r}; options start with --')
    # Imported here: a wrong flag must not wait for JAX.
    from tqdm.contrib import logging as tqdm_logging

    from advspeech import errors, parallel, preemption, processes

    # Only the program's own lines: Orbax and TFDS tell their lives; what fails
    # is raised as well.
    absl_logging.set_verbosity(absl_logging.FATAL)
    sys.unraisablehook = _report_all_but_orphans
    ours = logging.getLogger('advspeech')
    handler = logging.StreamHandler()
    handler.setFormatter(console.HarmlessFormatter())
    ours.addHandler(handler)
    ours.propagate = False
    ours.setLevel(logging.INFO)
    try:
      before()
      processes.start(
        _DISTRIBUTED.value,
        _COORDINATOR_ADDRESS.value,
        _NUM_PROCESSES.value,
        _PROCESS_ID.value,
      )
      if parallel.is_distributed():
        aside.begin()
      ours.setLevel(logging.INFO if parallel.is_lead() else logging.WARNING)
      ending.let_loops_stop(after_a_stop(), parallel.is_lead())
      for message in messages:
        ours.info('%s', message)
      with tqdm_logging.logging_redirect_tqdm([ours]):
        main()
      seconds = time.monotonic() - started
      ending.finish(f'done in {seconds:.0f} s' if parallel.is_lead() else '')
    except preemption.Stopped as e:
      ending.stop(e.signal)
    except SystemExit as e:  # of what a user's own code or a library called
      if isinstance(e.code, str):
        console.fail(e.code, code=None)
      ending.at_once(e.code if isinstance(e.code, int) else bool(e.code))
    except Exception as e:
      time.sleep(_MEANWHILE_S)
      if number := preemption.came():
        ending.stop(number)
      expected = isinstance(e, errors.InputError)
      sentence = str(e) if expected else errors.of_machine(e, workdir())
      if sentence:
        console.fail(sentence, code=None)
        ending.at_once(console.EXIT_BAD_INPUT)
      if parallel.is_distributed():
        aside.tell_of_failure(processes.is_of_others(e))
      else:
        traceback.print_exc()
      ending.at_once(ending.EXIT_FAILED)

  app.run(
    guarded,
    argv=_with_config(sys.argv, default_config),
    flags_parser=_parse_flags,
  )


def _report_all_but_orphans(unraisable) -> None:
  """Leaves out what TensorStore reports, a hundred times, after a failed save.

  The event loop of that save is closed by then; the failure itself is raised.
  """
  if 'Event loop is closed' not in str(unraisable.exc_value):
    sys.__unraisablehook__(unraisable)


def report(result: str) -> None:
  """Prints a result, on process 0 alone."""
  from advspeech import parallel

  if parallel.is_lead():
    print(console.harmless(result), flush=True)


def _with_config(argv: Sequence[str], default: str) -> list[str]:
  """Returns the arguments with the default config where none is named.

  A default of the flag's own would be loaded, with the overrides, on import.
  """
  named = any(a.partition('=')[0] in ('-config', '--config') for a in argv[1:])
  if named:
    mark = '--config='
    return [
      mark + os.path.expanduser(a.removeprefix(mark))
      if a.startswith(mark)
      else a
      for a in argv
    ]
  path = os.path.join(surroundings.ROOT, 'configs', f'{default}.py')
  return [argv[0], f'--config={path}', *argv[1:]]


def _parse_flags(argv: Sequence[str]) -> list[str]:
  """Returns the arguments left over; a wrong flag ends with a sentence."""
  try:
    rest = flags.FLAGS(argv)
    if CONFIG.value is None:
      raise flags.Error('--config has no value; write --config=FILE')
    # A config that could not be loaded says so only when it is looked at.
    CONFIG.value.keys()
    expand_paths(CONFIG.value)
  except (AttributeError, KeyError) as e:
    cause = e.args[0].args[0] if isinstance(e.args[0], KeyError) else str(e)
    console.fail(f'the config has no such key: {" ".join(cause.split())}')
  except OSError as e:
    console.fail(
      f'--config names no config: {str(e).strip().splitlines()[-1].strip()}'
    )
  except (SyntaxError, ImportError) as e:
    console.fail(f'--config names no config that Python can read: {e}')
  except (TypeError, ValueError, flags.Error) as e:
    # What get_config() raises arrives as a traceback; its end is the message.
    message = str(e).strip().splitlines()[-1]
    if 'get_config() takes' in message:
      message = 'that config has no variants; name it without a colon'
    console.fail(message)
  return rest


def expand_paths(config) -> None:
  """Puts the home folder into the config's paths, and checks their URLs.

  Raises:
    errors.InputError: See `storage.given_path`.
  """
  from advspeech import storage

  for key in ('folder', 'manifest'):  # URLs too
    if '://' not in config.corpus[key] and config.corpus[key]:
      config.corpus[key] = storage.given_path(
        f'--config.corpus.{key}', config.corpus[key]
      )
  if config.data_dir:
    config.data_dir = storage.given_path('--config.data_dir', config.data_dir)
  expanded = {
    path: storage.given_path(f'--config.{section}.checkpoints', path)
    for section in ('sweep', 'gradients')
    for path in map(str, config[section].checkpoints)
  }
  for section in ('sweep', 'gradients'):
    config[section].checkpoints = tuple(
      expanded[str(path)] for path in config[section].checkpoints
    )
  config.sweep.sources = tuple(
    expanded.get(source, source) for source in config.sweep.sources
  )
