"""Is this curve to be believed? Signs that attack or judgement is broken.

In the manner of AutoAttack's warnings (Croce & Hein 2020; Carlini et al. 2019):
each function looks at one thing and returns what it found, nothing where all is
well. A finding is one sentence with its values and what to do.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from advspeech import statistics
from advspeech.audio import LSB_PER_UNIT

# Rows of probabilities sum to 1 this closely, in float32 or bfloat16.
SOFTMAX_TOLERANCE = 1e-2
# Share of clips with the same answer at which nothing else is left to tell.
ONE_ANSWER = 0.95
# Shares of zero gradients that are worth a word, and that spoil an attack.
ZERO_SHARE_WARNING, ZERO_SHARE_ERROR = 0.01, 0.5


@dataclasses.dataclass(frozen=True)
class Finding:
  """Something that a reader of the results must know.

  Attributes:
    name: The check's.
    severity: 'warning' (the result needs a word) or 'error' (it is not what it
      says it is).
    sentence: What was found, with its values, and what to do.
    values: The values by name.
  """

  name: str
  severity: Literal['warning', 'error']
  sentence: str
  values: Mapping[str, Any]


class GradientShares(NamedTuple):
  """Shares of input gradients that are exactly zero, and not finite."""

  zero: float
  nonfinite: float


def logits_look_like_softmax(logits: jax.Array) -> list[Finding]:
  """Finds probabilities where logits belong.

  Args:
    logits: [batch, num_classes] as the model returned them.
  """
  logits = np.asarray(logits, np.float64)
  sums = logits.sum(-1)
  apart = float(np.abs(sums - 1).max())
  if logits.min() < 0 or logits.max() > 1 or apart > SOFTMAX_TOLERANCE:
    return []
  return [
    Finding(
      'logits_look_like_softmax',
      'error',
      f'all {len(logits)} rows of logits lie in [0, 1] and sum to 1 within '
      f'{apart:.1g}: a softmax before the loss flattens its gradient, so '
      'return logits without it',
      {'num_clips': len(logits), 'max_distance_from_one': apart},
    )
  ]


def gradient_shares(input_grads: jax.Array) -> GradientShares:
  """Returns the shares of zero and of non-finite gradients.

  Args:
    input_grads: [batch, time] of the loss by the samples.
  """
  input_grads = jnp.asarray(input_grads)
  return GradientShares(
    float(jnp.mean(input_grads == 0)),
    float(jnp.mean(~jnp.isfinite(input_grads))),
  )


def gradient_findings(
  share_zero: float, share_nonfinite: float
) -> list[Finding]:
  """Finds gradients that show no direction.

  Args:
    share_zero: Of samples whose gradient is exactly 0; see `gradient_shares`.
    share_nonfinite: Of samples whose gradient is infinite or not a number.
  """
  findings = []
  if share_zero > ZERO_SHARE_WARNING:
    findings.append(
      Finding(
        'zero_gradients',
        'error' if share_zero > ZERO_SHARE_ERROR else 'warning',
        f'{share_zero:.1%} of input gradients are exactly zero, and the attack '
        'leaves those samples alone: look for saturated activations, a loss '
        'that underflows or a step without gradient, or attack the margin '
        'of the logits instead of the cross entropy',
        {'share_zero': share_zero},
      )
    )
  if share_nonfinite > 0:
    findings.append(
      Finding(
        'nonfinite_gradients',
        'error',
        f'{share_nonfinite:.1%} of input gradients are infinite or not a '
        'number: find the operation that makes them before trusting the curve',
        {'share_nonfinite': share_nonfinite},
      )
    )
  return findings


def control_as_strong(
  attack_wrong: Sequence[bool],
  control_wrong: Sequence[bool],
  clean_wrong: Sequence[bool],
  epsilon: float | str,
  confidence: float = 0.95,
) -> list[Finding]:
  """Finds an attack that harms the model, and no more than noise does.

  Silent where the attack does no significant harm: there is nothing to explain.
  Both comparisons are McNemar's exact test.

  Args:
    attack_wrong: [num_clips] whether each attacked clip is judged wrong.
    control_wrong: [num_clips] the same clips under the noise control.
    clean_wrong: [num_clips] the same clips untouched.
    epsilon: The point, for the sentence.
    confidence: One less the level of the tests.
  """
  against_clean = statistics.mcnemar(attack_wrong, clean_wrong)
  against_control = statistics.mcnemar(attack_wrong, control_wrong)
  if not _more_errors(against_clean, 1 - confidence) or _more_errors(
    against_control, 1 - confidence
  ):
    return []
  values = {
    'epsilon': epsilon,
    'clean_error': float(np.mean(clean_wrong)),
    'attack_error': float(np.mean(attack_wrong)),
    'control_error': float(np.mean(control_wrong)),
    'p_value': against_control.p_value,
  }
  return [
    Finding(
      'control_as_strong',
      'warning',
      f'at epsilon {epsilon} the attack errs on {values["attack_error"]:.1%} '
      f'and its noise control on {values["control_error"]:.1%} of '
      f'{len(attack_wrong)} clips (clean {values["clean_error"]:.1%}, McNemar '
      f'p = {against_control.p_value:.2g}): do not credit the direction of the '
      'gradient with what noise does too, or judge more clips',
      values,
    )
  ]


def non_monotone_curve(
  answers: np.ndarray,
  labels: np.ndarray,
  epsilons: Sequence[float],
  classes: Sequence[str],
  *,
  own_gradient: bool = True,
  confidence: float = 0.95,
) -> list[Finding]:
  """Finds the clearest fall of a curve that ought to rise, and what it is.

  Only one larger than sampling explains counts: every epsilon is held against
  the smaller one with the most errors, by McNemar's exact test at a level
  shared among all pairs (Bonferroni). A larger ball holds the smaller, so a
  stronger search would not fall.

  Gradients are masked only where all classes recover. Where one does and
  another breaks, answers flip from one class to the other; and where one class
  had nearly all answers, it is no longer given to all.

  Args:
    answers: [num_epsilons, num_clips] classes given to the same clips.
    labels: [num_clips] classes that are true.
    epsilons: [num_epsilons] radii in any order, in one unit.
    classes: Names.
    own_gradient: Whether the attack was made on the model that is judged.
    confidence: One less the level of the test on the whole curve.

  Raises:
    ValueError: If there is not one row an epsilon.
  """
  answers, epsilons = np.asarray(answers), np.asarray(epsilons)
  if answers.ndim != 2 or epsilons.shape != answers.shape[:1]:
    raise ValueError(
      'answers must be [num_epsilons, num_clips], epsilons [num_epsilons], got '
      f'{answers.shape} and {epsilons.shape}'
    )
  labels = np.asarray(labels)
  order = np.argsort(epsilons, kind='stable')
  answers, epsilons = answers[order], epsilons[order]
  wrong = answers != labels
  num_errors = wrong.sum(1)
  num_pairs = len(epsilons) * (len(epsilons) - 1) / 2
  level = (1 - confidence) / max(num_pairs, 1)
  falls = []
  for i in range(1, len(epsilons)):
    top = int(np.argmax(num_errors[:i]))
    test = statistics.mcnemar(wrong[top], wrong[i])
    if _more_errors(test, level):
      falls.append((test.p_value, top, i))
  if not falls:
    return []
  p_value, top, i = min(falls)
  kind, reading = _reading_of_fall(
    answers[[top, *range(i, len(epsilons))]],
    labels,
    epsilons[i:],
    classes,
    level,
    own_gradient,
  )
  values = {
    'kind': kind,
    'epsilon_high': float(epsilons[top]),
    'epsilon_low': float(epsilons[i]),
    'error_high': float(wrong[top].mean()),
    'error_low': float(wrong[i].mean()),
    'num_falls': len(falls),
    'p_value': p_value,
  }
  return [
    Finding(
      'non_monotone_curve',
      'warning',
      f'the error falls from {values["error_high"]:.1%} at epsilon '
      f'{values["epsilon_high"]:g} to {values["error_low"]:.1%} at '
      f'{values["epsilon_low"]:g} (McNemar p = {p_value:.2g}): {reading}',
      values,
    )
  ]


def _reading_of_fall(answers, labels, epsilons, classes, level, own_gradient):
  """Returns what kind of fall it is, and what to make of it.

  Args:
    answers: [1 + num_later, num_clips] at the epsilon from which the curve
      falls, at that to which it does, and at all that are larger still.
    labels: [num_clips].
    epsilons: [num_later].
    classes: Names.
    level: Of the tests that a class breaks, and that one recovers.
    own_gradient: As in `non_monotone_curve`.
  """
  wrong = answers != labels
  there = np.unique(labels)

  def more(first, second):
    """Returns the classes that err more at the first of two epsilons."""
    return [
      int(c)
      for c in there
      if _more_errors(
        statistics.mcnemar(*wrong[[first, second]][:, labels == c]), level
      )
    ]

  for j, epsilon in enumerate(epsilons, 1):
    broken, recovered = more(j, 0), more(0, j)
    if not (broken and recovered):
      continue
    names = [classes[c] for c in (broken[0], recovered[0])]
    judged = [_then(classes[c], wrong[[0, j]][:, labels == c]) for c in there]
    given = [
      _then(classes[c], answers[[0, j]] == c) for c in (broken[0], recovered[0])
    ]
    return 'flip', (
      f'by epsilon {epsilon:g} one class recovers and another breaks (judged '
      f'wrong: {", ".join(judged)}), as answers flip from {" to ".join(names)} '
      f'(given to: {", ".join(given)} of clips), which is no sign of masked '
      'gradients: tell errors by class'
    )
  given, share = most_given(answers[0], classes)
  if share >= ONE_ANSWER:
    left = np.mean(answers[1] == classes.index(given))
    return 'one_answer', (
      f'{given} was the answer to {share:.0%} of clips and is to {left:.0%}, '
      'an answer to all that is given up and no sign of masked gradients: tell '
      'errors by class'
    )
  if not own_gradient:
    return 'transfer', (
      'the gradient is of another model, whose direction need not hurt this '
      'one the more the further it is followed: attack this model itself '
      'before calling it robust'
    )
  return 'masked', (
    'one step overshoots there or gradients are masked, so take smaller and '
    'more steps (PGD) before calling the model robust'
  )


def _then(name, pair):
  """Returns 'a 0%, then 20%', of two points' verdicts, [2, num_clips]."""
  return f'{name} {pair[0].mean():.0%}, then {pair[1].mean():.0%}'


