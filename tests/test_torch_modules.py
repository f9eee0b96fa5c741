"""PyTorch modules through torchax: logits, gradients, a sweep."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sweep_subjects

from advspeech import errors, sweep, torch_modules


@pytest.fixture(scope='module')
def module():
  torch = pytest.importorskip('torch')
  pytest.importorskip('torchax')
  torch.manual_seed(0)
  return torch.nn.Sequential(
    torch.nn.Unflatten(1, (1, -1)),
    torch.nn.Conv1d(1, 8, 16, stride=8),
    torch.nn.BatchNorm1d(8),
    torch.nn.ReLU(),
    torch.nn.AdaptiveAvgPool1d(1),
    torch.nn.Flatten(),
    torch.nn.Dropout(0.5),
    torch.nn.Linear(8, 3),
  )


def test_logits_and_gradients_are_pytorchs(module):
  import torch

  logits_fn = torch_modules.logits_fn_of(module)
  clips = np.random.default_rng(0).uniform(size=(3, 640)).astype(np.float32)
  theirs = torch.tensor(clips, requires_grad=True)
  logits = module(theirs)
  np.testing.assert_allclose(
    jax.jit(logits_fn)(clips), logits.detach(), rtol=1e-5, atol=1e-6
  )
  logits[:, 1].sum().backward()
  gradient = jax.grad(lambda x: logits_fn(x)[:, 1].sum())(jnp.asarray(clips))
  assert float(jnp.abs(gradient).max()) > 1e-3
  np.testing.assert_allclose(gradient, theirs.grad, rtol=1e-4, atol=1e-8)


def test_a_pytorch_module_is_attacked_beside_a_flax_one(module):
  split = sweep_subjects.make_split()
  own = sweep.Member.from_function(
    'torch',
    torch_modules.logits_fn_of(module),
    sweep_subjects.CLASSES,
    split.labels,
  )
  pair = [own, sweep_subjects.make_members(split)[0]]
  found = sweep_subjects.judge(sweep_subjects.make_planned(), pair, split)
  assert found.predictions.shape[2:] == (2, sweep_subjects.NUM_CLIPS)
  np.testing.assert_array_equal(found.predictions[0, 0], found.clean)
  assert found.max_norm[1].min() > 0


def test_without_torchax_what_to_install_is_said(monkeypatch):
  monkeypatch.setitem(sys.modules, 'torchax', None)
  with pytest.raises(errors.InputError, match=r"install -e '\.\[torch\]'"):
    torch_modules.logits_fn_of(None)
