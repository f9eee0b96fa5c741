"""Prints what a run would find here, and ends with 2 where it would fail."""

from launch import command


def main():
  from advspeech import doctor

  for topic, sentence in doctor.examine(
    command.CONFIG.value, command.workdir()
  ):
    command.report(f'{topic:<12}  {sentence}')


if __name__ == '__main__':
  command.run(main, after_a_stop=lambda: command.STARTS_AGAIN)
