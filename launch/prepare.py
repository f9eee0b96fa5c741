"""Prepares the corpus of a config as a data set on disk."""

from launch import command


def main():
  from advspeech import experiment

  path = experiment.prepare(command.CONFIG.value, command.SKIP_BAD.value)
  command.report(path)


if __name__ == '__main__':
  command.run(main, after_a_stop=lambda: command.STARTS_AGAIN)
