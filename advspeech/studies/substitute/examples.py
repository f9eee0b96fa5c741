"""Clips to listen to: attacked on a substitute, and heard by its victim."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import audio, input_pipeline, over_clips, parallel
from advspeech.studies import listening
from advspeech.studies.substitute import trying

ATTACK, NOISE = trying.SENT.index(''), trying.SENT.index('random_sign')


class Sounding(NamedTuple):
  """What is sent, as sound; a function for `over_clips.map_clips`.

  Attributes:
    attack: Whose examples they are.
  """

  attack: trying.Trying

  def __call__(self, variables: Any, rows: dict[str, jax.Array]) -> jax.Array:
    """Returns clips, [chunk, num_sent, time] int16.

    Args:
      variables: The substitute's.
      rows: As for `trying.Trying`, with one radius.
    """
    made = self.attack.making(variables, rows)
    return jnp.moveaxis(made(rows['radii'][:, 0]), 0, 1)


def examples(
  attack: trying.Trying,
  variables: Any,
  split: input_pipeline.Split,
  radii: np.ndarray,
  tried: trying.Tried,
  classes: Sequence[str],
  what: Mapping[str, Any],
  num: int,
  seed: int,
) -> Iterator[listening.Example]:
  """Yields clips as they are, attacked at the loudest epsilon, and noisy.

  On one process alone.

  Args:
    attack: Whose examples they are.
    variables: The substitute's.
    split: The clips that are judged.
    radii: [num_clips, num_epsilons].
    tried: What the victim answers to them.
    classes: Names of its answers.
    what: Further entries of each example.
    num: How many clips, first those that the attack breaks.
    seed: Of everything random.
  """
  mesh, loudest = parallel.own_mesh(), int(np.argmax(radii.mean(0)))
  broken = tried.answers[:, loudest, ATTACK] != split.labels
  right = tried.clean == split.labels
  rows = listening.telling_rows(right.astype(int) + broken, num)
  made = over_clips.map_clips(
    Sounding(attack),
    input_pipeline.subset(split, rows),
    mesh,
    1,
    shared=parallel.bring(variables, mesh),
    columns={
      'goal': split.labels[rows],
      'radii': radii[rows][:, [loudest]],
    },
    seed=seed,
    name='sounds',
  )
  for row, sent in zip(rows, made, strict=True):
    recorded = slice(*split.spans[row])
    original = listening.recorded(split, row)
    answers = tried.answers[row, loudest]
    sounds = {
      'clean': (original, tried.clean[row]),
      'attack': (audio.from_pcm(sent[ATTACK, recorded]), answers[ATTACK]),
      'random_sign': (audio.from_pcm(sent[NOISE, recorded]), answers[NOISE]),
    }
    for name, (sound, answer) in sounds.items():
      yield listening.Example(
        str(split.ids[row]),
        np.asarray(sound),
        original,
        {**what, 'sent': name, 'answer': classes[int(answer)]},
      )
