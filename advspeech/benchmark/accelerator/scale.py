"""How much a session with an accelerator measures."""

import dataclasses

# Clips of the whole corpus that Figure 6 is drawn from in the paper.
FIGURE_6 = {'clips': 3171, 'epsilons': 20, 'seeds': 2}


@dataclasses.dataclass(frozen=True)
class Scale:
  """How much of everything is measured.

  Attributes:
    matmul_size: Rows and columns of the square matrices.
    copy_bytes: Of the array copied.
    conv_clips: Whose maps are convolved.
    batch_sizes: Of training steps, the paper's first.
    clips: Of a step of the sweep and of gradient statistics.
    figure_6_clips: Attacked for it.
    judged_clips: That the whole attack, with its controls, is made on.
    streak_s: Seconds of a timed streak.
  """

  matmul_size: int
  copy_bytes: int
  conv_clips: int
  batch_sizes: tuple[int, ...]
  clips: int
  figure_6_clips: int
  judged_clips: int
  streak_s: float


SCALES = {
  'paper': Scale(
    8192, 2**31, 64, (100, 32, 256, 1024), 128, FIGURE_6['clips'], 128, 0.05
  ),
  'tiny': Scale(256, 2**20, 1, (4,), 4, 6, 2, 0.001),
}