def most_given(
  answers: np.ndarray, classes: Sequence[str]
) -> tuple[str, float]:
  """Returns the answer that most clips get, and their share."""
  counts = np.bincount(answers, minlength=len(classes))
  most = int(counts.argmax())
  return classes[most], float(counts[most] / len(answers))


def one_answer(
  answers: np.ndarray,
  labels: np.ndarray,
  clean: np.ndarray,
  epsilons: Sequence[float | str],
  classes: Sequence[str],
) -> list[Finding]:
  """Finds epsilons at which (nearly) all clips get one and the same answer.

  The error is then what the other classes' clips are of all, as a blind guess's
  may be: only errors by class tell the two apart.

  Args:
    answers: [num_epsilons, num_clips] classes given to the same clips.
    labels: [num_clips] classes that are true.
    clean: [num_clips] classes given to them untouched.
    epsilons: [num_epsilons] for the sentence.
    classes: Names.
  """
  if most_given(clean, classes)[1] >= ONE_ANSWER:
    return []
  at = [
    (epsilon, *most_given(given, classes), float(np.mean(given != labels)))
    for epsilon, given in zip(epsilons, answers, strict=True)
  ]
  at = [point for point in at if point[2] >= ONE_ANSWER]
  if not at:
    return []
  said = '; '.join(
    f'at epsilon {epsilon} {share:.0%} are called {name} (error {error:.1%})'
    for epsilon, name, share, error in at
  )
  return [
    Finding(
      'one_answer',
      'warning',
      f'one answer is given to nearly all of {len(labels)} clips: {said}, '
      'which is every other class and no guess: tell errors by class, not the '
      'rate',
      {
        'epsilons': [epsilon for epsilon, *_ in at],
        'answers': [name for _, name, *_ in at],
        'shares': [share for *_, share, _ in at],
      },
    )
  ]


