"""Trainings that differ in rounding alone, attacked and shown."""

import types

import jax
import numpy as np
import pytest
import report_runs as runs
import studied
import tiny

from advspeech import (
  checkpoint,
  errors,
  experiment,
  input_pipeline,
  preemption,
  report,
  storage,
  studies,
  sweep,
  training,
)

# It trains and attacks three times.
pytestmark = pytest.mark.slow

CLASSES = tiny.CLASSES


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  config = tiny.get_config()
  config.sweep.sources = ()
  config.sweep.epsilons = (0.0, 0.01, 0.1)
  config.rounding.num_orders = 2
  return studied.small_run(tmp_path_factory.mktemp('run'), config)


@pytest.fixture(scope='module')
def made(run):
  folder = run.folder / 'rounding'
  folder.mkdir()
  studies.resolve('rounding').run(run, str(folder))
  return folder


def test_rows_change_places_and_clips_stay_in_their_batches():
  order = input_pipeline.epoch_order(20, seed=0, epoch=0)
  other = input_pipeline.rows_reordered(order, 8, row_order=1)
  for start in (0, 8, 16):
    rows = slice(start, start + 8)
    assert set(other[rows]) == set(order[rows])
  assert (other != order).any()
  again = input_pipeline.rows_reordered(order, 8, row_order=1)
  np.testing.assert_array_equal(other, again)
  assert (other != input_pipeline.rows_reordered(order, 8, row_order=2)).any()


def test_trainings_differ_by_rounding_and_say_which_order(run, made):
  short = run.classifier(tiny.MODEL, 0).metadata['model']['name']
  assert short == tiny.MODEL
  own = run.classifier(tiny.MODEL, 0).variables
  (folder, other) = sorted(made.glob('*-order*'))
  for order, path in enumerate((folder, other), 1):
    found = checkpoint.load_classifier(str(path))
    assert found.metadata['row_order'] == order
    differences = [
      np.abs(np.asarray(a) - np.asarray(b)).max()
      for a, b in zip(
        *map(jax.tree.leaves, (own, found.variables)), strict=True
      )
    ]
    assert 0 < max(differences) < 1e-2


def test_all_orders_are_attacked_on_the_same_clips(made):
  means = storage.read_table(made / 'orders.csv')
  assert {row['num_trainings'] for row in means} == {3}
  assert all(row['source'] == row['target'] for row in means)
  curves = storage.read_table(made / 'curves.csv')
  assert len(curves) == 3 * 2 * 3  # orders, attack and noise, epsilons
  for row in means:
    if row['control'] in ('', 'random_sign'):
      mine = [
        c['error_rate']
        for c in curves
        if (c['control'], c['epsilon']) == (row['control'], row['epsilon'])
      ]
      assert row['error_rate'] == pytest.approx(np.mean(mine))
      assert (row['lowest'], row['highest']) == (min(mine), max(mine))


def test_what_is_there_is_not_trained_again(run, made, monkeypatch):
  monkeypatch.setattr(training, 'train_and_evaluate', None)
  study = studies.resolve('rounding')
  study.run(run, str(made))
  (made / 'orders.csv').unlink()
  study.run(run, str(made))  # from the parts of its attack
  assert (made / 'orders.csv').exists()


@pytest.mark.usefixtures('undrawn_figures')
def test_the_page_sets_orders_beside_seeds(tmp_path):
  workdir = tmp_path / 'run'
  runs.write(workdir)
  page = (workdir / 'report' / 'index.html').resolve()
  report.write(str(workdir))
  assert 'python -m launch.study rounding' in page.read_text()
  runs.write_rounding(workdir)
  report.write(str(workdir))
  text = page.read_text()
  assert '<td>11.1 to 22.2</td><td>33.3</td>' in text
  assert (workdir / 'studies/rounding/rounding.svg').exists()


def test_an_impossible_number_of_orders_is_refused(tmp_path):
  config = tiny.get_config()
  config.rounding.num_orders = 0
  with pytest.raises(errors.InputError, match=r'rounding\.num_orders'):
    experiment.Run.open(config, str(tmp_path))


def test_a_direction_is_learnt_on_training_clips(run, made, monkeypatch):
  config = run.config.copy_and_resolve_references()
  config.sweep.attacks = ('universal',)
  config.sweep.universal.num_clips = 5
  learns = types.SimpleNamespace(**{**vars(run), 'config': config})
  seen = []

  def judge(work):
    seen.append(work)
    raise preemption.Stopped(preemption.signal.SIGTERM)

  monkeypatch.setattr(sweep, 'run', judge)
  (made / 'orders.csv').unlink()
  with pytest.raises(preemption.Stopped):
    studies.resolve('rounding').run(learns, str(made))
  (work,) = seen
  ids = set(run.data.splits['train'].ids)
  assert len(work.fitting) == 5
  assert set(work.fitting.ids) <= ids
  assert not ids & set(work.split.ids)
