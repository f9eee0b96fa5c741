"""What every launcher shares: flags, console, and errors in one sentence."""

import logging
import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

CONFIG = config_flags.DEFINE_config_file(
  'config',
  None,
  'The experiment: a file of configs/, with :variant where it has some; '
  'if it is not given configs/quickstart.py, or paper.py for a benchmark. '
  'Values are overridden as --config.training.num_epochs=5.',
  lock_config=True,
)
_WORKDIR = flags.DEFINE_string(
  'workdir',
  None,
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
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
# EX_TEMPFAIL: stopped by SIGTERM with everything saved; run it again.
EXIT_STOPPED = 75
EXIT_INTERRUPTED = 130
_arguments: list[str] = []
_CACHE_DIR = os.path.join(
  os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'),
  'advspeech',
  'xla',
)


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
) -> None:
  """Parses flags, runs `main`, and exits; bad input gets one sentence.

  Args:
    main: What the command does.
    default_config: File of configs/ used when --config is not given.
    takes_arguments: Whether there may be any besides flags, once those are
      parsed.
  """
  _ask_for_huge_pages()
  started = time.monotonic()
  # Until there is anything to save; `preemption` takes over then.
  signal.signal(signal.SIGTERM, lambda *_: os._exit(EXIT_STOPPED))

  def guarded(argv):
    _arguments.extend(argv[1:])
    if _arguments and not takes_arguments():
      _fail(f'unexpected argument {argv[1]!r}; options start with --')
    # What was compiled once is not compiled again, in this run or the next.
    os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', _CACHE_DIR)
    # Imported here: --help must not wait for JAX.
    from tqdm.contrib import logging as tqdm_logging

    from advspeech import errors, parallel, preemption

    # Only the program's own lines: Orbax and TFDS tell their lives at INFO.
    absl_logging.set_verbosity(absl_logging.WARNING)
    ours = logging.getLogger('advspeech')
    ours.addHandler(logging.StreamHandler())
    ours.propagate = False
    code = 0
    try:
      parallel.start(
        _DISTRIBUTED.value,
        _COORDINATOR_ADDRESS.value,
        _NUM_PROCESSES.value,
        _PROCESS_ID.value,
      )
      ours.setLevel(logging.INFO if parallel.is_lead() else logging.WARNING)
      preemption.install()
      with tqdm_logging.logging_redirect_tqdm([ours]):
        main()
    except errors.InputError as e:
      print(f'error: {e}', file=sys.stderr)
      _end_at_once(EXIT_BAD_INPUT)
    except preemption.Stopped as e:
      interrupted = e.signal == signal.SIGINT
      code = EXIT_INTERRUPTED if interrupted else EXIT_STOPPED
      print(f'{e}; the same command goes on from here', file=sys.stderr)
    except Exception:
      traceback.print_exc()
      if parallel.is_distributed():
        print(
          'error: this process failed, or another one that it waited for; '
          'start all of them again with the same command to go on',
          file=sys.stderr,
        )
      _end_at_once(EXIT_FAILED)
    if not code and parallel.is_lead():
      print(f'done in {time.monotonic() - started:.0f} s', file=sys.stderr)
    sys.exit(code)

  app.run(
    guarded,
    argv=_with_config(sys.argv, default_config),
    flags_parser=_parse_flags,
  )


def _ask_for_huge_pages() -> None:
  """Starts the program again where glibc has to be asked for huge pages.

  XLA asks for a step's memory anew each time, gigabytes on a CPU, and touching
  it 4 kB at a time cost a fifth to a quarter of a training step (2 cores, JAX
  0.10.2 and 0.12.0.1, 2026-11-24). glibc reads the wish at its start only.
  """
  setting = '/sys/kernel/mm/transparent_hugepage/enabled'
  if 'GLIBC_TUNABLES' in os.environ or not os.path.exists(setting):
    return
  with open(setting, encoding='ascii') as file:
    on_request = '[madvise]' in file.read()
  if on_request and platform.libc_ver()[0] == 'glibc':
    os.environ['GLIBC_TUNABLES'] = 'glibc.malloc.hugetlb=1'
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def tell(result: str) -> None:
  """Prints a result, on process 0 alone."""
  from advspeech import parallel

  if parallel.is_lead():
    print(result)


def _end_at_once(code: int) -> None:
  """Exits without JAX's farewell, which waits for processes that may be gone.

  The others notice that this one is gone, and end too.
  """
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)


def _with_config(argv: Sequence[str], default: str) -> list[str]:
  """Returns the arguments with the default config where none is named.

  A default of the flag's own would be loaded, with the overrides, on import.
  """
  named = any(a.lstrip('-').partition('=')[0] == 'config' for a in argv[1:])
  if named:
    return [*argv]
  path = os.path.join(_ROOT, 'configs', f'{default}.py')
  return [argv[0], f'--config={path}', *argv[1:]]


def _parse_flags(argv: Sequence[str]) -> list[str]:
  """Returns the arguments left over; a wrong flag ends with a sentence."""
  try:
    rest = flags.FLAGS(argv)
    # A config that could not be loaded says so only when it is looked at.
    CONFIG.value.keys()
  except (AttributeError, KeyError) as e:
    cause = e.args[0].args[0] if isinstance(e.args[0], KeyError) else str(e)
    _fail(f'the config has no such key: {" ".join(cause.split())}')
  except OSError as e:
    _fail(
      f'--config names no config: {str(e).strip().splitlines()[-1].strip()}'
    )
  except (TypeError, ValueError, flags.Error) as e:
    # What get_config() raises arrives as a traceback; its end is the message.
    message = str(e).strip().splitlines()[-1]
    if 'get_config() takes' in message:
      message = 'that config has no variants; name it without a colon'
    _fail(message)
  return rest


def _fail(sentence: str) -> None:
  print(f'error: {sentence}', file=sys.stderr)
  sys.exit(EXIT_BAD_INPUT)