def below_one_lsb(epsilons: Sequence[float]) -> list[Finding]:
  """Finds perturbations that a 16-bit file cannot hold.

  Args:
    epsilons: Max-norm radii in the model's unit.
  """
  small = [float(e) for e in epsilons if 0 < e < 1 / LSB_PER_UNIT]
  if not small:
    return []
  return [
    Finding(
      'below_one_lsb',
      'warning',
      f'{len(small)} of {len(epsilons)} epsilons lie below one 16-bit step '
      f'(largest {max(small) * LSB_PER_UNIT:.2g} LSB), which rounding loses or '
      'doubles: believe the error after a 16-bit file was read back, not the '
      'one in memory',
      {'epsilons': small, 'lsb': [e * LSB_PER_UNIT for e in small]},
    )
  ]


def beyond_chance(
  num_errors: int, class_counts: Sequence[int], confidence: float = 0.95
) -> list[Finding]:
  """Finds an error rate that no guess blind to the clip would reach.

  A guess that ignores the clip errs on 1 - 1/K of them if drawn evenly from K
  classes, and at most on all but the rarest class's. Wilson's lower bound above
  both means that answers still follow the label, turned against it.

  Args:
    num_errors: Clips judged wrong.
    class_counts: [num_classes] clips of each class.
    confidence: Of the interval.
  """
  num_clips, num_classes = int(sum(class_counts)), len(class_counts)
  chance = max(1 - 1 / num_classes, 1 - min(class_counts) / num_clips)
  low, _ = statistics.wilson_interval(num_errors, num_clips, confidence)
  if low <= chance:
    return []
  error_rate = num_errors / num_clips
  return [
    Finding(
      'beyond_chance',
      'warning',
      f'the error of {error_rate:.1%} of {num_clips} clips is above the '
      f'{chance:.1%} of a blind guess among {num_classes} classes: the answers '
      'still tell the label, turned against it, so do not read them as '
      'information destroyed, as by a privacy filter',
      {
        'error_rate': error_rate,
        'num_clips': num_clips,
        'num_classes': num_classes,
        'chance_error': chance,
        'ci_low': low,
      },
    )
  ]


