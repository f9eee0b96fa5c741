"""Trains the models of a config, or one of them (--model, --seed)."""

from absl import flags

from launch import command

_MODEL = flags.DEFINE_multi_string(
  'model', None, "Train only this of the config's models; may be repeated."
)
_SEED = flags.DEFINE_multi_integer(
  'seed', None, "Train only this of the config's seeds; may be repeated."
)


def main():
  from advspeech import experiment

  run = experiment.Run.open(command.CONFIG.value, command.workdir())
  experiment.train(run, _MODEL.value, _SEED.value)


if __name__ == '__main__':
  command.run(main)
