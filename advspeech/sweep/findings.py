"""What a sweep's own checks find in it; see `advspeech.checks`."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from advspeech import attacks, checks, input_pipeline, over_clips, parallel
from advspeech.sweep import masks, named_attacks, own_attacks, planning
from advspeech.sweep import results as results_lib

# Clips whose logits are looked at.
_NUM_LOOKED_AT = 16
# An error rate is claimed to this.
_CLAIMED_HALF_WIDTH = 0.1


# What a finding is of; None where it is of no one in particular.
FIELDS = ('attack', 'source', 'seed', 'unit', 'mask', 'target')


def findings(results: results_lib.Results) -> list[dict[str, Any]]:
  """Returns what a reader must know before believing a sweep.

  Each as JSON: `name`, `severity`, `sentence` and `values` as in
  `checks.Finding`, and FIELDS, which attack on which model it is of, with which
  mask, judged by whom.
  """
  sweep = results.sweep
  found = [
    _record(finding)
    for finding in checks.too_few_clips(
      len(sweep.split), _CLAIMED_HALF_WIDTH, results.confidence
    )
  ]
  for mask in dict.fromkeys(planned.mask for planned in sweep.plan):
    num_touched = masks.num_touched(mask, sweep.split)
    found += [
      _record(finding, mask=mask)
      for finding in checks.untouched_clips(num_touched, mask)
    ]
  for i in dict.fromkeys(planned.source for planned in sweep.plan):
    member = sweep.members[i]
    found += [
      _record(finding, source=member.name, seed=member.seed)
      for finding in _of_model(sweep, member)
    ]
  for planned in results.plain.values():
    found += _of_attack(results, planned)
  for t in dict.fromkeys(planned.source for planned in sweep.plan):
    member = sweep.members[t]
    found += [
      _record(finding, source=member.name, seed=member.seed, attack=attack)
      for finding, attack in own_attacks.findings(results, t)
    ]
  return found


def title(
  finding: Mapping[str, Any],
  attack_title: Callable[[str], str] = str,
  model_title: Callable[[str], str] = str,
) -> str:
  """Returns what a finding is of, in a few words.

  Args:
    finding: As `findings` returns them.
    attack_title: Returns what readers call an attack.
    model_title: The same of a model.
  """
  source = model_title(finding['source']) if finding['source'] else ''
  model = f'{source} seed {finding["seed"]}'
  if finding['source'] is None:
    return 'all'
  if finding['attack'] is None:
    return model
  words = [f'{attack_title(finding["attack"])} on {model}']
  if finding['unit']:
    words[0] += f' (epsilons in {finding["unit"]})'
  if finding['mask']:
    words += [f'mask {finding["mask"]}']
  if finding['target']:
    words += [f'judged by {model_title(finding["target"])}']
  return ', '.join(words)


def _record(finding, **fields):
  return {
    **dataclasses.asdict(finding),
    'values': dict(finding.values),
    **dict.fromkeys(FIELDS),
    **fields,
  }


class Shares(NamedTuple):
  """What is looked at of gradients; a function for `over_clips.map_clips`."""

  model: nn.Module

  def __call__(self, variables: Any, rows: dict[str, jax.Array]) -> jax.Array:
    """Returns shares of zero and of non-finite gradients, [chunk, 2]."""

    def loss_fn(clips):
      logits = self.model.apply(variables, clips, train=False)
      return attacks.cross_entropy(logits, rows['goal']).sum()

    grads = jax.grad(loss_fn)(rows['audio'])
    return jnp.stack(
      [(grads == 0).mean(-1), (~jnp.isfinite(grads)).mean(-1)], -1
    )


def _of_model(sweep, member):
  """Returns findings on the logits and gradients of a source."""
  labelled = np.flatnonzero(member.labels >= 0)
  mesh = parallel.own_mesh()
  variables = parallel.bring(member.classifier.variables, mesh)
  model = member.classifier.model
  shares = over_clips.map_clips(
    Shares(model),
    input_pipeline.subset(sweep.split, labelled),
    mesh,
    over_clips.chunk_size(mesh),
    shared=variables,
    columns={'goal': member.labels[labelled]},
  )
  chosen = labelled[input_pipeline.spread_rows(len(labelled), _NUM_LOOKED_AT)]
  some = input_pipeline.subset(sweep.split, chosen)
  clips, _ = input_pipeline.decode(some.pcm, some.spans)

  @jax.jit
  def logits_fn(x):
    return model.apply(variables, x, train=False)

  return [
    *checks.logits_look_like_softmax(logits_fn(clips)),
    *checks.gradient_findings(*shares.mean(0, dtype=np.float64).tolist()),
    *checks.batch_dependent_logits(logits_fn, clips),
  ]


def _as_large(planned):
  """Returns the controls that are as large as an attack, in its norm."""
  if named_attacks.control_of(planned.attack) == 'random_sign':
    return planning.CONTROLS
  # Random signs are louder there.
  return [name for name in planning.CONTROLS if name != 'random_sign']


def _of_attack(results, planned):
  """Returns findings on an attack's curves, for targets of its own seed."""
  found = []
  sweep, confidence = results.sweep, results.confidence
  judged = results.judged[planned]
  source = sweep.members[planned.source]
  names = results.variants(planned)
  sizes = [float(np.mean(e.radii(*results.levels))) for e in planned.epsilons]
  fields = {
    'attack': planned.attack,
    'source': source.name,
    'seed': source.seed,
    'unit': planned.epsilons[0].unit if planned.on_features else None,
  }
  if not planned.on_features and planned.attack == sweep.plan[0].attack:
    found += [
      _record(finding, **fields) for finding in checks.below_one_lsb(sizes)
    ]
  for t, target in enumerate(sweep.members):
    known = target.labels >= 0
    if target.seed != source.seed or not known.any():
      continue
    labels = target.labels[known]
    answers = judged.predictions[:, :, t][..., known]
    wrong = answers != labels
    clean = judged.clean[t][known] != labels
    strong = []
    for e, epsilon in enumerate(planned.epsilons):
      control = max(
        (wrong[e, names.index(c)] for c in _as_large(planned)), key=np.sum
      )
      strong += checks.control_as_strong(
        wrong[e, 0], control, clean, epsilon.text, confidence
      )
    classes = target.classifier.metadata['classes']
    counts = np.bincount(labels, minlength=target.num_classes)
    beyond = []
    for e in range(len(planned.epsilons)):
      beyond += checks.beyond_chance(
        int(wrong[e, 0].sum()), counts[counts > 0].tolist(), confidence
      )
    on_curve = planned.on_curve
    falls = checks.non_monotone_curve(
      answers[on_curve, 0],
      labels,
      [sizes[e] for e in on_curve],
      classes,
      own_gradient=target is source,
      confidence=confidence,
    )
    alike = checks.one_answer(
      answers[:, 0],
      labels,
      judged.clean[t][known],
      [e.text for e in planned.epsilons],
      classes,
    )
    # One of each kind is enough; the tables have the others.
    for kind in (strong[:1], beyond[-1:], falls, alike):
      found += [
        _record(finding, **fields, mask=planned.mask, target=target.name)
        for finding in kind
      ]
  return found
