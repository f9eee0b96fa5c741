"""Models asked by query: every one counted, the same bits in any company."""

import functools
import json

import jax
import numpy as np
import pytest
import studied
import tiny

from advspeech import (
  attacks,
  audio,
  parallel,
  section,
  storage,
  studies,
)
from advspeech.studies.queries import asking, parts, tables

COUNTS = (1, 10, 20, 50, 60)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  config = tiny.get_config()
  config.queries.update(
    {'num_queries': 60, 'num_clips': 16, 'epsilon': '10dbsnr', 'num_starts': 3}
  )
  return studied.small_run(tmp_path_factory.mktemp('run'), config)


@pytest.fixture(scope='module')
def made(run):
  folder = run.folder / 'queries'
  folder.mkdir()
  studies.resolve('queries').run(run, str(folder))
  return folder


@pytest.mark.slow
def test_a_study_has_curves_distances_and_every_clip(run, made):
  rows = storage.read_table(str(made / 'errors.csv'))
  assert {row['attack'] for row in rows} == {'square', 'nes', 'random_sign'}
  assert [r['queries'] for r in rows if r['attack'] == 'nes'] == [0, *COUNTS]
  clean = [row['error_rate'] for row in rows if row['queries'] == 0]
  assert len(set(clean)) == 1
  for attack in ('square', 'nes', 'random_sign'):
    rates = [r['error_rate'] for r in rows if r['attack'] == attack]
    assert rates == sorted(rates)
  clips = storage.read_table(str(made / 'clips.csv'))
  assert len(clips) == 4 * 16
  assert all(row['num_asked'] <= 60 for row in clips)
  distances = storage.read_table(str(made / 'distances.csv'))
  for row in distances:
    assert row['num_wrong'] + row['num_reached'] + row['num_never'] == 16
  nearest = [row['median_snr_db'] for row in distances]
  assert nearest == sorted(nearest)
  for figure in studies.resolve('queries').figures(
    section.Results(str(made), run.config.to_dict(), run.classes)
  ):
    assert figure.draw().axes


@pytest.mark.slow
def test_clips_are_written_as_attacks_leave_them(run, made):
  sounds = studied.sounds_of(made)
  assert len(sounds) == run.config.queries.num_examples
  split = run.data.splits['test']
  for (name,), own in sounds.items():
    at = {entry['attack']: entry for entry in own}
    assert set(at) == {'', 'square', 'nes', 'random_sign', 'hopskipjump'}
    clean = studied.recorded(split, name)
    np.testing.assert_array_equal(at.pop('')['pcm'], clean)
    (row,) = np.flatnonzero(split.ids == name)
    label = run.classes[split.labels[row]]
    for attack, entry in at.items():
      wrong = studied.answer(run, entry['pcm']) != label
      if attack == 'hopskipjump':  # at the boundary: rounding may bring it back
        assert entry['is_wrong']
      else:
        assert entry['is_wrong'] == wrong
        assert entry['snr_db'] > 9.9


@pytest.mark.slow
def test_parts_stay_and_are_of_this_study(run, made, monkeypatch):
  assert len(list(made.glob('*.npz'))) == 4
  studied.assert_parts_stay(run, made, 'queries', 'norm', 'linf', monkeypatch)


@pytest.mark.slow
def test_clips_are_the_same_on_any_number_of_devices(
  run, made, tmp_path, monkeypatch
):
  devices = jax.devices()[:1]
  make = parallel.make_mesh
  monkeypatch.setattr(
    parallel, 'make_mesh', lambda *args: make(devices=devices)
  )
  studies.resolve('queries').run(run, str(tmp_path))
  for path in made.glob('*.csv'):
    assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path


def results_of(sizes):
  """Found of four clips: one wrong as it is, three not yet."""
  clean = np.array([1.0, -1, -2, -3], np.float32)
  best = np.array([[-1, -1], [-0.5, 0.5], [-1, -1], [0.1, 0.2]], np.float32)
  noise = np.full((4, 2), -1, np.float32)
  zeros = np.zeros(4, np.int32)
  return parts.Results(
    tiny.tones(4, 0),
    ('low', 'high'),
    audio.parse_epsilon('20dbsnr'),
    np.full(4, 0.1, np.float32),
    (1, 10),
    'l2',
    {
      ('wavecnn', 'square'): asking.Scores(clean, best, zeros, zeros + 10),
      ('wavecnn', 'random_sign'): asking.Scores(clean, noise, zeros, zeros),
    },
    {'wavecnn': asking.Distances(sizes, zeros + 10)},
  )


def test_errors_count_clips_that_are_wrong_as_they_are():
  sizes = np.zeros((4, 2, 2), np.float32)
  rows = list(tables.error_rows(results_of(sizes), 0.95))
  rates = {(r['attack'], r['queries']): r['error_rate'] for r in rows}
  assert [rates['square', n] for n in (0, 1, 10)] == [0.25, 0.5, 0.75]
  assert [rates['random_sign', n] for n in (0, 1, 10)] == [0.25] * 3
  labels = tiny.tones(4, 0).labels
  at_end = np.array([1, 1, 0, 1], bool)
  by_class = {
    name: [int(at_end[labels == c].sum()), int((labels == c).sum())]
    for c, name in enumerate(('low', 'high'))
  }
  (last,) = (r for r in rows if (r['attack'], r['queries']) == ('square', 10))
  assert json.loads(last['errors_by_class']) == by_class
  assert {row['leaves'] for row in rows} == {'label'}
  assert last['balanced_error'] == np.mean(
    [w / n for w, n in by_class.values()]
  )
  excess = {r['queries']: r['excess'] for r in rows if r['attack'] == 'square'}
  assert excess == {0: '', 1: 0.25, 10: 0.5}


def test_clips_never_reached_are_counted_as_infinitely_far():
  signal = 0.1 * np.sqrt(tiny.TIME)
  l2 = np.array(
    [[0, 0], [np.inf, signal / 10], [np.inf, np.inf], [signal, signal / 100]]
  )
  sizes = np.stack([l2, l2], 1).astype(np.float32)
  first, last = tables.distance_rows(results_of(sizes), 0.95)
  assert [first[f'num_{x}'] for x in ('wrong', 'reached', 'never')] == [1, 1, 2]
  assert first['median_snr_db'] == -np.inf
  assert (last['num_reached'], last['num_never']) == (2, 1)
  assert last['median_snr_db'] == pytest.approx(20, abs=1e-3)


def test_random_signs_are_drawn_anew_and_the_best_is_taken():
  keys = jax.random.split(jax.random.key(0), 3)
  clips = jax.random.uniform(jax.random.key(1), (3, 50))
  weights = jax.random.normal(jax.random.key(2), (1, 50))

  def score_fn(x):
    return ((x - 0.5) * weights).sum(-1)

  found = jax.jit(
    functools.partial(
      asking.random_signs,
      score_fn,
      counts=(1, 5, 40),
      num_queries=40,
      mask=None,
      bounds=(0.0, 1.0),
    )
  )(clips, np.full((1, 3), 0.1, np.float32), keys)
  best = np.asarray(found.best[0])
  assert (best[0] < best[2]).all()
  np.testing.assert_allclose(score_fn(found.audio[0]), best[2], atol=1e-5)
  assert float(np.abs(found.audio[0] - clips).max()) <= 0.1 + 1e-6
  assert attacks.milestones(60) == COUNTS
