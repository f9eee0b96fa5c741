"""Says what a config would cost on a slice of TPUs that nobody has.

python -m launch.plan --config=configs/paper.py --topology=v5e:16x16

Compiles its programs with the TPU's compiler (pip install -e '.[plan]'), on any
machine, and runs none: times are the compiler's estimate, not a measurement.
"""

from absl import flags

from launch import command, path_flags

_TOPOLOGY = flags.DEFINE_string(
  'topology',
  None,
  'Slice of TPUs to compile for: v5e:16x16, v6e:4x4, v4:2x2x1, v5p:4x4x4, ...',
)
_DEVICES = flags.DEFINE_integer(
  'devices',
  None,
  "Compile for so many devices of the host's processors instead.",
  lower_bound=1,
)
_ONLY = flags.DEFINE_multi_enum(
  'only',
  None,
  ['training', 'evaluation', 'sweep', 'gradients'],
  'Compile only these programs; may be repeated.',
)
_NUM_CLIPS = flags.DEFINE_integer(
  'num_clips',
  None,
  'Clips of the corpus, of which 75 % are trained on; if it is not given those '
  "of the config's corpus where it is prepared, otherwise the paper's 10,039.",
  lower_bound=1,
)
_LARGEST_BATCH = flags.DEFINE_bool(
  'largest_batch',
  False,
  "Look for the largest training batch that fits the chips' memory, after all "
  'else: two to five more compilations a model, long ones.',
)
_OUTPUT = path_flags.define(
  'output', 'Where the plan goes, as JSON.', in_bucket=False
)


def start():
  from advspeech import plan

  flags.FLAGS.distributed = 'off'  # there is nothing to run
  plan.only_compile(_DEVICES.value)


def main():
  from advspeech import plan

  plan.make(
    command.CONFIG.value,
    topology=_TOPOLOGY.value,
    num_devices=_DEVICES.value,
    parts=_ONLY.value,
    num_clips=_NUM_CLIPS.value,
    largest_batch=_LARGEST_BATCH.value,
    output=_OUTPUT.value,
    report=command.report,
  )


if __name__ == '__main__':
  command.run(
    main,
    default_config='paper',
    before=start,
    after_a_stop=lambda: command.STARTS_AGAIN,
  )
