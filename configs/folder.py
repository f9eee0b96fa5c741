"""Your own recordings: the paper's recipe on any classes.

  python -m launch.reproduce --config=configs/folder.py:label \
    --config.corpus.folder=/path/to/folder --workdir=runs/folder-label

The folder holds `manifest.csv`
(`path,label[,speaker,split,id,statement,take]`, another by
`--config.corpus.manifest`), or one sub-folder a class. `:label` tells the
classes apart, `:speaker` the speakers named in `--config.speakers`; `,small`
behind it fits two CPU cores. With `--config.split.kind=manifest` the manifest's
splits are used, with `group` what `--config.split.by` names (`speaker`,
`statement`, `take`) is kept apart.
"""

import ml_collections

from configs import paper


def get_config(variant: str = 'label') -> ml_collections.ConfigDict:
  """Returns the config of a variant.

  Args:
    variant: 'label' or 'speaker', with ',small' after it for the
      size a machine without an accelerator can train.
  """
  return paper.get_corpus_config('folder', variant)
