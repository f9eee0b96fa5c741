"""Flags whose values are paths: `~` is the home folder, URLs are refused."""

from collections.abc import Sequence

from absl import flags

# They belong to the programs that define them.
flags.disclaim_key_flags()


class _Path(flags.ArgumentParser):
  """Reads a path of a mounted file system."""

  def __init__(self, name: str):
    super().__init__()
    self._name = name

  def parse(self, argument: str) -> str:
    """Returns the path with the home folder in it."""
    # Imported here: --help must not wait for NumPy.
    from advspeech import errors, storage

    try:
      return storage.local_path(f'--{self._name}', argument)
    except errors.InputError as e:
      # absl would put the flag before other errors, which name it already.
      raise flags.Error(str(e)) from e


def define(name: str, description: str) -> flags.FlagHolder[str | None]:
  """Defines a flag that is a path, None if it is not given."""
  return flags.DEFINE(
    _Path(name), name, None, description, serializer=flags.ArgumentSerializer()
  )


def define_multi(
  name: str, description: str
) -> flags.FlagHolder[Sequence[str] | None]:
  """Defines a repeatable flag of paths, None if it is not given."""
  return flags.DEFINE_multi(
    _Path(name), flags.ArgumentSerializer(), name, None, description
  )
