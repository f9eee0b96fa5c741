"""Runs a whole experiment: prepare, train, attack, report."""

from launch import command


def main():
  from advspeech import experiment

  config, workdir = command.CONFIG.value, command.workdir()
  command.report(experiment.reproduce(config, workdir, command.SKIP_BAD.value))


if __name__ == '__main__':
  command.run(main)