def untouched_clips(num_touched: Sequence[int], mask: str) -> list[Finding]:
  """Finds clips in which a mask leaves an attack nothing to touch.

  They stay clean at every epsilon, which must not be read as robustness.

  Args:
    num_touched: [num_clips] samples that may be attacked.
    mask: As the user wrote it.
  """
  num_touched = np.asarray(num_touched)
  num_clean = int((num_touched == 0).sum())
  if not num_clean:
    return []
  return [
    Finding(
      'untouched_clips',
      'error' if num_clean == len(num_touched) else 'warning',
      f'mask {mask} leaves no sample to attack in {num_clean} of '
      f'{len(num_touched)} clips, which stay as they are at every epsilon: '
      'take them for diluting its error rates, not for robust',
      {'mask': mask, 'num_untouched': num_clean, 'num_clips': len(num_touched)},
    )
  ]


def too_few_clips(
  num_clips: int, half_width: float, confidence: float = 0.95
) -> list[Finding]:
  """Finds a test set too small for the interval that is claimed.

  Args:
    num_clips: Clips judged.
    half_width: Claimed half width of the interval, as a fraction.
    confidence: Of the interval; Wilson's, widest at an error rate of a half.
  """
  z = NormalDist().inv_cdf(0.5 + confidence / 2)
  widest = z / (2 * np.sqrt(num_clips + z**2))
  if widest <= half_width:
    return []
  needed = int(np.ceil((z / (2 * half_width)) ** 2 - z**2))
  return [
    Finding(
      'too_few_clips',
      'warning',
      f'{num_clips} clips give an error rate to +-{widest:.1%} at worst, not '
      f'the +-{half_width:.1%} claimed: judge {needed} clips or claim less',
      {
        'num_clips': num_clips,
        'half_width': float(widest),
        'claimed_half_width': half_width,
        'needed_clips': needed,
      },
    )
  ]


def batch_dependent_logits(
  logits_fn: Callable[[jax.Array], jax.Array],
  audio: jax.Array,
  tolerance: float = 1e-3,
) -> list[Finding]:
  """Finds a model whose answer on a clip depends on its neighbours.

  Args:
    logits_fn: Maps audio [batch, time] to logits [batch, num_classes].
    audio: [batch, time] of two clips or more.
    tolerance: Largest difference of a logit put down to rounding, as a fraction
      of the largest logit.
  """
  together = logits_fn(audio)
  alone = jax.lax.map(lambda clip: logits_fn(clip[None])[0], audio)
  difference = float(jnp.abs(together - alone).max())
  largest = float(jnp.abs(alone).max())
  if difference <= tolerance * largest:
    return []
  return [
    Finding(
      'batch_dependent_logits',
      'error',
      f'logits of a clip alone and in a batch of {len(audio)} differ by up to '
      f'{difference:.2g} (largest logit {largest:.2g}): use running '
      'batch-norm statistics and no dropout (train=False), or gradients and '
      'verdicts mix clips',
      {'max_difference': difference, 'largest_logit': largest},
    )
  ]


def _more_errors(test, level):
  """Returns whether A errs significantly more often than B."""
  return test.p_value <= level and test.only_a > test.only_b
