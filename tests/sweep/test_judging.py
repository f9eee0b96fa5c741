"""The compiled sweep: against a plain loop, and what it does not depend on."""

import dataclasses
import functools
import itertools
import re
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
import sweep_subjects
from sweep_subjects import (
  EPSILONS,
  NUM_CLIPS,
  judge,
  make_planned,
  make_settings,
)

from advspeech import (
  attacks,
  audio,
  checkpoint,
  features,
  input_pipeline,
  models,
  over_clips,
  parallel,
  randomness,
  sweep,
  transforms,
)
from advspeech.attacks import constraints, feature_level
from advspeech.sweep import fitting, judging, masks, problem, program

pytestmark = pytest.mark.usefixtures('shallow_networks')


@pytest.fixture(scope='module')
def split():
  return sweep_subjects.make_split()


@pytest.fixture(scope='module')
def members(split):
  return sweep_subjects.make_members(split)


@pytest.fixture(scope='module')
def plain(members, split):
  return judge(make_planned(), members, split)


def assert_same(a, b):
  for name in sweep.Judgements._fields:
    np.testing.assert_array_equal(
      getattr(a, name), getattr(b, name), err_msg=name
    )


def test_equals_a_plain_loop_over_clips_epsilons_and_models(
  plain, members, split
):
  logits_fns = [jax.jit(m.classifier.logits_fn) for m in members]
  gradient_fn = jax.jit(
    jax.grad(
      lambda x, label: attacks.cross_entropy(logits_fns[0](x), label).sum()
    )
  )
  seed_key = jax.random.key(members[0].seed)
  names = sweep.variants(make_planned(), make_settings())
  num_compared = 0
  for i in range(NUM_CLIPS):
    clip = audio.from_pcm(jnp.asarray(split.pcm[i : i + 1]))
    gradient = gradient_fn(clip, split.labels[i : i + 1])
    key = seed_key
    for word in randomness.id_words(split.ids)[i]:
      key = jax.random.fold_in(key, word)
    key = jax.random.fold_in(key, randomness.STREAMS.index('random_sign'))
    noise = jax.random.rademacher(key, gradient.shape[1:], jnp.int8)
    for e, epsilon in enumerate(EPSILONS):
      for name, direction in (
        ('memory', jnp.sign(gradient)),
        ('random_sign', noise[None].astype(jnp.float32)),
      ):
        perturbed = jnp.clip(clip + np.float32(epsilon) * direction, 0, 1)
        for t, logits_fn in enumerate(logits_fns):
          logits = np.asarray(logits_fn(perturbed)[0])
          top = np.sort(logits)
          if top[-1] - top[-2] < 1e-3 * np.abs(logits).max():
            continue  # too close for two summation orders to agree
          num_compared += 1
          found = plain.predictions[e, names.index(name), t, i]
          assert found == logits.argmax(), (name, i, e, t)
  assert num_compared > 0.7 * 2 * 3 * NUM_CLIPS * len(EPSILONS)


def test_answers_have_room_for_any_number_of_classes(plain):
  assert plain.predictions.dtype == plain.clean.dtype == np.int32


def test_attacked_clips_change_answers_more_with_epsilon(plain):
  flipped = (plain.predictions[:, 0, 0] != plain.clean[0]).sum(-1)
  assert flipped[0] == 0
  assert flipped[-1] > 0


def test_epsilon_zero_is_the_clean_answer_saved_and_under_every_control(plain):
  for variant in plain.predictions[0]:
    np.testing.assert_array_equal(variant, plain.clean)
  assert (plain.snr_db[0] == np.inf).all()
  assert not plain.max_norm[0].any()


def test_controls_are_as_large_as_the_attack(plain):
  np.testing.assert_allclose(plain.max_norm[1], EPSILONS[1], rtol=1e-4)
  # FGSM has the L2 norm of random signs and of Gaussian noise made like it.
  attack, *controls = plain.snr_db[1].mean(-1)
  assert len(controls) == 3
  for control in controls:
    # Less of the noise falls on the recorded part than of FGSM at worst.
    assert control == pytest.approx(attack, abs=2.5)


