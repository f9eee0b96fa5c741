"""EmoDB: the paper's recipe on ten German actors.

  python -m launch.reproduce --config=configs/emodb.py:gender \
    --config.corpus.folder=/path/to/emodb --workdir=runs/emodb-gender

The folder holds the release's `wav`. `:gender`, `:emotion` and `:speaker`, each
with `,small` for two CPU cores. It is small (535 clips): batches are of 20. Not
run on the release itself: the reader is tested on a stand-in of its layout.
"""

import ml_collections

from configs import paper


def get_config(variant: str = 'gender') -> ml_collections.ConfigDict:
  """Returns the config of a variant.

  Args:
    variant: 'gender', 'emotion' or 'speaker', with ',small' after it for the
      size a machine without an accelerator can train.
      With ',disjoint' it is tested on speakers who are not in training, with
      ',robust' attacked as a defence must be.
  """
  config = paper.get_corpus_config('emodb', variant)
  config.training.batch_size = 20
  return config
