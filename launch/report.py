"""Draws the figures and the page of a run from its tables."""

from launch import command


def main():
  from advspeech import experiment

  command.tell(experiment.run_report(command.workdir()))


if __name__ == '__main__':
  command.run(main)