@pytest.mark.parametrize('batch_size', [3, 12])
def test_answers_do_not_depend_on_the_batch_size(
  plain, members, split, batch_size
):
  assert_same(
    plain, judge(make_planned(), members, split, make_settings(batch_size))
  )


def test_a_shard_says_what_the_whole_split_says(plain, members, split):
  part = judge(make_planned(), members, split, rows=slice(4, 8))
  np.testing.assert_array_equal(part.clean, plain.clean[:, 4:8])
  np.testing.assert_array_equal(part.predictions, plain.predictions[..., 4:8])


@pytest.mark.parametrize(
  'attack', ['fgsm', pytest.param('pgd_l2', marks=pytest.mark.slow)]
)
def test_one_device_says_what_four_say_bit_for_bit(split, attack):
  planned = make_planned(attack)
  results = []
  for num_devices in (1, 4):
    mesh = parallel.make_mesh(devices=jax.devices()[:num_devices])
    members = sweep_subjects.make_members(split, mesh)
    results.append(judge(planned, members, split, make_settings(mesh=mesh)))
  assert_same(*results)


@pytest.mark.parametrize(
  'epsilon_devices', [2, pytest.param(4, marks=pytest.mark.slow)]
)
def test_sharing_out_the_epsilons_changes_no_answer(
  plain, members, split, epsilon_devices
):
  # Three epsilons on two or four devices: the last group is filled up.
  mesh = parallel.make_mesh(epsilon_devices)
  shared = judge(make_planned(), members, split, make_settings(mesh=mesh))
  np.testing.assert_array_equal(shared.clean, plain.clean)
  np.testing.assert_array_equal(shared.predictions, plain.predictions)
  # A device with one epsilon has no loop, and is compiled to other sums.
  for name in sweep.Judgements._fields[2:]:
    np.testing.assert_allclose(
      getattr(shared, name), getattr(plain, name), rtol=1e-5, atol=1e-6
    )


def test_new_epsilons_compile_nothing(plain, members, split):
  del plain  # compiles the step
  steps = over_clips.steps.cache_info().currsize
  compiled = _num_compiled(members, split)
  judge(make_planned(epsilons=(0.0, 0.3, '12dbsnr')), members, split)
  assert over_clips.steps.cache_info().currsize == steps
  assert _num_compiled(members, split) == compiled > 0


def _num_compiled(members, split, attack='fgsm'):
  program = judging.program_of(
    make_planned(attack),
    members,
    sweep_subjects.TIME,
    sweep_subjects.make_attack(attack),
    make_settings(),
  )
  return judging.compiled(program)._cache_size()


OF_FEATURES = (0.0, 4.0, 16.0)


@pytest.fixture(scope='module')
def on_mfcc(members, split):
  return judge(make_planned('mfcc', epsilons=OF_FEATURES), members[:1], split)


@pytest.mark.slow
def test_attacks_on_features_equal_those_called_clip_by_clip(
  on_mfcc, members, split
):
  logits_fn = jax.jit(members[0].classifier.logits_fn)

  @jax.jit
  def attack(clip, label):
    problem = feature_level.Problem(
      lambda x: attacks.cross_entropy(logits_fn(x), label),
      clip,
      features.mfcc(phase='original'),
    )
    return attacks.feature_fgsm(problem, jnp.array(OF_FEATURES))

  num_compared = 0
  for i in range(NUM_CLIPS):
    clip = audio.from_pcm(jnp.asarray(split.pcm[i : i + 1]))
    recorded = np.arange(sweep_subjects.TIME)[None] < split.num_samples[i]
    found = attack(clip, split.labels[i : i + 1])[:, 0]
    # Signs of gradients next to 0 depend on the order of sums.
    np.testing.assert_allclose(
      on_mfcc.snr_db[:, 0, i], audio.snr_db(clip, found, recorded), atol=0.1
    )
    for e, logits in enumerate(np.asarray(logits_fn(found))):
      top = np.sort(logits)
      if top[-1] - top[-2] > 1e-2 * np.abs(logits).max():
        num_compared += 1
        assert on_mfcc.predictions[e, 0, 0, i] == logits.argmax(), (i, e)
  assert num_compared > 0.7 * NUM_CLIPS * len(OF_FEATURES)


