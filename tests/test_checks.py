"""Every check fires on what it is for, and is silent on what is sound."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import checks

RNG = np.random.default_rng(0)


def only(findings, name, severity):
  """The one finding, of the given name, in one sentence with its values."""
  (finding,) = findings
  assert (finding.name, finding.severity) == (name, severity)
  assert '\n' not in finding.sentence
  assert '. ' not in finding.sentence
  assert any(c.isdigit() for c in finding.sentence)
  assert finding.values
  return finding


def wrong(num_wrong, num_clips=100):
  return np.arange(num_clips) < num_wrong


def test_softmax_given_as_logits_is_found():
  logits = jnp.asarray(RNG.normal(size=(8, 4)), jnp.float32)
  probabilities = jax.nn.softmax(logits)
  found = checks.logits_look_like_softmax(probabilities)
  only(found, 'logits_look_like_softmax', 'error')
  low = probabilities.astype(jnp.bfloat16)
  assert checks.logits_look_like_softmax(low)
  assert checks.logits_look_like_softmax(logits) == []
  assert checks.logits_look_like_softmax(jax.nn.log_softmax(logits)) == []
  # Probabilities of independent classes are no softmax either.
  assert checks.logits_look_like_softmax(jax.nn.sigmoid(logits)) == []


def test_gradients_without_a_direction_are_counted():
  grads = jnp.asarray(RNG.normal(size=(4, 50))).at[0, :20].set(0)
  shares = checks.gradient_shares(
    grads.at[1, :5].set(jnp.nan).at[2, 0].set(jnp.inf)
  )
  assert shares == pytest.approx((20 / 200, 6 / 200))


def test_zero_and_nonfinite_gradients_are_found():
  only(checks.gradient_findings(0.1, 0.0), 'zero_gradients', 'warning')
  only(checks.gradient_findings(0.9, 0.0), 'zero_gradients', 'error')
  only(checks.gradient_findings(0.0, 1e-4), 'nonfinite_gradients', 'error')
  assert len(checks.gradient_findings(0.9, 0.1)) == 2
  assert checks.gradient_findings(0.001, 0.0) == []


def test_a_control_as_strong_as_the_attack_is_found():
  clean, attack, control = wrong(10), wrong(40), wrong(38)
  found = checks.control_as_strong(attack, control, clean, 0.02)
  finding = only(found, 'control_as_strong', 'warning')
  assert finding.values['attack_error'] == 0.4
  assert 'epsilon 0.02' in finding.sentence
  # Stronger than its control; and a control stronger than the attack.
  assert checks.control_as_strong(attack, wrong(12), clean, 0.02) == []
  assert checks.control_as_strong(attack, wrong(80), clean, 0.02)
  # An attack that does nothing has nothing to explain.
  assert checks.control_as_strong(wrong(11), wrong(11), clean, 0.02) == []
  assert checks.control_as_strong(clean, clean, clean, 0.0) == []


LABELS = np.arange(100) % 2
CLASSES = ('a', 'b')


def answers(*counts):
  """Answers by epsilon, of which so many of class a and of b are wrong."""
  order = np.arange(100) // 2
  wrong = np.stack(
    [order < np.where(LABELS == 0, of_a, of_b) for of_a, of_b in counts]
  )
  return np.where(wrong, 1 - LABELS, LABELS)


def of_curve(counts, epsilons, **kwargs):
  """The check of a curve whose errors are as many in both classes."""
  given = answers(*((n // 2, n - n // 2) for n in counts))
  return checks.non_monotone_curve(given, LABELS, epsilons, CLASSES, **kwargs)


def test_a_curve_that_falls_is_found():
  epsilons = [0.0, 0.01, 0.02, 0.04]
  finding = only(
    of_curve((10, 40, 60, 35), epsilons), 'non_monotone_curve', 'warning'
  )
  assert finding.values['epsilon_high'] == 0.02
  assert finding.values['epsilon_low'] == 0.04
  assert finding.values['kind'] == 'masked'
  assert '(PGD)' in finding.sentence
  assert of_curve((10, 40, 60, 60), epsilons) == []
  # Whatever order the epsilons come in.
  assert of_curve((60, 60, 40, 10), epsilons[::-1]) == []
  # A fall of 4 clips among 100 is what sampling does.
  assert of_curve((10, 40, 60, 56), epsilons) == []
  assert of_curve((10,), epsilons[:1]) == []


def test_another_models_gradient_is_not_masked_where_the_curve_falls():
  (finding,) = of_curve((10, 60, 30), [0.0, 0.01, 0.02], own_gradient=False)
  assert finding.values['kind'] == 'transfer'
  assert 'PGD' not in finding.sentence
  assert 'the gradient is of another model' in finding.sentence


@pytest.mark.parametrize('own_gradient', [True, False])
@pytest.mark.parametrize(
  ('counts', 'by', 'judged', 'given'),
  [
    # As on the quickstart: men are called women, then women men.
    (
      ((0, 1), (0, 50), (10, 20), (50, 0)),
      '0.02',
      'a 0%, then 20%, b 100%, then 40%',
      'a 100%, then 60%, b 0%, then 40%',
    ),
    # It falls before anybody is called the other.
    (
      ((0, 0), (0, 40), (0, 20), (25, 5)),
      '0.03',
      'a 0%, then 50%, b 80%, then 10%',
      'a 90%, then 30%, b 10%, then 70%',
    ),
  ],
)
def test_a_fall_that_is_a_flip_of_the_answer_is_called_one(
  counts, by, judged, given, own_gradient
):
  finding = only(
    checks.non_monotone_curve(
      *(answers(*counts), LABELS, [0.0, 0.01, 0.02, 0.03], CLASSES),
      own_gradient=own_gradient,
    ),
    'non_monotone_curve',
    'warning',
  )
  assert finding.values['kind'] == 'flip'
  assert 'PGD' not in finding.sentence
  assert f'by epsilon {by} one class recovers' in finding.sentence
  assert f'(judged wrong: {judged})' in finding.sentence
  assert f'flip from a to b (given to: {given} of clips)' in finding.sentence


def test_a_class_that_breaks_later_is_no_flip_while_none_recovers():
  given = answers((0, 0), (0, 40), (0, 25), (25, 35))
  (finding,) = checks.non_monotone_curve(
    given, LABELS, [0.0, 0.01, 0.02, 0.03], CLASSES
  )
  assert finding.values['kind'] == 'masked'


def test_an_answer_to_all_that_is_given_up_is_no_masked_gradient():
  given = answers((0, 0), (0, 50), (1, 20))
  (finding,) = checks.non_monotone_curve(
    given, LABELS, [0.0, 0.01, 0.02], CLASSES
  )
  assert finding.values['kind'] == 'one_answer'
  assert 'a was the answer to 100% of clips and is to 69%' in finding.sentence


def test_one_answer_to_all_clips_is_told_from_a_guess():
  epsilons = ['0', '0.01', '0.02', '0.03']
  given = answers((0, 0), (25, 25), (0, 49), (50, 0))
  finding = only(
    checks.one_answer(given, LABELS, given[0], epsilons, CLASSES),
    'one_answer',
    'warning',
  )
  # An error of 50 % at 0.01 is a guess: half of each class.
  assert finding.values['epsilons'] == ['0.02', '0.03']
  assert finding.values['answers'] == ['a', 'b']
  assert 'at epsilon 0.02 99% are called a (error 49.0%)' in finding.sentence
  # A model that never told them apart has not come to one answer.
  same = given[3]
  assert checks.one_answer(given, LABELS, same, epsilons, CLASSES) == []
  assert (
    checks.one_answer(given[:2], LABELS, given[0], epsilons[:2], CLASSES) == []
  )


def test_a_fall_in_small_steps_is_found():
  assert of_curve((60, 56, 52, 48, 44, 40), np.arange(6))


def test_a_flat_curve_with_sampling_noise_is_silent_as_often_as_promised():
  rng = np.random.default_rng(0)
  alarms = []
  for _ in range(300):
    wrong = rng.random((5, 100)) < 0.3
    given = np.where(wrong, 1 - LABELS, LABELS)
    found = checks.non_monotone_curve(given, LABELS, np.arange(5), CLASSES)
    alarms.append(bool(found))
  assert np.mean(alarms) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_answers_without_their_epsilons_are_refused():
  with pytest.raises(ValueError, match=r'got \(2, 100\) and \(3,\)'):
    of_curve((1, 1), [0, 1, 2])


def test_epsilons_below_one_step_are_found():
  finding = only(
    checks.below_one_lsb([0.0, 0.5 / 65536, 0.02]), 'below_one_lsb', 'warning'
  )
  assert finding.values['lsb'] == [0.5]
  assert checks.below_one_lsb([0.0, 1 / 65536, 0.02]) == []


def test_an_error_beyond_chance_is_found():
  finding = only(checks.beyond_chance(70, [50, 50]), 'beyond_chance', 'warning')
  assert finding.values['chance_error'] == 0.5
  assert checks.beyond_chance(55, [50, 50]) == []  # sampling
  assert checks.beyond_chance(70, [25] * 4) == []
  # Always answering the rare class errs on 80 % and tells nothing.
  assert checks.beyond_chance(80, [80, 20]) == []
  assert checks.beyond_chance(95, [80, 20])


def test_too_few_clips_for_the_interval_claimed_are_found():
  finding = only(checks.too_few_clips(48, 0.05), 'too_few_clips', 'warning')
  needed = finding.values['needed_clips']
  assert checks.too_few_clips(needed, 0.05) == []
  assert checks.too_few_clips(needed - 1, 0.05)
  assert needed == 381  # 1.96^2 (1 / (4 0.05^2) - 1)


def test_logits_that_depend_on_the_batch_are_found():
  weights = jnp.asarray(RNG.normal(size=(20, 3)), jnp.float32)
  audio = jnp.asarray(RNG.normal(size=(5, 20)), jnp.float32)

  def batch_norm(x):
    return (x - x.mean(0, keepdims=True)) @ weights

  only(
    checks.batch_dependent_logits(batch_norm, audio),
    'batch_dependent_logits',
    'error',
  )
  assert checks.batch_dependent_logits(lambda x: x @ weights, audio) == []


def test_an_attack_without_gradients_that_breaks_more_is_found():
  own = {'fgsm': wrong(20), 'pgd': wrong(40)}
  other = {'square': wrong(60), 'pgd on b seed 0': wrong(10)}
  finding = only(
    checks.masked_gradients(own, other, 0.01), 'masked_gradients', 'warning'
  )
  assert (finding.values['own'], finding.values['other']) == ('pgd', 'square')
  assert 'errs on 60.0%' in finding.sentence
  for unmasked in ({'square': wrong(40)}, {'square': wrong(44)}, {}):
    assert checks.masked_gradients(own, unmasked, 0.01) == []
  assert checks.masked_gradients({}, other, 0.01) == []
  # Six more would do for one attack, not for the strongest of ten.
  close = {str(i): wrong(46) for i in range(10)}
  assert checks.masked_gradients(own, {'square': close['0']}, 0.01)
  assert checks.masked_gradients(own, close, 0.01) == []


def test_an_attack_that_breaks_more_with_twice_the_steps_is_found():
  finding = only(
    checks.not_converged(wrong(40), wrong(60), 'pgd', 0.01),
    'not_converged',
    'warning',
  )
  assert 'errs on 40.0% and on 60.0% with twice' in finding.sentence
  # As many more as sampling explains, none more, and fewer.
  for doubled in (44, 40, 20):
    assert checks.not_converged(wrong(40), wrong(doubled), 'pgd', 0.01) == []


def test_clips_that_no_perturbation_breaks_are_found():
  everything, few = wrong(100), wrong(10)
  finding = only(
    checks.unbroken_clips(wrong(97), everything, -20.0, 'L2'),
    'unbroken_clips',
    'warning',
  )
  assert finding.values == {'num_unbroken': 3, 'num_clips': 100}
  assert 'many steps in L2 by' in finding.sentence
  assert checks.unbroken_clips(everything, everything, -20.0, 'L2') == []
  # Of the others the ball was too small to say.
  assert checks.unbroken_clips(few, few, -20.0, 'L2') == []
