"""Networks of three convolutions, where the paper's depth tests nothing more.

  python tests/shallow.py launch.NAME [flag ...]

runs a command as `python -m launch.NAME` would, on such networks.
"""

import pathlib
import runpy
import sys

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from advspeech.models import frontend, wavecnn  # noqa: E402

DEPTHS = ((frontend, 2), (wavecnn, 1))
PAPER = tuple((module, module.NUM_LAYERS) for module, _ in DEPTHS)


def set_depths(depths=DEPTHS):
  """Sets the number of layers of networks that are built from now on."""
  for module, num_layers in depths:
    module.NUM_LAYERS = num_layers


if __name__ == '__main__':
  set_depths()
  del sys.argv[0]
  runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