def test_epsilon_zero_of_features_is_the_conversion_loss_and_nothing_else(
  on_mfcc, plain, split
):
  representation = features.mfcc(phase='original')
  clips = audio.from_pcm(jnp.asarray(split.pcm))
  rebuilt = jnp.clip(
    representation.synthesise(*representation.analyse(clips)), 0, 1
  )
  recorded = np.arange(sweep_subjects.TIME) < split.num_samples[:, None]
  np.testing.assert_allclose(
    on_mfcc.snr_db[0, 0], audio.snr_db(clips, rebuilt, recorded), atol=1e-2
  )
  assert on_mfcc.snr_db[0].max() < 20  # nor are its controls the clip
  np.testing.assert_allclose(
    on_mfcc.max_norm[0], jnp.abs(rebuilt - clips).max(-1), rtol=1e-3
  )
  # 'Clean' stays what the model says of the clip itself.
  np.testing.assert_array_equal(on_mfcc.clean[0], plain.clean[0])
  assert (on_mfcc.predictions[0, 0] != on_mfcc.clean).any()


def test_controls_of_features_are_as_large_as_all_of_the_perturbation(on_mfcc):
  attack, _, gaussian, shuffled = on_mfcc.snr_db[1]
  for control in (gaussian, shuffled):  # less of it falls on the recorded part
    np.testing.assert_allclose(control, attack, atol=4)


def test_new_epsilons_of_features_compile_nothing(on_mfcc, members, split):
  del on_mfcc  # compiles the step
  compiled = _num_compiled(members[:1], split, 'mfcc')
  judge(make_planned('mfcc', epsilons=(0.5, 3.0, 9.0)), members[:1], split)
  assert _num_compiled(members[:1], split, 'mfcc') == compiled > 0


def test_an_attack_on_features_is_not_repaired_on_the_lattice():
  for attack, repaired in (('fgsm', True), ('mfcc', False)):
    names = sweep.variants(make_planned(attack), make_settings(repair=True))
    assert ('repaired' in names) == repaired
    assert set(sweep.CONTROLS) <= set(names)


@pytest.mark.parametrize('epsilon_devices', [1, 2])
def test_the_attack_sends_nothing_between_devices(
  members, split, epsilon_devices
):
  text = _compiled(members, split, mesh=parallel.make_mesh(epsilon_devices))
  text = text.as_text()
  assert 'num_partitions=4' in text
  assert not re.search(
    'all-reduce|all-gather|all-to-all|collective|reduce-scatter', text
  )


def _compiled(members, split, **settings):
  planned, num_samples = make_planned(), split.pcm.shape[1]
  program = judging.program_of(
    planned,
    members,
    num_samples,
    sweep_subjects.make_attack('fgsm'),
    make_settings(**settings),
  )
  arguments = judging.abstract_arguments(program, planned, members, num_samples)
  return judging.compiled(program).lower(*arguments).compile()


@pytest.mark.parametrize('epsilon_devices', [1, 2])
def test_abstract_arguments_describe_the_real_ones(
  members, split, epsilon_devices, monkeypatch
):
  planned, attack = make_planned(), sweep_subjects.make_attack('fgsm')
  settings = make_settings(mesh=parallel.make_mesh(epsilon_devices))
  real = []

  def compiled(*args):
    def step(*arguments):
      real.append(arguments)
      return over_clips_compiled(*args)(*arguments)

    return step

  over_clips_compiled = over_clips.compiled
  monkeypatch.setattr(over_clips, 'compiled', compiled)
  judge(planned, members, split, settings)
  monkeypatch.undo()
  program = judging.program_of(
    planned, members, sweep_subjects.TIME, attack, settings
  )
  abstract = judging.abstract_arguments(
    program, planned, members, sweep_subjects.TIME
  )
  assert jax.tree.structure(real[0]) == jax.tree.structure(abstract)
  for a, b in zip(
    jax.tree.leaves(real[0]), jax.tree.leaves(abstract), strict=True
  ):
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
  for a, b in zip(
    jax.tree.leaves(real[0][2:]), jax.tree.leaves(abstract[2:]), strict=True
  ):
    assert a.sharding == b.sharding


