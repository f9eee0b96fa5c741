"""Attacks through rooms: judged in those they know and those they do not."""

import types

import numpy as np
import pytest
import report_runs as runs
import soundfile
import studied
import tiny

from advspeech import (
  claim,
  errors,
  section,
  storage,
  studies,
  sweep,
)
from advspeech.studies.air import claims, parts, sending, tables

# Attacks through rooms compile for a quarter of a minute.
pytestmark = pytest.mark.slow

CLASSES = tiny.CLASSES


@pytest.fixture(scope='module')
def responses(tmp_path_factory):
  """Rooms whose echoes last longer from one to the next."""
  folder = tmp_path_factory.mktemp('responses')
  rng = np.random.default_rng(0)
  time_s = np.arange(2000) / 16_000
  for side, num in (('training', 3), ('unseen', 6)):
    (folder / side).mkdir()
    for i in range(num):
      t60 = 0.05 + 0.02 * i
      response = 0.1 * rng.normal(size=2000) * 10 ** (-3 * time_s / t60)
      response[0] = 0.9
      soundfile.write(folder / side / f'{i}.wav', response, 16_000)
  return folder


@pytest.fixture(scope='module')
def run(tmp_path_factory, responses):
  config = tiny.get_config()
  config.air.transform = f'air@{responses}'
  config.air.attacks = ('fgsm',)
  config.air.draws = (1, 2)
  config.air.num_clips = 8
  config.air.num_rooms = 5
  return studied.small_run(tmp_path_factory.mktemp('run'), config)


@pytest.fixture(scope='module')
def made(run):
  folder = run.folder / 'air'
  folder.mkdir()
  studies.resolve('air').run(run, str(folder))
  return folder


def test_every_clip_is_heard_in_every_room_and_so_is_noise(run, made):
  rows = storage.read_table(str(made / 'rooms.csv'))
  assert len(rows) == 3 * 5 * 5  # draws, sent, rooms
  assert {row['num_clips'] for row in rows} == {8}
  t60 = [row['t60_s'] for row in rows[:5]]
  assert t60 == sorted(t60)
  assert t60[0] < 0.09 < t60[-1]
  points = storage.read_table(str(made / 'air.csv'))
  assert len(points) == 3 * 5
  for point in points:
    own = [
      row for row in rows if all(row[k] == point[k] for k in ('draws', 'sent'))
    ]
    assert point['num_rooms'] == len(own) == 5
    assert np.mean([r['error_rate'] for r in own]) == pytest.approx(
      point['unseen']
    )
    assert point['unseen_low'] <= point['unseen'] <= point['unseen_high']
    assert (point['seen'] == '') == (point['draws'] == 0)


def test_clean_clips_are_the_same_whatever_the_attack(made):
  rows = storage.read_table(str(made / 'air.csv'))
  clean = [row for row in rows if row['sent'] == 'clean']
  assert len({row['unseen'] for row in clean}) == 1
  assert {row['mean_snr_db'] for row in clean} == {''}
  sent = [row for row in rows if row['sent'] == 'random_sign']
  assert all(abs(row['mean_snr_db'] - 20) < 1 for row in sent)
  assert all(row['mean_heard_snr_db'] < 40 for row in sent)


def test_clips_are_written_at_the_source_and_in_a_room(run, made):
  sounds = studied.sounds_of(made)
  assert len(sounds) == run.config.air.num_examples
  for (name,), own in sounds.items():
    at = {(e['place'], e['sent']): e for e in own}
    kinds = ('clean', 'attack', 'random_sign')
    assert set(at) == {(x, y) for x in ('source', 'room') for y in kinds}
    clean = studied.recorded(run.data.splits['test'], name)
    np.testing.assert_array_equal(at['source', 'clean']['pcm'], clean)
    assert at['source', 'clean']['snr_db'] is None
    for kind in kinds[1:]:
      assert at['source', kind]['snr_db'] == pytest.approx(20, abs=1)
      assert at['room', kind]['snr_db'] < 40
    # Echoes change all of a clip.
    assert (at['room', 'clean']['pcm'] != clean).mean() > 0.9
    for entry in own:
      assert entry['answer'] == studied.answer(run, entry['pcm'])
      assert entry['draws'] == 2


