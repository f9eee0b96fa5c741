"""The study of smoothing: counts by clip alone, certificates, resumption."""

import dataclasses
import signal
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import (
  audio,
  checkpoint,
  input_pipeline,
  over_clips,
  parallel,
  preemption,
  section,
  storage,
)
from advspeech.statistics import certificates
from advspeech.studies.smoothing import counting, page, study, tables
from configs import paper

TIME, NUM_CLIPS = 640, 18
SIGMA = 0.05
CLASSES = ('low', 'high')


class Level(nn.Module):
  """Says 'high' of a clip whose mean is above silence: a linear network."""

  num_classes: int = 2

  @nn.compact
  def __call__(self, audio, *, train, valid=None):
    del train, valid
    gain = self.param('gain', nn.initializers.ones, ())
    score = gain * (audio - 0.5).mean(-1)
    return jnp.stack([-score, score], -1)


def make_split(num=NUM_CLIPS):
  rng = np.random.default_rng(0)
  mean = np.linspace(-300, 300, num)[:, None]
  pcm = (mean + rng.normal(0, 500, (num, TIME))).astype(np.int16)
  num_samples = np.where(np.arange(num) % 3, TIME, TIME // 2)
  pcm[np.arange(TIME) >= num_samples[:, None]] = 0
  return input_pipeline.Split(
    ids=np.array([f'clip-{i}' for i in range(num)]),
    pcm=pcm,
    num_samples=num_samples,
    labels=(np.arange(num) >= num // 2).astype(np.int32),
    speakers=np.array([f'v{i}' for i in range(num)]),
  )


def settings_of(**changes):
  settings = paper.get_config().smoothing
  settings.sigmas, settings.num_guessing = (SIGMA,), 20
  settings.num_certifying = 200
  settings.update(changes)
  return settings


def counts_of(split, mesh=None, seed=0, rows=slice(None), **changes):
  mesh = mesh or parallel.make_mesh()
  model = Level()
  made = counting.make(model, settings_of(**changes), mesh)
  variables = {'params': {'gain': jnp.ones(())}}
  variables = parallel.bring(variables, mesh)
  return counting.counts(
    made, variables, SIGMA, split, mesh, seed=seed, rows=rows
  )


@pytest.fixture(scope='module')
def split():
  return make_split()


@pytest.fixture(scope='module')
def counts(split):
  return counts_of(split)


def test_every_draw_is_counted_once(counts):
  np.testing.assert_array_equal(
    counts.sum(-1), np.tile([20, 200], (NUM_CLIPS, 1))
  )


def test_counts_follow_the_probability_of_a_linear_network(split, counts):
  clips, _ = map(np.asarray, input_pipeline.decode(split.pcm, split.spans))
  margin = (clips - 0.5).mean(-1) * np.sqrt(TIME) / SIGMA
  normal = jax.scipy.stats.norm.cdf(margin)
  share = counts[:, :, 1].sum(1) / 220
  np.testing.assert_allclose(share, normal, atol=0.13)  # four sigma


def test_a_radius_is_at_most_the_true_distance(split, counts):
  # From a clip to the plane of a linear network: no certificate goes further.
  clips, _ = map(np.asarray, input_pipeline.decode(split.pcm, split.spans))
  distance = np.abs((clips - 0.5).mean(-1)) * np.sqrt(TIME)
  made = [certificates.certify(*c, 0.001).radius for c in counts]
  known = [(r * SIGMA, d) for r, d in zip(made, distance, strict=True) if r]
  assert len(known) > 5
  assert all(radius < d for radius, d in known)
  assert max(radius / d for radius, d in known) > 0.5


def test_counts_come_from_seed_and_id_whatever_the_company(split, counts):
  one = parallel.make_mesh(devices=jax.devices()[:1])
  np.testing.assert_array_equal(counts_of(split, one), counts)
  order = np.arange(NUM_CLIPS)[::-1]
  np.testing.assert_array_equal(
    counts_of(input_pipeline.subset(split, order)), counts[::-1]
  )
  np.testing.assert_array_equal(
    counts_of(split, rows=slice(16, NUM_CLIPS)), counts[16:]
  )
  assert (counts_of(split, seed=1) != counts).any()


def test_draws_do_not_depend_on_how_many_there_are(split, counts):
  more = counts_of(split, num_certifying=203)
  difference = more[:, 1] - counts[:, 1]
  assert (difference >= 0).all()
  assert (difference.sum(-1) == 3).all()
  np.testing.assert_array_equal(more[:, 0], counts[:, 0])


def test_a_mask_leaves_the_padding_silent(split):
  @dataclasses.dataclass(frozen=True)
  class Padding:
    num_classes: int = 2

    def apply(self, variables, audio, *, train):
      del variables, train
      moved = (audio[:, TIME // 2 :] != 0.5).any(-1)
      return jnp.stack([~moved, moved], -1) * 1.0

  mesh = parallel.make_mesh()
  for mask, moved in (('all', 220), ('recorded', 0)):
    made = counting.make(Padding(), settings_of(mask=mask), mesh)
    found = counting.counts(made, {}, SIGMA, split, mesh, seed=0)
    assert found[0, :, 1].sum() == moved  # a clip of half the length


def test_clipping_to_full_scale_is_part_of_the_network():
  @dataclasses.dataclass(frozen=True)
  class Beyond:
    num_classes: int = 2

    def apply(self, variables, audio, *, train):
      del variables, train
      beyond = ((audio < 0) | (audio > 1)).any(-1)
      return jnp.stack([~beyond, beyond], -1) * 1.0

  split, mesh = make_split(2), parallel.make_mesh()
  made = counting.make(Beyond(), settings_of(), mesh)
  found = counting.counts(made, {}, 0.5, split, mesh, seed=0)
  assert not found[..., 1].any()


def test_tables_tell_certified_from_wrong_and_abstained(split):
  base = tables.Base('wavecnn', 0, audio.parse_epsilon(SIGMA))
  counts = np.tile([[20, 0], [200, 0]], (NUM_CLIPS, 1, 1))
  counts[0, 1] = [110, 90]
  rows = list(tables.clip_rows({base: counts}, split, CLASSES, 0.001))
  assert rows[0]['abstains'] == 1
  assert (rows[0]['radius'], rows[0]['snr_db'], rows[0]['right']) == ('', '', 0)
  assert (rows[1]['answer'], rows[1]['right']) == ('low', 1)
  assert (rows[-1]['label'], rows[-1]['right']) == ('high', 0)
  radius = SIGMA * certificates.largest_radius(200, 0.001)
  assert rows[1]['radius'] == pytest.approx(radius)
  signal = split.pcm[1] / 65536
  expected = 20 * np.log10(np.linalg.norm(signal) / radius)
  assert rows[1]['snr_db'] == pytest.approx(expected, abs=1e-3)
  found = {r['snr_db']: r for r in tables.summary_rows(rows, 0.95)}
  last = found[float('inf')]
  # Half of the clips, but for the one that abstains.
  assert (last['num_certified'], last['num_abstained']) == (
    NUM_CLIPS // 2 - 1,
    1,
  )
  assert found[20.0]['num_certified'] == sum(
    r['right'] and r['snr_db'] <= 20 for r in rows
  )
  assert last['error_rate'] == 1 - last['num_certified'] / NUM_CLIPS


@pytest.fixture
def run(split, tmp_path):
  config = paper.get_config()
  config.models, config.seeds = ('wavecnn',), (0,)
  config.smoothing = settings_of(num_clips=-1)
  classifier = checkpoint.Classifier(
    Level(),
    {'params': {'gain': jnp.ones(())}},
    {'model': {'name': 'wavecnn'}, 'classes': list(CLASSES)},
    1,
  )
  return types.SimpleNamespace(
    config=config,
    classes=CLASSES,
    data=types.SimpleNamespace(splits={'test': split}),
    classifier=lambda name, seed: classifier,
    paths=types.SimpleNamespace(
      classifier=lambda name, seed: str(tmp_path / f'{name}-seed{seed}')
    ),
  )


def test_what_was_stopped_goes_on_to_the_same_tables(
  run, tmp_path, monkeypatch, caplog
):
  whole, stopped = tmp_path / 'whole', tmp_path / 'stopped'
  for folder in (whole, stopped):
    folder.mkdir()
  study.STUDY.run(run, str(whole))
  assert 'not trained on Gaussian noise' in caplog.text
  computed = []
  real = over_clips.map_clips

  def stop_at_the_second(*args, rows, **kwargs):
    computed.append(rows.start)
    if len(computed) == 2:
      raise preemption.Stopped(signal.SIGTERM)
    return real(*args, rows=rows, **kwargs)

  monkeypatch.setattr(over_clips, 'map_clips', stop_at_the_second)
  with pytest.raises(preemption.Stopped):
    study.STUDY.run(run, str(stopped))
  study.STUDY.run(run, str(stopped))
  assert computed == [0, 16, 16]  # the first part is not counted again
  for name in ('certificates.csv', 'summary.csv'):
    assert (stopped / name).read_bytes() == (whole / name).read_bytes()


def test_too_few_draws_are_told(caplog):
  study.warn_of_draws(9, 0.001)
  assert 'must be 10 at least' in caplog.text
  caplog.clear()
  study.warn_of_draws(10, 0.001)
  assert not caplog.text


def test_the_figure_has_certified_and_empirical_error_on_one_axis(
  run, tmp_path
):
  folder = tmp_path / 'run' / 'studies' / 'smoothing'
  folder.mkdir(parents=True)
  study.STUDY.run(run, str(folder))
  results = section.Results(str(folder), run.config.to_dict(), CLASSES)
  attack = tmp_path / 'run' / 'attack'
  attack.mkdir()
  row = {
    **{'source': 'wavecnn', 'target': 'wavecnn', 'seed': 0, 'target_seed': 0},
    **{'attack': 'apgd_margin_l2', 'control': '', 'transform': ''},
    **{'epsilon': 0.01, 'mean_snr_db': 20.0, 'error_rate': 0.75},
  }
  others = [{**row, 'attack': 'fgsm'}, {**row, 'control': 'gaussian'}]
  storage.write_table(attack / 'sweep.csv', tuple(row), [row, *others])
  fig = page.certified(results)
  line, crosses = fig.axes[0].lines
  assert crosses.get_xydata().tolist() == [[20.0, 75.0]]
  rows = results.table('summary')
  shown = line.get_ydata()
  assert shown[-1] == pytest.approx(100 * rows[-1]['error_rate'], abs=1e-3)
  assert shown[0] == 100
  made = study.STUDY.section(results)
  assert made.context['largest'] == certificates.largest_radius(200, 0.001)
