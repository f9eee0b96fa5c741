"""Attacks the trained models of a run and writes its tables."""

from launch import command


def main():
  from advspeech import experiment

  experiment.run_attack(command.CONFIG.value, command.workdir())


if __name__ == '__main__':
  command.run(main)