def test_parts_that_are_there_are_not_computed_again(run, made, monkeypatch):
  assert len(list(made.glob('*.npz'))) == 3
  studied.assert_parts_stay(run, made, 'air', 'epsilon', '10dbsnr', monkeypatch)


def test_too_few_rooms_are_refused(tmp_path):
  (tmp_path / 'unseen').mkdir()
  soundfile.write(tmp_path / 'unseen' / 'a.wav', np.eye(1, 300)[0], 16_000)
  with pytest.raises(errors.InputError, match='must hold 5 responses'):
    parts.judging_rooms(str(tmp_path), 20)


def found_of(wrong_attack, wrong_clean, seen):
  """What a model answers, from who is wrong in rooms [clips, rooms]."""
  sent = np.stack(
    [wrong_clean, wrong_attack, *[wrong_clean] * 3], axis=1
  ).astype(np.int32)
  zeros = np.zeros(sent.shape[:2])
  return sending.Found(
    sent[..., 0],
    np.broadcast_to(seen[:, None, None], (len(seen), 5, 2)).astype(np.int32),
    sent,
    zeros + 20,
    np.zeros(sent.shape) + 15,
  )


def test_the_gap_is_what_an_attack_loses_in_unseen_rooms():
  rng = np.random.default_rng(0)
  attacked, clean = rng.random((40, 6)) < 0.5, rng.random((40, 6)) < 0.1
  seen = np.ones(40)
  seen[:4] = 0
  bank = types.SimpleNamespace(names=tuple('abcdef'))
  results = parts.Results(
    np.zeros(40, np.int32),
    ('a', 'b'),
    np.full(40, ''),
    bank,
    sweep.parse_epsilons(['20dbsnr'])[0],
    np.full(40, 0.1, np.float32),
    {('wavecnn', 'pgd', 2): found_of(attacked, clean, seen)},
  )
  rows = {row['sent']: row for row in tables.point_rows(results, 0.95)}
  attack = rows['attack']
  assert attack['seen'] == 0.9
  assert attack['unseen'] == pytest.approx(attacked.mean())
  assert attack['leaves'] == 'label'
  # A clip in each of six rooms; all are of the first class.
  num_wrong = int(attacked.sum())
  assert attack['errors_by_class'] == f'{{"a": [{num_wrong}, 240]}}'
  assert attack['answers_by_class'] == (
    f'{{"a": {240 - num_wrong}, "b": {num_wrong}}}'
  )
  assert attack['gap'] == pytest.approx(0.9 - attacked.mean())
  assert attack['gap_low'] < attack['gap'] < attack['gap_high']
  assert rows['gaussian']['more'] == pytest.approx(
    attacked.mean() - clean.mean()
  )
  assert rows['gaussian']['more_low'] > 0
  assert attack['more'] == ''


@pytest.mark.parametrize(
  ('ends', 'verdict'),
  [
    ((0.5, 0.7), claim.CONFIRMED),
    ((-0.1, 0.7), claim.NOT_SHOWN),
    ((-0.4, -0.1), claim.REFUTED),
  ],
)
def test_an_attack_survives_if_it_does_more_than_noise(tmp_path, ends, verdict):
  runs.write_air(tmp_path / 'air')
  path = str(tmp_path / 'air' / 'air.csv')
  rows = storage.read_table(path)
  for row in rows:
    if row['more'] != '':
      row['more_low'], row['more_high'] = ends
  storage.write_table(path, tuple(rows[0]), rows)
  found = claims.survives(section.Results(str(tmp_path / 'air'), {}, ()))
  assert found.verdict == verdict
  assert 'simulated' in found.found[0]
  assert 'over 4 simulated rooms' in found.found[0]
