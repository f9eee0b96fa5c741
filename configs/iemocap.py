"""IEMOCAP: the paper's recipe on the paper's corpus.

  python -m launch.reproduce --config=configs/iemocap.py:gender \
    --config.corpus.folder=/path/to/iemocap --workdir=runs/iemocap-gender

`:gender`, `:emotion` and `:speaker` are the paper's three tasks, at its size,
for an accelerator; `:gender,small` (and so on) fits two CPU cores. The folder
is the one that holds Session1 ... Session5. Preparing logs every count that
the paper states beside what was found. To test on a session never heard:
`--config.split.kind=leave_one_session_out --config.split.session=5`.

Not run on the release itself, which needs a licence, but on a stand-in of the
same layout, counts and size: configs/README.md says what that took.
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
  return paper.get_corpus_config('iemocap', variant)
