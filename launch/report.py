"""Draws the figures and the page of a run, or of several, from their tables.

python -m launch.report --workdir=runs/a
python -m launch.report --compare runs/a runs/b --workdir=runs
"""

from absl import flags

from launch import command

_COMPARE = flags.DEFINE_bool(
  'compare',
  False,
  'Put the runs whose folders follow on one page, comparison/index.html in '
  '--workdir, or in runs.',
)


def main():
  from advspeech import experiment, storage

  if _COMPARE.value:
    folders = [storage.given_path('--compare', x) for x in command.arguments()]
    page = experiment.compare(command.workdir('runs'), folders)
  else:
    page = experiment.write_page(command.workdir())
  command.report(page)


if __name__ == '__main__':
  command.run(
    main,
    takes_arguments=lambda: _COMPARE.value,
    after_a_stop=lambda: command.STARTS_AGAIN,
  )