@pytest.mark.slow
def test_memory_stays_under_the_bound_stated_and_makes_use_of_it(papers_depth):
  """One clip's first map is 1.5 MB, and eight clips would need 86."""
  time, features = 48_000, 16
  split = input_pipeline.Split(
    ids=np.array([f'clip-{i}' for i in range(8)]),
    pcm=np.zeros((8, time), np.int16),
    num_samples=np.full(8, time),
    labels=np.zeros(8, np.int32),
  )
  model = models.create_model(
    'wavernn', 2, features=features, hidden_features=8, input_pool=2
  )
  init = jax.jit(functools.partial(model.init, train=False))
  classifier = checkpoint.Classifier(
    model, init(jax.random.key(0), jnp.zeros((1, time))), {}, 1
  )
  members = [sweep.Member('wavernn', 0, classifier, split.labels)]
  used = []
  for memory_mb in (20, 70):
    compiled = _compiled(members, split, memory_mb=memory_mb)
    used.append(compiled.memory_analysis().temp_size_in_bytes / 2**20)
    assert memory_mb / 3 < used[-1] < memory_mb


class OffTheGrid(nn.Module):
  """Says 1 for a clip with a sample between two 16-bit steps, else 0.

  Its gradient is positive everywhere, and each one taken is counted.
  """

  num_classes = 3
  # Small enough for all clips at once.
  frontend = types.SimpleNamespace(features=1, input_pool=1)

  def __call__(self, audio, *, train, valid=None):
    fraction = jnp.abs(audio * 65536 - jnp.round(audio * 65536)).max(-1)
    push = _counted(audio.mean(-1))
    never, other = push * 0 - 1, push * 0 + 0.1
    return jnp.stack([other, fraction + push - audio.mean(-1), never], -1)


GRADIENTS = []


@jax.custom_vjp
def _counted(x):
  return x


def _count(residual, cotangent):
  del residual
  jax.debug.callback(lambda: GRADIENTS.append(1))
  return (cotangent,)


_counted.defvjp(lambda x: (x, None), _count)


def off_the_grid(split):
  classifier = checkpoint.Classifier(
    OffTheGrid(),
    {'params': {'none': jnp.zeros(1)}},
    {'classes': list('abc')},
    1,
  )
  return [sweep.Member('wavecnn', 0, classifier, split.labels)]


def test_judges_what_each_file_format_gives_back(split):
  # 0.3 of a 16-bit step: gone from a 16-bit file, kept by a float one.
  planned = make_planned(epsilons=(0.0, '0.3lsb', '1lsb'))
  result = judge(planned, off_the_grid(split), split)
  memory, float32, int16 = (result.predictions[:, f, 0] for f in range(3))
  for kept in (memory, float32):
    assert (kept[1] == 1).all()
  for whole_steps in (memory[0], float32[0], *int16, memory[2]):
    assert (whole_steps == 0).all()


@pytest.mark.parametrize(
  'attack', ['fgsm', pytest.param('mfcc', marks=pytest.mark.slow)]
)
def test_one_gradient_serves_every_epsilon(split, attack):
  counts = []
  for num_epsilons in (1, 7):
    GRADIENTS.clear()
    planned = make_planned(
      attack, epsilons=tuple(np.linspace(0, 0.1, num_epsilons))
    )
    judge(planned, off_the_grid(split), split)
    jax.effects_barrier()
    counts.append(len(GRADIENTS))
  assert counts[0] == counts[1] > 0


def test_the_snr_is_of_the_recorded_samples(plain, split):
  clip = split.pcm[3, : split.num_samples[3]] / 65536.0
  expected = 10 * np.log10(np.mean(clip**2) / 0.01**2)
  np.testing.assert_allclose(plain.snr_db[1, 0, 3], expected, atol=1e-2)


def test_an_epsilon_in_db_of_snr_is_each_clips_own(members, split):
  # Three of them, as in the other plans: no new program.
  epsilons = ('20dbsnr', '10dbsnr', '0')
  result = judge(make_planned(epsilons=epsilons), members, split)
  np.testing.assert_allclose(result.snr_db[0, 0], 20, atol=1e-2)
  np.testing.assert_allclose(result.snr_db[1, 0], 10, atol=1e-2)
  assert np.ptp(result.max_norm[0]) > 0


