"""Studies where the models' input gradients are; writes tables and figures.

python -m launch.gradients --config=configs/quickstart.py --workdir=runs/a
"""

from absl import flags

from launch import command, path_flags

_CHECKPOINT = path_flags.define_multi(
  'checkpoint',
  'Folder of a trained model, of this run or another; repeatable. All models '
  'of the run if it is not given.',
)
_SPLIT = flags.DEFINE_enum(
  'split', 'test', ['train', 'validation', 'test'], 'Whose clips are studied.'
)
_EXAMPLE = flags.DEFINE_multi_string(
  'example',
  None,
  'Id of a clip whose gradients are kept whole and drawn; repeatable.',
)


def main():
  from advspeech import experiment

  folder = experiment.run_gradients(
    command.CONFIG.value,
    command.workdir(),
    checkpoints=_CHECKPOINT.value or (),
    split=_SPLIT.value,
    examples=_EXAMPLE.value or (),
  )
  command.tell(folder)


if __name__ == '__main__':
  command.run(main)
