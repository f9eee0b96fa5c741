"""Substitutes: every query counted, none of a judged clip; the same bits."""

import json
import shutil
import signal
import types

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
import report_runs as runs
import studied
import tiny

from advspeech import (
  claim,
  corpora,
  errors,
  input_pipeline,
  parallel,
  preemption,
  section,
  storage,
  studies,
)
from advspeech.studies.substitute import (
  augmenting,
  claims,
  clips,
  fitting,
  rounds,
)
from configs import paper

SEEDS, ROUNDS, NEW = 4, 2, 6
QUERIES = (4, 8, 14)  # doubled, and then no more than NEW
FILES = ('fidelity.csv', 'substitute.csv')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  config = tiny.get_config()
  config.substitute.update(
    {
      'num_seeds': SEEDS,
      'num_rounds': ROUNDS,
      'num_new': NEW,
      'num_epochs': 2,
      'batch_size': 8,
      'num_clips': 8,
      'epsilons': ('20dbsnr', '0dbsnr'),
      'arms': ('jacobian', 'natural', 'true_labels'),
      'regimes': ('other', 'corpus'),
    }
  )
  return studied.small_run(tmp_path_factory.mktemp('run'), config)


def study_in(folder, run, kill_at=None):
  """Runs the study; returns the ids that the victim was asked about.

  Args:
    folder: Of the study.
    run: That it is of.
    kill_at: Number of the training that does not come to its end.
  """
  asked, fits = [], []
  ask, fit = clips.labelled, fitting.Fitting.fit

  def counted(split, *args):
    asked.extend(map(str, split.ids))
    return ask(split, *args)

  def killed(self, *args):
    fits.append(args)
    if len(fits) == kill_at:
      raise preemption.Stopped(signal.SIGTERM)
    return fit(self, *args)

  folder.mkdir(exist_ok=True)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(clips, 'labelled', counted)
    patch.setattr(fitting.Fitting, 'fit', killed)
    if kill_at:
      with pytest.raises(preemption.Stopped):
        studies.resolve('substitute').run(run, str(folder))
    else:
      studies.resolve('substitute').run(run, str(folder))
  return asked, len(fits)


@pytest.fixture(scope='module')
def made(run):
  folder = run.folder / 'substitute'
  return folder, *study_in(folder, run)


@pytest.mark.slow
def test_every_query_is_counted_and_none_is_of_a_judged_clip(run, made):
  folder, asked, _ = made
  rows = storage.read_table(str(folder / 'fidelity.csv'))
  found = {(r['arm'], r['round']): r['num_queries'] for r in rows}
  assert found == {
    (arm, number): num if arm != 'true_labels' else 0
    for arm in ('jacobian', 'natural', 'true_labels')
    for number, num in enumerate(QUERIES)
  }
  # Both ask about the seeds, which are the same.
  assert len(asked) == 2 * (QUERIES[-1] - SEEDS) + SEEDS
  judged = input_pipeline.spread(run.data.splits['test'], 8).ids
  assert not {x.partition('+')[0] for x in asked} & set(judged)
  assert len(set(asked)) == len(asked)


@pytest.mark.slow
@pytest.mark.parametrize('kill_at', [2, 3])
def test_what_was_killed_asks_nothing_twice_and_ends_in_the_same_bits(
  run, made, tmp_path, kill_at
):
  folder, asked, num_fits = made
  before, _ = study_in(tmp_path, run, kill_at)
  after, num_left = study_in(tmp_path, run)
  assert before + after == asked
  assert num_left == num_fits - (kill_at - 1)
  for name in FILES:
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.slow
def test_a_lost_round_is_made_again_to_the_same_bits(run, made, tmp_path):
  folder, *_ = made
  whole = tmp_path / 'whole'
  shutil.copytree(folder, whole)
  lost = [*whole.glob(f'*-jacobian-{ROUNDS}*'), *map(whole.joinpath, FILES)]
  contents = {path: path.read_bytes() for path in lost if path.suffix == '.csv'}
  arrays = {
    path: storage.read_arrays(str(path))
    for path in lost
    if path not in contents
  }
  assert len(arrays) == 3  # queries, a substitute, an attack on it
  for path in lost:
    path.unlink()
  study_in(whole, run)
  for path, found in contents.items():
    assert path.read_bytes() == found
  for path, found in arrays.items():
    again = storage.read_arrays(str(path))
    assert again.keys() == found.keys()
    for key, value in found.items():
      np.testing.assert_array_equal(again[key], value)


@pytest.mark.slow
def test_clips_are_written_as_the_victim_hears_them(run, made):
  folder, *_ = made
  sounds = studied.sounds_of(folder)
  assert len(sounds) == run.config.substitute.num_examples
  for (name,), own in sounds.items():
    at = {entry['sent']: entry for entry in own}
    assert set(at) == {'clean', 'attack', 'random_sign'}
    clean = studied.recorded(run.data.splits['test'], name)
    np.testing.assert_array_equal(at['clean']['pcm'], clean)
    for entry in own:
      assert entry['answer'] == studied.answer(run, entry['pcm'])
      if entry['sent'] != 'clean':  # the louder of two epsilons
        assert entry['snr_db'] == pytest.approx(0, abs=1)