@pytest.mark.slow
def test_one_filter_is_learnt_for_all_clips_and_judged(members, split):
  planned = make_planned('universal_filter', 'recorded', (0.0, 0.05))
  attack = sweep_subjects.make_attack('universal_filter')
  taps = fitting.fit_universal(
    planned, members[0], split, attack, make_settings(), num_passes=3
  )
  assert taps.shape == (2, attack.num_learnt)
  assert (np.linalg.norm(taps, axis=-1) <= 1 + 1e-6).all()
  result = judge(planned, members[:1], split, fitted=taps)
  # An epsilon is the SNR that it is of any attack in L2.
  rms = problem.signal_rms(split.pcm, split.spans)
  np.testing.assert_allclose(
    result.snr_db[1, 0], 20 * np.log10(rms / 0.05), atol=0.1
  )
  wrong = result.predictions[:, 0, 0] != split.labels
  np.testing.assert_array_equal(result.predictions[0, 0], result.clean)
  assert wrong[1].sum() > wrong[0].sum()


@pytest.mark.slow
def test_masking_thresholds_stand_beside_other_epsilons(members, split):
  planned = make_planned(epsilons=('12dbmask', 0.01, '0dbmask'))
  result = judge(planned, members[:1], split)
  assert result.predictions.shape == (3, 6, 1, NUM_CLIPS)
  assert result.clean.shape == (1, NUM_CLIPS)
  np.testing.assert_allclose(result.max_norm[1], 0.01, rtol=1e-5)
  # Attack and random signs of the same budget: less of it is less.
  for c in (0, 1):
    assert (result.snr_db[2, c] > result.snr_db[0, c] + 6).all()
  for e in (0, 2):
    perturbation = perturbation_of(planned, members, split, e)
    np.testing.assert_allclose(
      np.abs(perturbation).max(-1), result.max_norm[e], rtol=1e-3
    )


def perturbation_of(planned, members, split, e):
  """Returns what an attack does to the clips, [num_clips, time]."""
  perturbed = sweep.attacked_clips(
    planned,
    members[0],
    split,
    sweep_subjects.make_attack(planned.attack),
    make_settings(),
    planned.epsilons[e],
  )
  return perturbed - np.asarray(audio.from_pcm(jnp.asarray(split.pcm)))


@pytest.mark.slow
def test_under_a_masking_threshold_no_cell_is_above_it(members, split):
  planned = make_planned('pgd', epsilons=('0dbmask', '12dbmask'))
  clean = audio.from_pcm(jnp.asarray(split.pcm))
  allowed = audio.masking_threshold(clean)
  levels = problem.levels(split.pcm, split.spans, planned.epsilons)
  for e, epsilon in enumerate(planned.epsilons):
    perturbation = perturbation_of(planned, members, split, e)
    cells = np.abs(audio.Masking(None, None).analyse(perturbation))
    # Samples about one half are rounded to 2^-25, which is heard in no cell but
    # shows in the softest.
    rounding = 5 * np.sqrt(3 / 8 * 2048) * 2**-25
    loudest_db = 20 * np.log10(((cells - rounding) / allowed).max((1, 2)))
    assert (loudest_db < epsilon.value + 0.01).all()
    assert (loudest_db > epsilon.value - 6).all()
    # The radius is the RMS that a perturbation can have at most.
    rms = np.sqrt(np.mean(np.square(perturbation), -1))
    assert (rms < epsilon.radii(*levels)).all()


def test_a_recording_may_begin_anywhere_in_its_clip(members, split):
  starts = sweep_subjects.TIME - split.num_samples
  rolled = [np.roll(x, n) for x, n in zip(split.pcm, starts, strict=True)]
  front = dataclasses.replace(split, pcm=np.stack(rolled), starts=starts)
  np.testing.assert_allclose(
    problem.signal_rms(front.pcm, front.spans),
    problem.signal_rms(split.pcm, split.spans),
    rtol=1e-5,
  )
  recorded = np.arange(sweep_subjects.TIME) >= starts[:, None]
  for mask, allowed in (('recorded', recorded), ('padding', ~recorded)):
    perturbed = sweep.attacked_clips(
      make_planned('fgsm', mask),
      members[0],
      front,
      sweep_subjects.make_attack('fgsm'),
      make_settings(),
      audio.parse_epsilon(0.01),
    )
    moved = perturbed != (front.pcm / 65536.0 + 0.5).astype(np.float32)
    assert moved.any()
    assert not (moved & ~allowed).any()


