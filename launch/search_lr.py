"""Searches the learning rate of the models by bisection, on validation."""

from absl import flags

from launch import command

_MODEL = flags.DEFINE_multi_string(
  'model', None, "Search only for this of the config's models; repeatable."
)


def main():
  from advspeech import experiment

  run = experiment.Run.open(command.CONFIG.value, command.workdir())
  for name, rate in experiment.search_rates(run, _MODEL.value).items():
    command.report(f'{name} {rate:g}')


if __name__ == '__main__':
  command.run(main)
