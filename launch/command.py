"""What every launcher shares: flags, console, and errors in one sentence."""

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_DEFAULT_CONFIG = os.path.join(_ROOT, 'configs', 'quickstart.py')

CONFIG = config_flags.DEFINE_config_file(
  'config',
  None,
  'The experiment: a file of configs/, with :variant where it has some; '
  'configs/quickstart.py if it is not given. '
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
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def workdir() -> str:
  """Returns --workdir, or runs/<config>[-variant], as runs/quickstart."""
  if _WORKDIR.value:
    return _WORKDIR.value
  path, _, variant = _config_file().partition(':')
  name = os.path.basename(path).removesuffix('.py')
  parts = [name, *variant.replace(',', '-').split()]
  return os.path.join('runs', '-'.join(parts))


def _config_file():
  return config_flags.get_config_filename(flags.FLAGS['config'])


def run(main: Callable[[], None]) -> None:
  """Parses flags, runs `main`, and exits; bad input gets one sentence."""
  started = time.monotonic()

  def guarded(argv):
    if argv[1:]:
      _fail(f'unexpected argument {argv[1]!r}; options start with --')
    # Imported here: --help must not wait for JAX.
    from tqdm.contrib import logging as tqdm_logging

    from advspeech import errors

    # Only the program's own lines: Orbax and TFDS tell their lives at INFO.
    absl_logging.set_verbosity(absl_logging.WARNING)
    ours = logging.getLogger('advspeech')
    ours.addHandler(logging.StreamHandler())
    ours.setLevel(logging.INFO)
    ours.propagate = False
    try:
      with tqdm_logging.logging_redirect_tqdm([ours]):
        main()
    except errors.InputError as e:
      _fail(str(e))
    except KeyboardInterrupt:
      print('interrupted; the same command goes on from here', file=sys.stderr)
      sys.exit(EXIT_INTERRUPTED)
    print(f'done in {time.monotonic() - started:.0f} s', file=sys.stderr)

  app.run(guarded, argv=_with_config(sys.argv), flags_parser=_parse_flags)


def _with_config(argv: Sequence[str]) -> list[str]:
  """Returns the arguments with the default config where none is named.

  A default of the flag's own would be loaded, with the overrides, on import.
  """
  named = any(a.lstrip('-').partition('=')[0] == 'config' for a in argv[1:])
  return (
    [*argv] if named else [argv[0], f'--config={_DEFAULT_CONFIG}', *argv[1:]]
  )


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
