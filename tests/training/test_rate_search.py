"""Bisection of the learning rate: where it looks, what it keeps, who judges."""

import logging
import math
import re

import jax
import pytest
import tiny

from advspeech import errors, figures, parallel, storage
from advspeech.experiment import rate_figure
from advspeech.training import loop, rate_search

pytestmark = pytest.mark.usefixtures('shallow_networks')


def test_ends_and_middle_are_tried_first_then_beside_the_best():
  first = rate_search.next_rates({}, 1e-5, 1e-2)
  assert first == pytest.approx([1e-5, 10**-3.5, 1e-2], rel=2e-3)
  ranks = dict(zip(first, [(0.5, -1), (0.9, -1), (0.6, -1)], strict=True))
  second = rate_search.next_rates(ranks, 1e-5, 1e-2)
  assert second == pytest.approx([10**-4.25, 10**-2.75], rel=2e-3)
  ranks = dict(zip(first, [(0.5, -1), (0.6, -1), (0.9, -1)], strict=True))
  assert rate_search.next_rates(ranks, 1e-5, 1e-2) == pytest.approx(
    [10**-2.75], rel=2e-3
  )
  # A tie goes to the lower loss.
  ranks = dict(zip(first, [(0.9, -0.2), (0.9, -1), (0.9, -2)], strict=True))
  assert max(rate_search.next_rates(ranks, 1e-5, 1e-2)) < 1e-4


def test_finds_the_peak_of_a_known_curve():
  tried = {}
  for _ in range(6):
    for rate in rate_search.next_rates(tried, 1e-5, 1e-2):
      tried[rate] = (-abs(math.log10(rate) + 2.3), 0)
  assert math.log10(max(tried, key=tried.get)) == pytest.approx(-2.3, abs=0.06)


def search(config, workdir):
  return rate_search.search(
    config,
    str(workdir),
    model_name=tiny.MODEL,
    splits={k: tiny.SPLITS[k] for k in ('train', 'validation')},
    classes=tiny.CLASSES,
  )


@pytest.fixture
def logged_compilations():
  """Has JAX log what it compiles, in every thread."""
  jax.config.update('jax_log_compiles', True)
  yield
  jax.config.update('jax_log_compiles', False)


@pytest.fixture
def config():
  config = tiny.get_config()
  config.lr_search.num_epochs = 1
  config.lr_search.num_rounds = 1
  return config


@pytest.mark.slow
def test_every_probe_is_logged_and_none_is_run_twice(
  tmp_path, config, monkeypatch, caplog, logged_compilations
):
  with caplog.at_level(logging.WARNING, 'jax'):
    best, rows = search(config, tmp_path)
  # Once on each device that has probes, not once a rate.
  compiled = [
    record
    for record in caplog.messages
    if re.search(r'Finished XLA compilation of .*_train_step', record)
  ]
  assert len(compiled) == len(parallel.submeshes(3)) < len(rows)
  table = storage.read_table(tmp_path / 'lr_search' / 'tinymodel.csv')
  assert [r['learning_rate'] for r in table] == [
    r['learning_rate'] for r in rows
  ]
  assert len({r['learning_rate'] for r in table}) == len(table) >= 4
  assert best in [r['learning_rate'] for r in table]
  figure = rate_figure.accuracy_against_learning_rate(table, 'wavernn')
  figures.save(figure, str(tmp_path / 'figure'))
  monkeypatch.setattr(loop, 'train', None)
  assert search(config, tmp_path) == (best, rows)


def test_ends_that_round_to_their_middle_are_tried_once(
  tmp_path, config, monkeypatch
):
  config.lr_search.low, config.lr_search.high = 1e-3, 1.0001e-3
  tried = []

  def probe(config, path, rate, program, what):
    tried.append(rate)
    metrics = {'validation_accuracy': 0.5, 'validation_loss': 1.0}
    return {'learning_rate': rate, **metrics, 'best_epoch': 1, 'note': ''}

  monkeypatch.setattr(rate_search, 'train_probe', probe)
  (tmp_path / 'lr_search').mkdir()
  search(config, tmp_path)
  assert sorted(tried) == [1e-3, 1.0001e-3]


@pytest.mark.slow
def test_side_by_side_finds_what_one_after_another_finds(
  tmp_path, config, monkeypatch
):
  config.lr_search.num_rounds = 1
  meshes = parallel.submeshes(3)
  assert [mesh.size for mesh in meshes] == [1, 1, 1]
  beside = search(config, tmp_path / 'beside')
  one = parallel.make_mesh(devices=jax.devices()[:1])
  monkeypatch.setattr(parallel, 'submeshes', lambda num: [one])
  assert search(config, tmp_path / 'after') == beside


@pytest.mark.slow
def test_a_rate_that_explodes_is_a_row_not_the_end(tmp_path, config):
  config.lr_search.low, config.lr_search.high = 1e28, 1e34
  with pytest.raises(errors.InputError, match='stopped being finite at every'):
    search(config, tmp_path)
  table = storage.read_table(tmp_path / 'lr_search' / 'tinymodel.csv')
  assert {r['note'] for r in table} == {'the loss stopped being finite'}
  assert {r['validation_accuracy'] for r in table} == {0}