@pytest.mark.parametrize(
  'attack', ['fgsm', pytest.param('pgd', marks=pytest.mark.slow)]
)
def test_a_mask_leaves_the_rest_of_a_clip_alone(members, split, attack):
  time = np.arange(sweep_subjects.TIME)
  recorded = time < split.num_samples[:, None]
  clean = split.pcm / 65536.0 + 0.5
  for mask, allowed in (
    ('recorded', recorded),
    ('padding', ~recorded),
    ('0.02-0.05s', (time >= 320) & (time < 800)),
  ):
    perturbed = sweep.attacked_clips(
      make_planned(attack, mask),
      members[0],
      split,
      sweep_subjects.make_attack(attack),
      make_settings(),
      audio.parse_epsilon(0.01),
    )
    moved = perturbed != clean.astype(np.float32)
    assert moved.any()
    assert not (moved & ~allowed).any()


def test_a_band_holds_the_perturbation(members, split):
  perturbed = sweep.attacked_clips(
    make_planned('fgsm', '1000-2000hz'),
    members[0],
    split,
    sweep_subjects.make_attack('fgsm'),
    make_settings(),
    audio.parse_epsilon(0.01),
  )
  spectrum = np.abs(np.fft.rfft(perturbed - (split.pcm / 65536.0 + 0.5))) ** 2
  hz = np.fft.rfftfreq(sweep_subjects.TIME, 1 / 16_000)
  inside = (hz > 999) & (hz < 2001)
  assert spectrum[:, ~inside].sum() < 1e-6 * spectrum.sum()


def test_l2_attacks_have_the_snr_of_fgsm_at_the_same_epsilon(members, split):
  # On recorded samples alone, where both spread the same energy.
  perturbed = sweep.attacked_clips(
    make_planned('fgm', 'recorded'),
    members[0],
    split,
    sweep_subjects.make_attack('fgm'),
    make_settings(),
    audio.parse_epsilon('30dbsnr'),
  )
  clean = split.pcm / 65536.0
  recorded = np.arange(sweep_subjects.TIME) < split.num_samples[:, None]
  noise = np.sum((perturbed - 0.5 - clean) ** 2, -1, where=recorded)
  ratio = np.sum(clean**2, -1, where=recorded) / noise
  np.testing.assert_allclose(10 * np.log10(ratio), 30, atol=0.1)


@pytest.mark.slow
def test_a_transform_comes_between_attack_and_every_judge(members, split):
  planned = make_planned(transform='quantize8')
  result = judge(planned, members, split)
  assert result.predictions.shape == (3, 1, 3, NUM_CLIPS)
  perturbed = sweep.attacked_clips(
    planned,
    members[0],
    split,
    sweep_subjects.make_attack('fgsm'),
    make_settings(),
    audio.parse_epsilon(0.1),
  )
  coarse = np.round((perturbed - 0.5) * 256) / 256 + 0.5
  logits = np.asarray(members[0].classifier.logits_fn(jnp.asarray(coarse)))
  top = np.sort(logits, -1)
  clear = top[:, -1] - top[:, -2] > 1e-3 * np.abs(logits).max()
  assert clear.sum() > NUM_CLIPS / 2
  np.testing.assert_array_equal(
    result.predictions[2, 0, 0][clear], logits.argmax(-1)[clear]
  )


def test_an_adaptive_attack_takes_its_gradient_through_the_transform(
  members, split
):
  blind, adaptive = (
    sweep.attacked_clips(
      make_planned(transform='lowpass1000', adaptive=adaptive),
      members[0],
      split,
      sweep_subjects.make_attack('fgsm'),
      make_settings(),
      audio.parse_epsilon(0.01),
    )
    for adaptive in (False, True)
  )
  clean = split.pcm / 65536.0 + 0.5

  def high_share(x):
    spectrum = np.abs(np.fft.rfft(x - clean)) ** 2
    return spectrum[:, 240:].sum() / spectrum.sum()  # above 2 kHz

  assert high_share(adaptive) < 0.8 * high_share(blind)


