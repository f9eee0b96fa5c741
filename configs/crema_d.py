"""CREMA-D: the paper's recipe on 91 actors, gender, emotion or speaker.

  python -m launch.reproduce --config=configs/crema_d.py:gender \
    --config.corpus.folder=/path/to/crema_d --workdir=runs/crema_d-gender

The folder is a clone of the release (with Git LFS): `AudioWAV` and
`VideoDemographics.csv`. `:gender,small` (and so on) fits two CPU cores. Not
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
  return paper.get_corpus_config('crema_d', variant)
