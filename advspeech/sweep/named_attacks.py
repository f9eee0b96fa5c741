"""Attacks as a sweep names them: built in, or the user's own.

An own one is written `package.module:attribute`: a function of
(`attacks.Problem`, radii [batch]) that returns clips [batch, time], or an
`attacks.Attack`; with `-targeted` behind it, it asks for a class.
"""

from typing import TYPE_CHECKING

from advspeech import attacks, errors, features, registry

if TYPE_CHECKING:  # a bare accelerator machine need not have it
  import ml_collections

# The control that is as large as an attack in the attack's own norm.
_CONTROL_OF_NORM = {'linf': 'random_sign', 'l2': 'gaussian'}
_TARGETED = '-targeted'


def make_attack(
  config: 'ml_collections.ConfigDict', name: str
) -> attacks.Attack:
  """Returns an attack by name, with the config's numbers of steps.

  Raises:
    errors.InputError: If the name is unknown.
  """
  settings = config.sweep.iterative
  return by_name(
    name,
    num_steps=settings.num_steps,
    num_restarts=settings.num_restarts,
    num_queries=settings.num_queries,
  )


def by_name(name: str, **counts: int) -> attacks.Attack:
  """Returns an attack by name.

  Args:
    name: As a sweep names it.
    **counts: Of the built-in ones; see `attacks.make`.

  Raises:
    errors.InputError: If the name is unknown, or what it names is no attack.
  """
  base = name.removesuffix(_TARGETED)
  if registry.is_own(base):
    return _own(base)._replace(targeted=base != name)
  registry.resolve('config.sweep.attacks', name, dict.fromkeys(attacks.names()))
  return attacks.make(name, **counts, representations=features.for_attacks())


def _own(name):
  found = registry.resolve('an attack', name, {})
  if isinstance(found, attacks.Attack):
    return found
  if isinstance(found, type) or not callable(found):
    raise errors.InputError(
      'an attack of your own must be a function of (problem, radii) or an '
      f'attacks.Attack, got {found!r} for {name}'
    )
  return attacks.from_function(found)


def control_of(name: str) -> str:
  """Returns the control of an attack's own size, one of `CONTROLS`.

  Random signs have the max-norm of FGSM and its L2 norm too; beside an attack
  in L2, whose few large samples set the max-norm, they are 20 dB louder.
  """
  base = name.removesuffix(_TARGETED)
  own = registry.is_own(base)
  norm = _own(base).norm if own else attacks.norm_of(name)
  return _CONTROL_OF_NORM[norm]
