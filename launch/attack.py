"""Attacks the trained models of a run, one recording (--audio), or one trial.

python -m launch.attack --workdir=runs/quickstart
python -m launch.attack --checkpoint=runs/quickstart/wavecnn-seed0 \
  --audio=my.wav --target=male --epsilons=0.001,0.01,20dbsnr
python -m launch.attack --verify --embedder=resemblyzer \
  --enrol=a1.wav,a2.wav --audio=b.wav --attack=pgd --threshold=0.7

--verify attacks a speaker verifier: --audio claims to be of the speaker of
--enrol. --audio hears the channels that the model was trained on, or those of
--config.corpus.channels.
"""

from absl import flags
from ml_collections import config_flags

from launch import command, path_flags

_AUDIO = path_flags.define(
  'audio', 'A recording to attack, in any format libsndfile reads.'
)
_CHECKPOINT = path_flags.define(
  'checkpoint',
  "A trained model's folder, for --audio; with --verify its last layer's input "
  'is the embedding.',
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
_VERIFY = flags.DEFINE_bool(
  'verify',
  False,
  'Attack a speaker verifier: --audio claims to be of the speaker of --enrol. '
  'It takes --embedder or --checkpoint, --attack, --epsilons and --output too.',
)
_ENROL = path_flags.define_lists(
  'enrol',
  'For --verify: recordings of the speaker, with commas between or each with a '
  'flag of its own. The first judges, the attack sees the others; one alone '
  'does both, which flatters the attack.',
)
_EMBEDDER = flags.DEFINE_string(
  'embedder',
  None,
  'For --verify: resemblyzer, or your own as package.module:function.',
)
_REJECT = flags.DEFINE_bool(
  'reject',
  False,
  'For --verify: a target is to be rejected; otherwise an impostor is to be '
  'accepted.',
)
_THRESHOLD = flags.DEFINE_float(
  'threshold', None, 'For --verify: cosine from which on a trial is accepted.'
)


def main():
  if _VERIFY.value:
    _refuse(
      'is of an attack on a classifier; omit it beside --verify',
      *(_TARGET, _LABEL, _MASK),
    )
    _attack_trial()
    return
  _refuse(
    'is of an attack on a speaker verifier; add --verify',
    *(_ENROL, _EMBEDDER, _REJECT, _THRESHOLD),
  )
  if _AUDIO.value:
    _attack_recording()
    return
  from advspeech import experiment

  experiment.attack(
    experiment.Run.open(command.CONFIG.value, command.workdir())
  )


def _refuse(why, *given):
  """Raises errors.InputError at a flag that has another value than its own."""
  from advspeech import errors

  for flag in given:
    if flag.value != flag.default:
      raise errors.InputError(f'--{flag.name} {why}')


def _channels():
  given = config_flags.get_override_values(flags.FLAGS['config'])
  return given.get('corpus.channels')


def _attack_trial():
  from advspeech import storage, trial

  attacked = trial.Trial(
    _AUDIO.value,
    tuple(path for paths in _ENROL.value or () for path in paths),
    embedder=_EMBEDDER.value,
    checkpoint_dir=_CHECKPOINT.value,
    attack_name=_ATTACK.value,
    is_rejected=_REJECT.value,
    threshold=_THRESHOLD.value,
    channels=_channels(),
  )
  output = _OUTPUT.value or attacked.output_folder
  storage.check_writable(output)
  rows = trial.attack(attacked, _EPSILONS.value, output)
  command.report(trial.format_rows(rows, attacked))
  command.report(f'sounds, answers.csv and answers.png are in {output}')


def _attack_recording():
  from advspeech import errors, recording, storage

  if not _CHECKPOINT.value:
    raise errors.InputError(
      '--audio needs a trained model; name its folder with --checkpoint, such '
      'as runs/quickstart/wavecnn-seed0'
    )
  settings = {
    'attack_name': _ATTACK.value,
    'target': _TARGET.value,
    'label': _LABEL.value,
    'mask': _MASK.value,
    'channels': _channels(),
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
