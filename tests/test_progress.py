"""Long work says how far it is, in a log too."""

import logging

import pytest

from advspeech import progress


@pytest.fixture
def said(monkeypatch, caplog):
  """Returns what was logged, by a clock that goes on ten seconds a look."""
  now = iter(range(0, 10_000, 10))
  monkeypatch.setattr(progress.time, 'monotonic', lambda: next(now))
  caplog.set_level(logging.INFO, 'advspeech')
  return lambda: [record.getMessage() for record in caplog.records]


def test_a_log_gets_a_line_a_minute_with_an_estimate(said):
  assert list(progress.track(range(20), 'reading', 20, 'clip')) == [*range(20)]
  assert said() == [
    'reading: 6 of 20 clips, 140 s left',
    'reading: 12 of 20 clips, 80 s left',
    'reading: 18 of 20 clips, 20 s left',
  ]


def test_several_batches_are_no_batchs(said):
  assert len(list(progress.track(range(6), 'scoring', 6, 'batch'))) == 6
  assert said() == ['scoring: 6 of 6 batches, 0 s left']


def test_what_was_done_before_does_not_count_as_fast(said):
  with progress.Meter('attacking', 100, 'part', done=90) as meter:
    for _ in range(6):
      meter.update('fgsm')
  assert said() == ['attacking: 96 of 100 parts, 40 s left']


def test_what_takes_days_is_not_estimated_in_seconds(said):
  with progress.Meter('training', 50_000, 'step') as meter:
    for _ in range(6):
      meter.update()
  assert said() == ['training: 6 of 50000 steps, 5.8 days left']
  assert [progress.duration(s) for s in (599, 600, 7199, 7200, 172_799)] == [
    '599 s',
    '10 min',
    '120 min',
    '2.0 h',
    '48.0 h',
  ]


def test_one_of_several_processes_speaks(said):
  for _ in progress.track(range(20), 'reading', 20, 'clip', shown=False):
    pass
  assert said() == []
