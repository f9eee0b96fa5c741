"""The guide's FlaxSpeaker embedder against FlaxSpeaker, if it is installed."""

import importlib
import pathlib
import re
import sys

import jax
import numpy as np
import pytest

from advspeech import embedders

GUIDE = pathlib.Path(__file__).parents[2] / 'advspeech' / 'README.md'
TIME = 16_000


@pytest.fixture(scope='module')
def verifier(tmp_path_factory):
  """The guide's module, in a folder with an encoder that was never trained."""
  pytest.importorskip('flaxspeaker')
  from flaxspeaker import configs, neural_net

  text = GUIDE.read_text(encoding='utf-8')
  (code,) = (
    code
    for code in re.findall(r'```python\n(.*?)```', text, re.DOTALL)
    if 'flaxspeaker' in code
  )
  folder = tmp_path_factory.mktemp('user')
  (folder / 'verifier.py').write_text(code)
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    patch.syspath_prepend(str(folder))
    jax.config.update('jax_numpy_rank_promotion', 'allow')
    _, state = neural_net.get_speaker_encoder(configs.ExperimentConfig())
    neural_net.save_model('encoder.msgpack', {'params': state.params})
    yield importlib.import_module('verifier')
  jax.config.update('jax_numpy_rank_promotion', 'raise')
  sys.modules.pop('verifier', None)


@pytest.fixture(scope='module')
def clips():
  """Two clips of noise, the second of which ends early."""
  rng = np.random.default_rng(0)
  samples = rng.normal(0, 0.1, (2, TIME)).astype(np.float32)
  mask = np.ones_like(samples)
  mask[1, 12_000:] = 0
  return samples * mask, mask


def test_features_and_embeddings_are_flaxspeakers(verifier, clips):
  from flaxspeaker import feature_extraction

  frontend = feature_extraction.AudioFrontend(verifier.CONFIG.frontend)
  expected = frontend.extract_from_waveform(clips[0][0])
  found, heard = verifier.features(*clips)
  assert np.asarray(heard[0]).all()
  np.testing.assert_allclose(found[0], expected, atol=2e-3)
  embedding = verifier.encoder(*clips)[0]
  np.testing.assert_allclose(
    embedding,
    verifier.ENCODER.apply({'params': verifier.STATE.params}, expected[None])[
      0
    ],
    atol=1e-4,
  )


def test_it_can_be_attacked(verifier, clips):
  samples, mask = clips
  embedder = embedders.load('verifier:encoder', TIME)
  assert embedder.title == 'FlaxSpeaker'
  embedders.check_gradients(embedder, samples / 2 + 0.5, mask)


def test_what_lies_behind_the_recording_is_not_heard(verifier, clips):
  samples, mask = clips
  louder = samples + (1 - mask)
  np.testing.assert_allclose(
    verifier.encoder(louder, mask), verifier.encoder(samples, mask), atol=1e-6
  )
