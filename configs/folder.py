"""Your own recordings: the paper's recipe on any classes.

  python -m launch.reproduce --config=configs/folder.py:label \
    --config.corpus.folder=/path/to/folder --workdir=runs/folder-label

The folder holds `manifest.csv` (`path` and any of `label`, `speaker`, `sex`,
`emotion`, `session`, `statement`, `take`, `split`, `id`; another by
`--config.corpus.manifest`), or one sub-folder a class. `:label` tells the
classes apart, `:gender`, `:emotion`, `:speaker` and so on what those columns
say, of `--config.classes`; `,small` behind it fits two CPU cores. With
`--config.split.kind=manifest` the manifest's splits are used, with `group` what
`--config.split.by` names (`speaker`, `statement`, `take`) is kept apart, with
`leave_one_session_out` a session is tested on.
"""

import ml_collections

from configs import paper


def get_config(variant: str = 'label') -> ml_collections.ConfigDict:
  """Returns the config of a variant.

  Args:
    variant: 'label', 'speaker' or another task, with ',small' after it for the
      size a machine without an accelerator can train.
      With ',disjoint' it is tested on speakers who are not in training, with
      ',robust' attacked as a defence must be.
  """
  return paper.get_corpus_config('folder', variant)