@pytest.mark.slow
def test_parts_stay_and_are_of_this_study(run, made, monkeypatch):
  folder, *_ = made
  studied.assert_parts_stay(
    run, folder, 'substitute', 'ratio', 0.5, monkeypatch
  )


@pytest.mark.slow
def test_rates_are_of_what_the_victim_answers(run, made):
  folder, *_ = made
  rows = storage.read_table(str(folder / 'substitute.csv'))
  # The white box and three arms of three points; four sent at two epsilons.
  assert len(rows) == (1 + 3 * 3) * 4 * 2
  assert {row['num_clips'] for row in rows} == {8}
  noise = [r for r in rows if r['control'] and r['epsilon_given'] == '20dbsnr']
  assert all(abs(row['mean_snr_db'] - 20) < 0.5 for row in noise)
  at = {
    tuple(r[k] for k in ('arm', 'round', 'epsilon_given', 'control')): r
    for r in rows
  }
  for (arm, number, given, control), row in at.items():
    attacked = at[arm, number, given, '']['error_rate']
    assert row['leaves'] == 'label'
    by_class = json.loads(row['errors_by_class'])
    assert set(by_class) <= set(run.classes)
    assert sum(n for _, n in by_class.values()) == 8
    assert sum(wrong for wrong, _ in by_class.values()) == 8 * row['error_rate']
    if control:
      assert row['excess'] == pytest.approx(attacked - row['error_rate'])
    elif arm == 'jacobian' and number:
      theirs = at['natural', number, given, '']['error_rate']
      assert row['over_natural'] == pytest.approx(attacked - theirs)
    else:
      assert (row['over_natural'] == '') == (arm != 'true_labels' or not number)


class Level(nn.Module):
  """Says 'high' of a clip whose mean is above silence: a linear network."""

  @nn.compact
  def __call__(self, audio, *, train, valid=None):
    del train, valid
    score = (audio - 0.5).sum(-1)
    return jnp.stack([-score, score], -1)


def augmented(kind, number, **changes):
  """Returns tones of half their length, before a round and after."""
  split = tiny.tones(4, 0)
  half = split.pcm.shape[1] // 2
  split.pcm[:, half:] = 0
  split.num_samples[:] = half
  settings = tiny.get_config().substitute
  settings.update({'ratio': 0.25, 'flip_every': 2, **changes})
  mesh = parallel.make_mesh()
  after = augmenting.augmented(
    kind, split, Level(), {}, settings, mesh, 1, seed=3, number=number
  )
  return split, half, after.astype(int) - split.pcm


@pytest.mark.parametrize(('number', 'sign'), [(2, 1), (3, -1)])
def test_a_clip_moves_towards_its_label_and_every_few_rounds_away(number, sign):
  split, half, change = augmented('jacobian', number)
  rms = np.sqrt((split.pcm[:, :half].astype(float) ** 2).mean(-1))
  wanted = sign * np.where(split.labels, 1, -1) * 0.25 * rms
  np.testing.assert_allclose(
    change[:, :half], np.tile(wanted[:, None], half), atol=1
  )
  assert not change[:, half:].any()


def test_noise_is_as_large_and_new_in_every_round():
  split, half, change = augmented('noise', 1)
  level = [
    np.sqrt((x[:, :half].astype(float) ** 2).mean(-1))
    for x in (split.pcm, change)
  ]
  np.testing.assert_allclose(level[1], 0.25 * level[0], rtol=1e-3)
  assert not change[:, half:].any()
  assert (change != augmented('noise', 2)[2]).any()


def test_transforms_take_their_turns():
  names = {'transforms': ('quantize4', 'quantize12')}
  coarse, fine, again = (
    augmented('transforms', number, **names)[2] for number in (1, 2, 3)
  )
  np.testing.assert_array_equal(coarse, again)
  assert abs(coarse).max() > 100 * abs(fine).max() > 0


def test_an_order_is_of_seed_number_and_ids_alone():
  ids = np.array([f'clip-{i}' for i in range(50)])
  first = ids[clips.order(ids, 0, 1)]
  np.testing.assert_array_equal(ids[::-1][clips.order(ids[::-1], 0, 1)], first)
  assert (ids[clips.order(ids, 0, 2)] != first).any()
  assert (ids[clips.order(ids, 1, 1)] != first).any()


