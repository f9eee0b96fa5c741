"""Flags whose values are paths: `~` is the home folder, URLs are of buckets."""

from collections.abc import Sequence

from absl import flags

# They belong to the programs that define them.
flags.disclaim_key_flags()


class _Path(flags.ArgumentParser):
  """Reads a path of a mounted file system, or of a bucket."""

  def __init__(self, name: str, in_bucket: bool = True):
    super().__init__()
    self._name = name
    self._in_bucket = in_bucket

  def parse(self, argument: str) -> str:
    """Returns the path with the home folder in it."""
    # Imported here: --help must not wait for NumPy.
    from advspeech import errors, storage

    try:
      return storage.given_path(
        f'--{self._name}', argument, in_bucket=self._in_bucket
      )
    except errors.InputError as e:
      # absl would put the flag before other errors, which name it already.
      raise flags.Error(str(e)) from e


def define(
  name: str, description: str, *, in_bucket: bool = True
) -> flags.FlagHolder[str | None]:
  """Defines a flag that is a path, None if it is not given.

  Args:
    name: Of the flag.
    description: For --help.
    in_bucket: Whether it may be the URL of a bucket.
  """
  return flags.DEFINE(
    _Path(name, in_bucket),
    name,
    None,
    description,
    serializer=flags.ArgumentSerializer(),
  )


class _Paths(_Path):
  """Reads paths with commas between them."""

  def parse(self, argument: str) -> tuple[str, ...]:
    """Returns the paths with the home folder in them."""
    return tuple(map(super().parse, argument.split(',')))


def define_lists(
  name: str, description: str
) -> flags.FlagHolder[Sequence[Sequence[str]] | None]:
  """Defines a repeatable flag of paths with commas between, each time some."""
  return flags.DEFINE_multi(
    _Paths(name), flags.ArgumentSerializer(), name, None, description
  )


def define_multi(
  name: str, description: str
) -> flags.FlagHolder[Sequence[str] | None]:
  """Defines a repeatable flag of paths, None if it is not given."""
  return flags.DEFINE_multi(
    _Path(name), flags.ArgumentSerializer(), name, None, description
  )
