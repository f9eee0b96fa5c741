"""A trial attacked, judged in memory, from its files and under controls."""

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import (
  audio,
  embedders,
  errors,
  figures,
  input_pipeline,
  over_clips,
  parallel,
  recording,
  recording_figure,
  storage,
  sweep,
)
from advspeech.recording import output as output_lib
from advspeech.statistics import verification
from advspeech.studies.verification import attacking, scoring
from advspeech.trial import hearing
from advspeech.trial.trial import Trial

logger = logging.getLogger(__name__)

SHARED, APART = 'shared', 'apart'
ACCEPTED, REJECTED = 'accepted', 'rejected'
# What is judged: the recording as it is, attacked, from files, under noise.
JUDGED = ('clean', *sweep.FORMATS, *sweep.CONTROLS)
COLUMNS = (
  *sweep.EPSILON_COLUMNS,
  'snr_db',
  # Scores, and what a threshold, if there is one, makes of them.
  *JUDGED,
  'threshold',
  *(f'{name}_answer' for name in JUDGED),
  # The score of the attack in memory to what it saw.
  'seen',
  'enrolment',
  'file',
)
_BOUNDS = (0.0, 1.0)


class Judge(NamedTuple):
  """Scores of clips of the trial's recording.

  Attributes:
    embed: Maps a clip, [time], to its embedding, [dimension], of L2 norm 1.
    enrolled: [dimension] that of what is enrolled.
    seen: [dimension] that of what the attack sees.
  """

  embed: Callable[[np.ndarray], np.ndarray]
  enrolled: np.ndarray
  seen: np.ndarray

  def score(self, clip: np.ndarray) -> float:
    """Returns the score that the verifier gives."""
    return float(self.embed(clip) @ self.enrolled)

  def seen_score(self, clip: np.ndarray) -> float:
    """Returns the score that the attack sees."""
    return float(self.embed(clip) @ self.seen)


def attack(
  trial: Trial, epsilons: Sequence[str | float], output: str
) -> list[dict[str, Any]]:
  """Attacks a trial at every epsilon; returns and writes its table.

  Writes what `recording.attack` does, with scores in the place of classes. The
  attack moves the score to the enrolled recordings but the first, and is judged
  by the first; with one alone it sees what it is judged by (`enrolment`).

  Args:
    trial: The trial.
    epsilons: Numbers or text with a unit; see `audio.parse_epsilon`.
    output: Folder to write to, such as `Trial.output_folder`.

  Raises:
    errors.InputError: If a name is unknown, a file cannot be read, recordings
      are the same, the embedder has no gradient or no embedding for one, or
      `output` holds something else.
  """
  resolved = recording.attack_by_name(trial.attack_name, targeted=False)
  if resolved.targeted or resolved.fitted or resolved.unit:
    raise errors.InputError(
      '--attack of --verify must be on the waveform of one clip, towards or '
      f'away from a speaker by itself, got {trial.attack_name!r}; use fgsm, '
      'pgd, apgd_margin or their like'
    )
  parsed = sweep.parse_epsilons(epsilons)
  names = output_lib.names(trial.attack_name, parsed)
  output_lib.check(output, trial.identity, names)
  embedder, split = hearing.hear(trial)
  judge = _judge(trial, embedder, split)
  clips = _perturb(trial, embedder, split, resolved, parsed, judge.seen)
  output_lib.claim(output, trial.identity, names)
  rows = _rows(trial, split, parsed, judge, clips, output)
  clean, recorded = _recording(split)
  if any(r['epsilon'] > 0 for r in rows) and (clips[:, 0] == clean).all():
    logger.warning(
      'no sample moved at any epsilon: the gradient of the score is zero; try '
      'another --enrol or --attack'
    )
  storage.write_table(os.path.join(output, output_lib.TABLE), COLUMNS, rows)
  audio.save(
    os.path.join(output, output_lib.ORIGINAL), clean[recorded], 'PCM_16'
  )
  figures.save(
    recording_figure.attacked_recording(
      clean[recorded],
      clips[-1, 0, recorded],
      rows,
      rows[-1],
      recording_figure.Answer(
        'memory', 'cosine to the enrolled', (-1, 1), trial.threshold
      ),
    ),
    os.path.join(output, output_lib.FIGURE),
  )
  return rows


