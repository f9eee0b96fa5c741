"""Studies the trained models of a run: gradients, features, or one's own.

python -m launch.study gradients --workdir=runs/quickstart
python -m launch.study gradients --config.gradients.split=validation \
  --workdir=runs/validation --config.gradients.checkpoints=runs/a/wavecnn-seed0

What is studied, and how much of it, says the section of the config that has the
study's name.
"""

from launch import command


def main():
  from advspeech import errors, experiment, studies

  names = command.arguments()
  if not names:
    raise errors.InputError(
      f'name a study, one of {", ".join(studies.NAMES)} or your own '
      'package.module:attribute, got none; for example python -m launch.study '
      f'{studies.NAMES[0]}'
    )
  run = experiment.Run.open(command.CONFIG.value, command.workdir())
  for name in names:
    command.report(experiment.study(run, name))


if __name__ == '__main__':
  command.run(main, takes_arguments=lambda: True)
