"""How long a benchmark will take, before it begins: an estimate.

From the operations of each section, in direct forward passes of a clip at the
rate of this machine's matrix product, and from what is compiled. The constants
are those of two idle CPU cores (2026-11-24); other work on a machine, and an
accelerator, make it a bound from below and from above.
"""

from typing import TYPE_CHECKING

from advspeech.benchmark import computations

if TYPE_CHECKING:  # a bare accelerator machine need not have it
  import ml_collections

# Forward passes of WaveCNN in a round, by section: a clip of the call's, and
# whatever the number of clips.
_OF_A_CLIP = {'models': 40.0, 'training': 40.0, 'input': 3.0}
_OF_A_ROUND = {'sweep': 315.0, 'convolutions': 20.0}
_OF_PEERS = 660.0
# Programs compiled, and seconds that one takes.
_PROGRAMS = {
  'models': 13,
  'sweep': 19,
  'convolutions': 57,
  'training': 7,
  'input': 2,
  'memory': 6,
  'start': 6,
}
_COMPILATION_S = 3.0


def estimate_s(
  config: 'ml_collections.ConfigDict',
  section: str,
  *,
  num_clips: int,
  rounds: int,
  peers: bool,
  flop_per_s: float,
) -> float:
  """Returns about how many seconds a section will take.

  Args:
    config: See configs/paper.py.
    section: Of launch.benchmark.
    num_clips: Clips a call.
    rounds: Times each call is timed; once more it is called to compile it.
    peers: Whether other tools are timed.
    flop_per_s: Of a matrix product; see `timing.matmul_flop_per_s`.
  """
  passes = num_clips * _OF_A_CLIP.get(section, 0.0)
  if peers and section == 'models':
    # Called once more each, for their answers.
    passes += num_clips * _OF_PEERS * (rounds + 2) / (rounds + 1)
  passes += _OF_A_ROUND.get(section, 0.0)
  pass_s = computations.direct_flops(config, 'wavecnn') / flop_per_s
  return _PROGRAMS[section] * _COMPILATION_S + (rounds + 1) * passes * pass_s
