"""What a sweep's own checks make of it; see `advspeech.checks`."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import attacks, audio, checks, input_pipeline
from advspeech.sweep import cells as cells_lib
from advspeech.sweep import engine, masks, problem, work

# Clips whose logits are looked at.
_NUM_LOOKED_AT = 16
# An error rate is claimed to this.
_CLAIMED_HALF_WIDTH = 0.1


def findings(sweep: work.Sweep, confidence: float) -> list[dict[str, Any]]:
  """Returns what a reader must know before believing a sweep.

  Each as JSON: `name`, `severity`, `sentence`, `values`, and of which model or
  attack it was found.

  Args:
    sweep: Its work must be complete.
    confidence: One less the level of every test.
  """
  num_clips = len(sweep.split)
  found = [
    _as_json('all', finding)
    for finding in checks.too_few_clips(
      num_clips, _CLAIMED_HALF_WIDTH, confidence
    )
  ]
  for mask in dict.fromkeys(cell.mask for cell in sweep.cells):
    num_touched = masks.num_touched(mask, sweep.split)
    found += [
      _as_json('all', f) for f in checks.untouched_clips(num_touched, mask)
    ]
  for i in dict.fromkeys(cell.source for cell in sweep.cells):
    member = sweep.members[i]
    where = f'{member.name} seed {member.seed}'
    found += [_as_json(where, f) for f in _of_model(sweep, member)]
  for cell in sweep.cells:
    if cell.is_plain:
      found += _of_cell(sweep, cell, confidence)
  return found


def _as_json(where, finding):
  return {
    **dataclasses.asdict(finding),
    'values': dict(finding.values),
    'where': where,
    'sentence': f'{where}: {finding.sentence}',
  }


def _of_model(sweep, member):
  """Returns findings on the logits and gradients of a source."""
  labelled = np.flatnonzero(member.labels >= 0)

  def clips(rows):
    return audio.from_pcm(jnp.asarray(sweep.split.pcm[rows]))

  variables = jax.device_get(member.classifier.variables)
  model = member.classifier.model

  @jax.jit
  def logits_fn(x):
    return model.apply(variables, x, train=False)

  @jax.jit
  def gradients(x, label):
    def loss(x):
      logits = model.apply(variables, x, train=False)
      return attacks.cross_entropy(logits, label).sum()

    return jax.grad(loss)(x)

  shares, weights = [], []
  for start in range(0, len(labelled), sweep.settings.batch_size):
    rows = labelled[start : start + sweep.settings.batch_size]
    found = gradients(clips(rows), jnp.asarray(member.labels[rows]))
    shares.append(checks.gradient_shares(found))
    weights.append(len(rows))
  some = clips(
    labelled[input_pipeline.spread_rows(len(labelled), _NUM_LOOKED_AT)]
  )
  return [
    *checks.logits_look_like_softmax(logits_fn(some)),
    *checks.gradient_findings(*np.average(shares, 0, weights).tolist()),
    *checks.batch_dependent_logits(logits_fn, some),
  ]


def _of_cell(sweep, cell, confidence):
  """Returns findings on the curves of a cell, for targets of its own seed."""
  found = []
  judged = work.judgements(sweep, cell)
  source = sweep.members[cell.source]
  names = engine.variants(cell, sweep.settings)
  rms = problem.signal_rms(sweep.split.pcm, sweep.split.spans)
  sizes = [float(np.mean(e.radii(rms))) for e in cell.epsilons]
  attack = f'{cell.attack} on {source.name} seed {source.seed}'
  if cell.on_features:
    attack += f' (epsilons in {cell.epsilons[0].unit})'
  elif cell.attack == sweep.cells[0].attack:
    found += [
      _as_json(attack, finding) for finding in checks.below_one_lsb(sizes)
    ]
  for t, target in enumerate(sweep.members):
    known = target.labels >= 0
    if target.seed != source.seed or not known.any():
      continue
    where = f'{attack}, mask {cell.mask}, judged by {target.name}'
    labels = target.labels[known]
    answers = judged.predictions[:, :, t][..., known]
    wrong = answers != labels
    clean = judged.clean[t][known] != labels
    strong = []
    for e, epsilon in enumerate(cell.epsilons):
      control = max(
        (wrong[e, names.index(c)] for c in cells_lib.CONTROLS), key=np.sum
      )
      strong += checks.control_as_strong(
        wrong[e, 0], control, clean, epsilon.text, confidence
      )
    classes = target.classifier.metadata['classes']
    counts = np.bincount(labels, minlength=target.num_classes)
    beyond = []
    for e in range(len(cell.epsilons)):
      beyond += checks.beyond_chance(
        int(wrong[e, 0].sum()), counts[counts > 0].tolist(), confidence
      )
    falls = checks.non_monotone_curve(
      answers[:, 0],
      labels,
      sizes,
      classes,
      own_gradient=target is source,
      confidence=confidence,
    )
    alike = checks.one_answer(
      answers[:, 0],
      labels,
      judged.clean[t][known],
      [e.text for e in cell.epsilons],
      classes,
    )
    # One of each kind says it; the tables have the others.
    for kind in (strong[:1], beyond[-1:], falls, alike):
      found += [_as_json(where, finding) for finding in kind]
  return found
