"""What is compiled of the study: a variant on a chunk of clips, all budgets."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from advspeech import attacks, audio, randomness
from advspeech.attacks import feature_level
from advspeech.studies.features import measures as measures_lib
from advspeech.studies.features.settings import (
  REPRESENTATIONS,
  WAVEFORM,
  Budget,
  Variant,
)

# FGSM's scale is PGD's radius, and no radius may be none.
_SMALLEST_RADIUS = 1e-7
# How much larger than FGSM's change PGD's may have to be for the same size.
_LARGEST_AGAIN = 4.0


class Found(NamedTuple):
  """What a variant does to clips, clips first.

  Attributes:
    scale: [num_clips, num_matched] of the first gradient's signs at the sizes
      asked for, and
    within: [num_clips, num_matched] whether it is what was asked for.
    epsilon: [num_clips, num_budgets] radii in the features' unit.
    attainable: [num_clips, num_budgets] whether the clip can have the budget.
    feature_l2: [num_clips, num_budgets] norms of the changes of features.
    measures: By name [num_clips, num_budgets]; eq. 6.
    clean: [num_clips, num_targets] classes given to the clips.
    unperturbed: [num_clips, num_targets] to the clips rebuilt.
    predictions: [num_clips, num_budgets, num_targets, 2] to the adversarial
      clips, in memory and after a 16-bit file.
    sounds: [num_clips, 1 + num_budgets, time] the clips rebuilt and the
      adversarial ones; [num_clips, 0] where they are not asked for.
  """

  scale: jax.Array
  within: jax.Array
  epsilon: jax.Array
  attainable: jax.Array
  feature_l2: jax.Array
  measures: dict[str, jax.Array]
  clean: jax.Array
  unperturbed: jax.Array
  predictions: jax.Array
  sounds: jax.Array


class Attack(NamedTuple):
  """One variant; a function for `over_clips.map_clips`.

  Attributes:
    source: The model attacked.
    targets: The models that judge.
    variant: What is done.
    budgets: How much.
    num_steps: Gradients of PGD.
    num_halvings: Of the bisection that matches sizes.
    with_sounds: Whether `Found.sounds` is wanted.
  """

  source: nn.Module
  targets: tuple[nn.Module, ...]
  variant: Variant
  budgets: tuple[Budget, ...]
  num_steps: int
  num_halvings: int
  with_sounds: bool

  @property
  def radii(self) -> list[float]:
    """Returns the budgets that are radii."""
    return [b.value for b in self.budgets if b.kind == 'epsilon']

  @property
  def matched(self) -> list[Budget]:
    """Returns the budgets that a scale has to be found for."""
    return [b for b in self.budgets if b.kind != 'epsilon']

  def __call__(self, shared: Any, rows: dict[str, jax.Array]) -> Found:
    """Returns what the variant does to a chunk.

    Args:
      shared: The source's variables, and the targets'.
      rows: The clips, with the columns `lost_db` [chunk, num_prices], SNR of
        rebuilding from the representations whose price is asked; for PGD also
        `scale` and `within` [chunk, num_matched], what FGSM found.
    """
    variables, judges = shared
    problem = posed(self.source, variables, self.variant, rows)
    prepared = feature_level.prepare(problem)
    if self.variant.method == 'random_sign':
      signs = _random_signs(self.variant, rows['key'], prepared.direction)
      prepared = prepared._replace(direction=signs)
    scale, within, epsilon, attainable, moved = self._moved(
      problem, prepared, rows
    )

    def finish(change):
      norms = jnp.linalg.norm(change.reshape(len(change), -1), axis=-1)
      found = feature_level.rebuild(problem, prepared, change)
      # A clip that is not moved is the clip rebuilt, to the last bit.
      found = jnp.where(norms[:, None] > 0, found, prepared.unperturbed)
      measures = measures_lib.of_eq6(
        rows['audio'], prepared.unperturbed, found, rows['mask']
      )
      sounds = found if self.with_sounds else found[:, :0]
      return norms, measures, self._predict(judges, found), sounds

    done = jax.lax.map(finish, moved)
    norms, measures, predictions, sounds = jax.tree.map(
      lambda x: jnp.moveaxis(x, 0, 1), done
    )
    if self.with_sounds:
      sounds = jnp.concatenate([prepared.unperturbed[:, None], sounds], 1)
    return Found(
      scale,
      within,
      epsilon,
      attainable,
      norms,
      measures,
      self._predict(judges, rows['audio'])[..., 0],
      self._predict(judges, prepared.unperturbed)[..., 0],
      predictions,
      sounds,
    )

  def _predict(self, judges, clips):
    """Returns classes, [chunk, num_targets, 2], in memory and from a file."""
    saved = audio.from_pcm(audio.to_pcm(clips))
    return jnp.stack(
      [
        jnp.stack(
          [
            jnp.argmax(model.apply(v, x, train=False), -1).astype(jnp.int32)
            for x in (clips, saved)
          ],
          -1,
        )
        for model, v in zip(self.targets, judges, strict=True)
      ],
      1,
    )

  def _moved(self, problem, prepared, rows):
    """Returns scales, radii and the changes for all budgets.

    The changes are [num_budgets, chunk, ...], all else is [chunk, ...].
    """
    is_pgd = self.variant.method == 'pgd'
    fixed = jnp.asarray(self.radii, jnp.float32)[:, None]
    fixed = jnp.broadcast_to(fixed, (len(self.radii), len(rows['label'])))
    targets = self._targets(rows)
    if 'scale' in rows:
      first = feature_level.Matched(rows['scale'].T, rows['within'].T)
    else:
      largest = REPRESENTATIONS[self.variant.representation].largest
      directions = jnp.broadcast_to(
        prepared.direction, (len(targets[1]), *prepared.direction.shape)
      )
      first = self._match(problem, prepared, rows, directions, targets, largest)
    within = first.attainable
    if is_pgd:
      # PGD in the radius that FGSM needed, then sized like it.
      sized = jnp.maximum(first.scale, _SMALLEST_RADIUS)
      changes = jax.lax.map(
        lambda radii: feature_level.pgd_change(
          problem, prepared, radii, num_steps=self.num_steps
        ),
        jnp.concatenate([fixed, sized]),
      )
      again = self._match(
        problem, prepared, rows, changes[len(fixed) :], targets, _LARGEST_AGAIN
      )
      within = within & again.attainable
      factors = jnp.concatenate(
        [jnp.where(fixed > 0, 1.0, 0.0), again.scale * within]
      )
      epsilon = again.scale * first.scale
      moved = _column(factors, changes) * changes
    else:
      epsilon = first.scale
      radii = jnp.concatenate([fixed, epsilon * within])
      moved = jax.vmap(
        lambda radii: feature_level.fgsm_change(prepared, radii)
      )(radii)
    return (
      first.scale.T,
      first.attainable.T,
      jnp.concatenate([fixed, epsilon]).T,
      jnp.concatenate([fixed >= 0, within]).T,
      moved,
    )

  def _targets(self, rows):
    """Returns kinds [num_matched] and sizes [num_matched, chunk] asked for."""
    sizes, num = [], 0
    for budget in self.matched:
      if budget.priced:
        sizes.append(-rows['lost_db'][:, num])
        num += 1
      else:
        sign = -1 if budget.kind == 'snr' else 1
        sizes.append(jnp.full(len(rows['label']), sign * budget.value))
    is_norm = [budget.kind == 'max_norm' for budget in self.matched]
    return jnp.asarray(is_norm), jnp.stack(sizes)

  def _match(self, problem, prepared, rows, changes, targets, largest):
    """Returns `feature_level.Matched` of all sizes, [num_matched, chunk]."""
    is_wave = self.variant.representation == WAVEFORM

    def match(arguments):
      change, is_norm, target = arguments

      def size_of(found):
        return jnp.where(
          is_norm,
          jnp.max(jnp.abs(found - rows['audio']), -1),
          -audio.snr_db(rows['audio'], found, rows['mask']),
        )

      def size_fn(scale):
        scaled = _column(scale, change) * change
        return size_of(feature_level.rebuild(problem, prepared, scaled))

      def search(_):
        return feature_level.match(
          size_fn,
          target,
          jnp.full_like(target, largest),
          # An end-to-end radius may have to be found over five decades.
          smallest_ratio=1e-5 if is_wave else 1e-3,
          num_steps=self.num_halvings + (6 if is_wave else 0),
        )

      def none(_):
        return feature_level.Matched(
          jnp.zeros_like(target), jnp.zeros(target.shape, bool)
        )

      # Rebuilding alone may be more than was asked for.
      already = size_of(prepared.unperturbed)
      return jax.lax.cond(jnp.any(already < target), search, none, None)

    return jax.lax.map(match, (changes, *targets))


def posed(
  model: nn.Module,
  variables: Any,
  variant: Variant,
  rows: dict[str, jax.Array],
) -> feature_level.Problem:
  """Returns the problem of a variant on some clips.

  Args:
    model: The model attacked.
    variables: Its own.
    variant: Of the attack.
    rows: The clips, as `over_clips.map_clips` describes them.
  """

  def loss_fn(clips):
    logits = model.apply(variables, clips, train=False)
    return attacks.cross_entropy(logits, rows['label'])

  representation = REPRESENTATIONS[variant.representation].representation
  return feature_level.Problem(
    loss_fn, rows['audio'], representation, variant.through, rows['mask']
  )


def _random_signs(variant, keys, like):
  """Returns signs by chance, [chunk, ...], each clip's and representation's."""
  place = list(REPRESENTATIONS).index(variant.representation)
  keys = randomness.stream(keys, 'random_sign')
  keys = jax.vmap(jax.random.fold_in, (0, None))(keys, place)
  draw = jax.vmap(lambda key: jax.random.rademacher(key, like.shape[1:]))
  return draw(keys).astype(jnp.float32)


def _column(values, like):
  """Returns values that multiply arrays whose first axes are theirs."""
  return values.reshape(*values.shape, *(1,) * (like.ndim - values.ndim))
