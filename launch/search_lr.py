"""Searches the learning rate of the models by bisection, on validation."""

from absl import flags

from launch import command

_MODEL = flags.DEFINE_multi_string(
  'model', None, "Search only for this of the config's models; repeatable."
)


def main():
  from advspeech import experiment

  rates = experiment.run_lr_search(
    command.CONFIG.value, command.workdir(), _MODEL.value
  )
  for name, rate in rates.items():
    command.tell(f'{name} {rate:g}')


if __name__ == '__main__':
  command.run(main)