def test_what_is_asked_about_leaves_out_what_is_judged():
  splits = dict(tiny.SPLITS)
  config = tiny.get_config()
  run = types.SimpleNamespace(
    config=config, data=types.SimpleNamespace(splits=splits)
  )
  judged = input_pipeline.spread(splits['test'], 6)
  same = clips.pool(run, clips.SAME, judged, 9)
  assert len(same) == 9
  assert set(same.ids) <= set(splits['train'].ids)
  other = clips.pool(run, clips.OTHER, judged, 1000)
  rest = {*splits['validation'].ids, *splits['test'].ids} - set(judged.ids)
  assert set(other.ids) == rest
  assert len(other) == len(rest) == 10 + 21 - 6
  first = clips.pool(run, clips.OTHER, judged, 5)
  np.testing.assert_array_equal(first.ids, other.ids[:5])
  whole = {x: i for s in splits.values() for i, x in enumerate(s.ids)}
  for i, x in enumerate(other.ids):
    split = splits['validation' if x.startswith('1-') else 'test']
    np.testing.assert_array_equal(other.pcm[i], split.pcm[whole[x]])
    assert other.labels[i] == split.labels[whole[x]]


class OnDisk:
  """Clips that are read when they are needed."""

  def __init__(self, pcm):
    self.pcm = pcm

  def __getitem__(self, rows):
    return self.pcm[rows]

  def subset(self, rows):
    return OnDisk(self.pcm[rows])


def test_another_corpus_is_asked_about_where_it_has_the_classes(monkeypatch):
  tones, where = tiny.tones(9, 5), {}
  names = np.array([*tiny.CLASSES, 'other'] * 3)
  corpus = types.SimpleNamespace(
    **{'ids': tones.ids, 'pcm': OnDisk(tones.pcm), 'starts': tones.starts},
    **{'num_samples': tones.num_samples, 'speaker': tones.speakers},
    label=names,
  )
  monkeypatch.setattr(
    corpora, 'read', lambda name, **kw: where.update(kw, name=name) or corpus
  )
  config = tiny.get_config()
  config.task = 'label'
  named = {'corpus': 'crema_d', 'folder': 'a', 'data_dir': 'b'}
  config.substitute.update(named)
  run = types.SimpleNamespace(
    **{'config': config, 'classes': tiny.CLASSES},
    data=types.SimpleNamespace(splits=tiny.SPLITS),
  )
  found = clips.pool(run, clips.CORPUS, tiny.tones(3, 5), 100)
  asked = [where[key] for key in ('name', 'folder', 'data_dir')]
  assert asked == list(named.values())
  # Not those that are judged, 5-0 to 5-2, nor the class that the run has not.
  assert set(found.ids) == {'5-3', '5-4', '5-6', '5-7'}
  for i, name in enumerate(found.ids):
    row = int(name[2:])
    np.testing.assert_array_equal(found.pcm[i], tones.pcm[row])
    assert tiny.CLASSES[found.labels[i]] == names[row]


@pytest.mark.parametrize(
  ('changes', 'words'),
  [
    ({'regimes': ('corpus',)}, "must name the corpus of the regime 'corpus'"),
    (
      {'victims': ('resnet',)},
      "must be among resemblyzer, wavecnn, .*got 'resnet'",
    ),
    ({'sweep': (0.0,)}, 'must name at least one for fgsm, as the sweep has'),
  ],
)
def test_a_run_that_cannot_be_asked_is_refused_before_it_begins(changes, words):
  config = paper.get_config()
  config.sweep.epsilons = changes.pop('sweep', (0.01,))
  config.substitute.update(changes)
  with pytest.raises(errors.InputError, match=words):
    studies.resolve('substitute').check_run(config)


def test_each_model_is_attacked_by_way_of_the_next():
  config = paper.get_config()
  config.models = ('wavecnn', 'wavernn', 'wavernn_on_wavecnn')
  assert rounds.pairs(config) == {
    'wavecnn': 'wavernn',
    'wavernn': 'wavernn',
    'wavernn_on_wavecnn': 'wavecnn',
  }
  config.substitute.update({'model': 'wavecnn', 'victims': ('wavernn',)})
  assert rounds.pairs(config) == {'wavernn': 'wavecnn'}


@pytest.mark.parametrize(
  ('num_broken', 'broken', 'better'),
  [
    (30, claim.CONFIRMED, claim.CONFIRMED),
    (8, claim.NOT_SHOWN, claim.NOT_SHOWN),
    (11, claim.NOT_SHOWN, claim.NOT_SHOWN),  # p .031, of two epsilons
    (12, claim.CONFIRMED, claim.NOT_SHOWN),  # p .016
    (0, claim.NOT_SHOWN, claim.REFUTED),
  ],
)
def test_a_model_need_not_be_known_if_its_substitute_beats_noise(
  tmp_path, num_broken, broken, better
):
  runs.write_substitute(tmp_path / 'a', num_broken)
  config = tiny.get_config().to_dict()
  found = claims.of_study(section.Results(str(tmp_path / 'a'), config, ()))
  assert [each.verdict for each in found] == [broken, better]
  assert '16 queries about other clips of its corpus' in found[0].found[0]
