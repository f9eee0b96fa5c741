"""Training in bfloat16 learns what training in float32 learns."""

import os

import jax
import pytest

from advspeech import (
  corpora,
  input_pipeline,
  parallel,
  statistics,
  tasks,
  training,
)
from configs import quickstart


@pytest.mark.slow
def test_bfloat16_reaches_the_accuracy_of_float32(espeak_dir, tmp_path):
  config = quickstart.get_config()
  corpus = corpora.read(
    'espeak',
    num_samples=round(config.clip_s * 16_000),
    folder='',
    data_dir=str(espeak_dir),
  )
  task = tasks.select(
    'gender', speaker=corpus.speaker, sex=corpus.sex, emotion=corpus.emotion
  )
  splits = input_pipeline.make_splits(corpus, task, 'stratified', 0)
  intervals = {}
  for precision in ('float32', 'bfloat16'):
    config.training.precision = precision
    folder = tmp_path / precision
    os.makedirs(folder)
    summary = training.train_and_evaluate(
      config,
      str(folder),
      model_name='wavecnn',
      seed=0,
      splits=splits,
      classes=task.classes,
      mesh=parallel.make_mesh(devices=jax.devices()[:1]),
    )
    test = summary['test']
    correct = round(test['accuracy'] * test['num_clips'])
    intervals[precision] = statistics.wilson_interval(
      correct, test['num_clips'], 0.95
    )
    print(precision, test['accuracy'], intervals[precision])
  assert intervals['bfloat16'][0] > 0.85
  assert intervals['bfloat16'][1] >= intervals['float32'][0]
  assert intervals['float32'][1] >= intervals['bfloat16'][0]