def _recording(split):
  """Returns the attacked recording's clip, [time], and where it lies there."""
  clean = np.asarray(audio.from_pcm(jnp.asarray(split.pcm[:1])))[0]
  return clean, slice(*split.spans[0])


def _judge(trial, embedder, split):
  """Returns a `Judge`, of an embedder that can be attacked."""
  clips, masks = input_pipeline.decode(split.pcm, split.spans)
  embedders.check_gradients(embedder, clips, masks)
  embed = jax.jit(embedder.apply)

  def embed_as(row, clip):
    found = embed(embedder.variables, clip[None], masks[row][None])
    return scoring.unit(np.asarray(found[0], np.float64))

  vectors = [embed_as(i, clip) for i, clip in enumerate(clips)]
  for name, vector in zip(split.ids, vectors, strict=True):
    if not np.isfinite(vector).all() or not vector.any():
      raise errors.InputError(
        f'{embedder.name} must give every recording a finite embedding that is '
        f'not all zeros, and for {name} it does not; look for silence there'
      )
  seen = vectors[1:] if trial.is_shared else vectors[2:]
  return Judge(
    lambda clip: embed_as(0, jnp.asarray(clip)),
    vectors[1],
    scoring.unit(np.mean(seen, 0)),
  )


def _perturb(trial, embedder, split, resolved, parsed, seen):
  """Returns clips, [num_epsilons, 1 + num_controls, time]."""
  mesh = parallel.own_mesh()
  one = input_pipeline.subset(split, np.array([0]))
  rms = sweep.signal_rms(one.pcm, one.spans)
  # What is reached by no score: then attacks never have enough.
  threshold = trial.threshold
  if threshold is None:
    threshold = -1.0 if trial.is_rejected else 1.0
  return over_clips.map_clips(
    attacking.Perturbing(embedder, resolved, _BOUNDS),
    one,
    mesh,
    1,
    shared=(
      parallel.bring(embedder.variables, mesh),
      np.float32(threshold),
    ),
    columns={
      'known': seen[None].astype(np.float32),
      'radii': np.array([[e.radii(rms)[0] for e in parsed]], np.float32),
    },
    seed=trial.seed,
  )[0]


def _rows(trial, split, parsed, judge, clips, output):
  """Writes attacked recordings, and returns their rows by COLUMNS."""
  clean, recorded = _recording(split)
  rms = sweep.signal_rms(split.pcm[:1], split.spans[:1])
  before = judge.score(clean)
  rows = []
  for epsilon, (perturbed, *noises) in zip(parsed, clips, strict=True):
    name = output_lib.sound(trial.attack_name, epsilon)
    heard = {
      'memory': perturbed,
      **output_lib.write_sounds(
        os.path.join(output, name), perturbed, clean, recorded
      ),
      **dict(zip(sweep.CONTROLS, noises, strict=True)),
    }
    scores = {
      'clean': before,
      **{kind: judge.score(clip) for kind, clip in heard.items()},
    }
    rows.append(
      {
        **sweep.epsilon_columns(epsilon, rms),
        'snr_db': float(
          audio.snr_db(clean[recorded], perturbed[recorded], np.float32(1))
        ),
        **scores,
        **_answers(scores, trial.threshold),
        'seen': judge.seen_score(perturbed),
        'enrolment': SHARED if trial.is_shared else APART,
        'file': f'{name}.wav',
      }
    )
  return rows


def _answers(scores, threshold):
  """Returns `ACCEPTED` or `REJECTED` by kind, '' without a threshold."""
  if threshold is None:
    return {'threshold': '', **{f'{kind}_answer': '' for kind in scores}}
  answers = {
    f'{kind}_answer': ACCEPTED
    if verification.accepted(score, threshold)
    else REJECTED
    for kind, score in scores.items()
  }
  return {'threshold': threshold, **answers}