@pytest.fixture(scope='module')
def air(tmp_path_factory):
  """The air with rooms known and unknown of the user's own."""
  folder = tmp_path_factory.mktemp('responses')
  rng = np.random.default_rng(0)
  for side in ('training', 'unseen'):
    (folder / side).mkdir()
    for i in range(3):
      response = 0.05 * rng.normal(size=400)
      response[0] = 0.5
      soundfile.write(folder / side / f'{i}.wav', response, 16_000)
  return f'air@{folder}'


@pytest.mark.slow
def test_attack_and_controls_pass_the_same_air(members, split, air):
  planned = make_planned(transform=air)
  result = judge(planned, members, split)
  assert sweep.variants(planned, make_settings()) == (
    'memory',
    *sweep.CONTROLS,
  )
  assert result.predictions.shape == (3, 4, 3, NUM_CLIPS)
  # At epsilon 0 all hear what the clean clip is behind the same air.
  np.testing.assert_array_equal(
    result.predictions[0], np.broadcast_to(result.clean, (4, 3, NUM_CLIPS))
  )
  assert np.isposinf(result.heard_snr_db[0]).all()
  assert np.isfinite(result.heard_snr_db[1:]).all()
  # What is sent through echoes and a band is heard at about its own ratio.
  change_db = result.heard_snr_db[1:] - result.snr_db[1:]
  assert np.abs(change_db).max() < 15
  assert np.abs(change_db).max() > 0.1
  alone = parallel.make_mesh(devices=jax.devices()[:1])
  assert_same(result, judge(planned, members, split, make_settings(mesh=alone)))


_traces = itertools.count()


def drift(audio, keys, mask):
  """What rounding does: the same clip sounds a little different each time."""
  return audio + 1e-6 * (1 + next(_traces))


DRIFTING = transforms.Transform('drift', drift, drift, is_simulated=True)


@pytest.mark.slow
def test_where_nothing_was_sent_rounding_is_not_heard(members, split):
  planned = make_planned(transform='test_judging:DRIFTING')
  result = judge(planned, members, split)
  assert np.isposinf(result.heard_snr_db[0]).all()
  assert np.isfinite(result.heard_snr_db[1:]).all()


def test_an_snr_at_the_microphone_is_of_simulations_alone(plain):
  assert np.isnan(plain.heard_snr_db).all()
  assert plain.heard_snr_db.shape == plain.snr_db.shape


@pytest.mark.slow
def test_an_attack_averages_its_loss_over_draws(members, split, air):
  """The gradient is the mean of those of the draws, each of its own keys."""
  planned = make_planned(transform=air, adaptive=True)
  known = transforms.make(air)
  source = members[0].classifier
  clips, recorded = input_pipeline.decode(split.pcm, split.spans)
  words = randomness.id_words(split.ids)
  rows = {
    'audio': clips,
    'mask': recorded,
    'key': randomness.clip_keys(jax.random.key(0), words),
    'goal': jnp.asarray(split.labels),
  }

  def posed(num_draws):
    return problem.pose(
      source.model,
      source.variables,
      rows,
      sweep_subjects.make_attack(planned.attack),
      masks.parse('all'),
      known,
      (0.0, 1.0),
      num_draws,
    )

  def loss(x, draw):
    heard = known.straight_through(
      x, problem.known_keys(rows['key'], draw), recorded
    )
    logits = source.model.apply(source.variables, heard, train=False)
    return attacks.cross_entropy(logits, rows['goal'])

  def gradient(fn):
    return np.asarray(jax.grad(lambda x: fn(x).sum())(clips))

  each = [
    gradient(functools.partial(loss, draw=jnp.int32(i))) for i in range(3)
  ]
  largest = np.abs(each[0]).max()
  np.testing.assert_allclose(
    gradient(posed(1).loss_fn), each[0], atol=1e-4 * largest
  )
  np.testing.assert_allclose(
    gradient(posed(3).loss_fn), np.mean(each, 0), atol=1e-4 * largest
  )
  assert np.abs(each[1] - each[0]).max() > 0.1 * largest


