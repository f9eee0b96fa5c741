"""Sets attacks on features beside end-to-end ones, on trained models.

python -m launch.features --config=configs/quickstart.py --workdir=runs/a
"""

from absl import flags

from launch import command, path_flags

_MODELS = path_flags.define(
  'models', "The run's folder with the trained models; --workdir if not."
)
_NUM_CLIPS = flags.DEFINE_integer(
  'num_clips', 96, 'Test clips, evenly spread over the split.', lower_bound=1
)
_BATCH_SIZE = flags.DEFINE_integer(
  'batch_size', 16, 'Clips at a time.', lower_bound=1
)
_NUM_SCORED = flags.DEFINE_integer(
  'num_scored',
  -1,
  'Of these clips, evenly spread, that STOI and PESQ score, seconds a clip; -1 '
  'for all.',
  lower_bound=-1,
)


def main():
  from advspeech import experiment
  from advspeech.studies import features as feature_study

  folder = experiment.run_features(
    command.CONFIG.value,
    command.workdir(),
    _MODELS.value or '',
    feature_study.Settings(
      num_clips=_NUM_CLIPS.value,
      batch_size=_BATCH_SIZE.value,
      num_scored=_NUM_SCORED.value,
    ),
  )
  command.tell(folder)


if __name__ == '__main__':
  command.run(main)
