"""The programs; python -m launch lists them."""

import sys

# A program of this package is being started, by the name of its module: a
# signal must find it prepared, however long it is still to import.
if sys.argv[:1] == ['-m']:
  from launch import ending

  ending.prepare()