def test_a_targeted_attack_goes_for_the_class_after_the_label(members, split):
  attack = sweep_subjects.make_attack('fgsm-targeted')
  wanted = members[0].goal(attack)
  np.testing.assert_array_equal(wanted, (split.labels + 1) % 3)
  perturbed = sweep.attacked_clips(
    make_planned('fgsm-targeted'),
    members[0],
    split,
    attack,
    make_settings(),
    audio.parse_epsilon(0.01),
  )
  clean = audio.from_pcm(jnp.asarray(split.pcm))
  before, after = (
    attacks.targeted_margin(members[0].classifier.logits_fn(x), wanted)
    for x in (clean, jnp.asarray(perturbed))
  )
  assert (after > before).mean() >= 0.7
  assert after.mean() > before.mean()


def test_every_purpose_draws_from_a_stream_of_its_own():
  """Also from what attacks fold from theirs, for restarts and queries."""
  words = randomness.id_words(['a', 'b'])
  clip_keys = randomness.clip_keys(jax.random.key(3), words)
  keys = {
    name: randomness.stream(clip_keys, name) for name in randomness.STREAMS
  }
  drawn = [jax.random.key_data(k) for k in keys.values()]
  for i in range(64):
    drawn.append(
      jax.random.key_data(
        jax.vmap(jax.random.fold_in, (0, None))(keys['attack'], i)
      )
    )
  drawn = np.concatenate(drawn)
  assert len(np.unique(drawn, axis=0)) == len(drawn)


def test_ids_that_share_32_bits_of_their_digest_share_no_key():
  # Found by trying; the first words of their digests are the same.
  words = randomness.id_words(['clip-108616', 'clip-120569'])
  assert words[0, 0] == words[1, 0]
  first, second = jax.random.key_data(
    randomness.clip_keys(jax.random.key(0), words)
  )
  assert (first != second).any()


@pytest.mark.parametrize('name', sweep.CONTROLS)
def test_the_controls_of_an_attack_in_a_band_keep_to_it(name):
  clips = jnp.full((2, 1600), 0.5)
  band = attacks.band_weights(1600, 1000, 2000, 16_000)
  tone = jnp.sin(2 * jnp.pi * 1500 / 16_000 * jnp.arange(1600))[None]
  problem = attacks.Problem(
    clips,
    None,
    None,
    targeted=False,
    keys=jax.random.split(jax.random.key(0), 2),
    mask=None,
    band=band,
    bounds=(0.0, 1.0),
  )
  (noisy,) = program.controls(
    problem.keys, clips + 0.01 * tone, problem, [name]
  )
  power = np.abs(np.fft.rfft(noisy - clips)) ** 2
  assert power[:, np.asarray(band) == 0].sum() < 1e-4 * power.sum()


def test_the_random_sign_control_owes_nothing_to_a_random_start(split):
  """Signs that a random start shares, or negates, would be no control."""
  keys = randomness.clip_keys(jax.random.key(0), randomness.id_words(split.ids))
  clips = jnp.full((NUM_CLIPS, sweep_subjects.TIME), 0.5)
  noise = attacks.random_sign_like(
    randomness.stream(keys, 'random_sign'), jnp.ones_like(clips)
  )
  starts = jax.vmap(jax.random.fold_in, (0, None))(
    randomness.stream(keys, 'attack'), 0
  )
  start = constraints.Threat().random_start(starts, clips, jnp.ones(NUM_CLIPS))
  agreement = np.asarray((jnp.sign(start) == noise).mean(-1))
  # Of 1920 coins a half, and each clip's by itself.
  np.testing.assert_allclose(agreement, 0.5, atol=0.06)


@pytest.mark.parametrize('attack', ['fgsm', 'pgd'])
def test_other_epsilons_and_clips_of_a_cell_compile_nothing(
  members, split, attack
):
  over_clips.steps.cache_clear()
  for epsilon, num in ((0.01, 2), ('20dbsnr', 3), (0.1, 1)):
    sweep.attacked_clips(
      make_planned(attack),
      dataclasses.replace(members[0], labels=split.labels[:num]),
      input_pipeline.subset(split, np.arange(num)),
      sweep_subjects.make_attack(attack),
      make_settings(),
      audio.parse_epsilon(epsilon),
    )
  assert over_clips.steps.cache_info().currsize == 1
