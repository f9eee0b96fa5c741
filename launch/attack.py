"""Attacks the trained models of a run, or one recording (--audio).

python -m launch.attack --workdir=runs/quickstart
python -m launch.attack --checkpoint=runs/quickstart/wavecnn-seed0 \
  --audio=my.wav --target=male --epsilons=0.001,0.01,20dbsnr

--audio hears the channels that the model was trained on, or those of
--config.corpus.channels.
"""

from absl import flags
from ml_collections import config_flags

from launch import command, path_flags

_AUDIO = path_flags.define(
  'audio', 'A recording to attack, in any format libsndfile reads.'
)
_CHECKPOINT = path_flags.define(
  'checkpoint', "A trained model's folder, for --audio."
)
_EPSILONS = flags.DEFINE_list(
  'epsilons',
  ['0.0005', '0.001', '0.002', '0.005', '0.01', '0.02'],
  'How large, for --audio: numbers in half of full scale, or 0.04fs, 1311lsb, '
  '-28dbfs, 20dbsnr.',
)
flags.register_validator('epsilons', bool, 'it must name one at least')
_ATTACK = flags.DEFINE_string(
  'attack', 'fgsm', 'For --audio: fgsm, fgm, pgd, apgd_ce, square, mfcc, ...'
)
_TARGET = flags.DEFINE_string(
  'target', None, 'Class to reach with --audio; otherwise the label is left.'
)
_LABEL = flags.DEFINE_string(
  'label', None, "True class of --audio; the model's own answer if not given."
)
_MASK = flags.DEFINE_string(
  'mask',
  'recorded',
  'What may be touched in --audio: all, recorded, 0.5-1.5s, 300-3400hz, '
  'joined by +.',
)
_OUTPUT = path_flags.define(
  'output',
  'Where sounds, table and figure of --audio go: a new folder, or that of the '
  'same attack. attacked/<recording>-<hash of the settings> if not given.',
)


def main():
  if not _AUDIO.value:
    from advspeech import experiment

    experiment.attack(
      experiment.Run.open(command.CONFIG.value, command.workdir())
    )
    return
  from advspeech import errors, recording, storage

  if not _CHECKPOINT.value:
    raise errors.InputError(
      '--audio needs a trained model; name its folder with --checkpoint, such '
      'as runs/quickstart/wavecnn-seed0'
    )
  given = config_flags.get_override_values(flags.FLAGS['config'])
  settings = {
    'attack_name': _ATTACK.value,
    'target': _TARGET.value,
    'label': _LABEL.value,
    'mask': _MASK.value,
    'channels': given.get('corpus.channels'),
  }
  files = _CHECKPOINT.value, _AUDIO.value
  output = _OUTPUT.value or recording.output_folder(*files, **settings)
  storage.check_writable(output)
  rows = recording.attack(*files, _EPSILONS.value, output, **settings)
  command.report(recording.format_rows(rows, _ATTACK.value))
  command.report(f'sounds, answers.csv and answers.png are in {output}')


if __name__ == '__main__':
  command.run(
    main,
    after_a_stop=lambda: (
      command.STARTS_AGAIN if _AUDIO.value else command.RESUMES
    ),
  )
