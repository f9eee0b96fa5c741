"""SAVEE: the paper's recipe on four English men, emotion or speaker.

  python -m launch.reproduce --config=configs/savee.py:emotion \
    --config.corpus.folder=/path/to/savee --workdir=runs/savee-emotion

The folder holds the release's `AudioData`. `:emotion` and `:speaker`, each with
`,small` for two CPU cores; no woman speaks, so there is no gender. It is small
(480 clips, of which emotion takes 120): batches are of 20. Not run on the
release itself: the reader is tested on a stand-in of its layout.
"""

import ml_collections

from configs import paper


def get_config(variant: str = 'emotion') -> ml_collections.ConfigDict:
  """Returns the config of a variant.

  Args:
    variant: 'emotion' or 'speaker', with ',small' after it for the
      size a machine without an accelerator can train.
      With ',disjoint' it is tested on speakers who are not in training, with
      ',robust' attacked as a defence must be.
  """
  config = paper.get_corpus_config('savee', variant)
  if config.task == 'speaker':
    config.classes = ('DC', 'JE', 'JK', 'KL')
  config.training.batch_size = 20
  return config
