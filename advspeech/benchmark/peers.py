"""The same attack by other tools on the same weights, to be timed beside ours.

PyTorch by hand (one gradient, E forwards), Foolbox, torchattacks and the
Adversarial Robustness Toolbox. All are extras: `pip install advspeech[peers]`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from advspeech import audio, errors
from advspeech.benchmark import computations
from advspeech.models import batch_norm, frontend, layers, wavecnn

# Clips whose answers and gradients are compared before anything is timed.
_LOGITS_TOLERANCE = 1e-4
_SIGNS_THAT_AGREE = 0.99


def make_calls(
  config: Any, num_clips: int
) -> dict[str, Callable[[], np.ndarray]]:
  """Returns, by name, calls that each do what our WaveCNN calls do.

  Raises:
    errors.InputError: If a tool is missing, or its answers are not ours.
  """
  try:
    import art.attacks.evasion
    import art.estimators.classification
    import foolbox
    import torch
    import torchattacks
  except ImportError as e:
    raise errors.InputError(
      f'--peers needs PyTorch, Foolbox, torchattacks and ART, and {e.name} is '
      "missing; python -m pip install -e '.[peers]'"
    ) from e
  subject = computations.make_subject(config, 'wavecnn', num_clips)
  model = _wavecnn(subject)
  clips = torch.from_numpy(np.array(subject.clips))
  label = torch.from_numpy(np.array(subject.label)).long()
  epsilons = [float(e) for e in computations.epsilon_grid()]

  def forward():
    with torch.no_grad():
      return model(clips).numpy()

  def gradient():
    x = clips.clone().requires_grad_()
    torch.nn.functional.cross_entropy(
      model(x), label, reduction='sum'
    ).backward()
    return x.grad.numpy()

  def by_hand():
    direction = torch.from_numpy(gradient()).sign()
    with torch.no_grad():
      return np.stack(
        [
          model((clips + e * direction).clamp(0, 1)).argmax(-1).numpy()
          for e in epsilons
        ],
        -1,
      )

  wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device='cpu')
  fast = foolbox.attacks.LinfFastGradientAttack(random_start=False)

  def with_foolbox():
    _, _, success = fast(wrapped, clips, label, epsilons=epsilons)
    wrong = success.numpy().T  # two classes: wrong is the other one
    return np.where(wrong, 1 - label.numpy()[:, None], label.numpy()[:, None])

  attacks = [torchattacks.FGSM(model, eps=e) for e in epsilons]

  def with_torchattacks():
    predictions = []
    for attack in attacks:
      adversarial = attack(clips, label)
      with torch.no_grad():
        predictions.append(model(adversarial).argmax(-1).numpy())
    return np.stack(predictions, -1)

  estimator = art.estimators.classification.PyTorchClassifier(
    model,
    loss=torch.nn.CrossEntropyLoss(),
    input_shape=tuple(clips.shape[1:]),
    nb_classes=2,
    clip_values=(0, 1),
    device_type='cpu',
  )
  methods = [
    art.attacks.evasion.FastGradientMethod(
      estimator, norm=np.inf, eps=e, batch_size=num_clips
    )
    for e in epsilons
  ]

  def with_art():
    predictions = []
    for method in methods:
      adversarial = method.generate(clips.numpy(), label.numpy())
      predictions.append(estimator.predict(adversarial).argmax(-1))
    return np.stack(predictions, -1)

  _compare(subject, forward(), gradient())
  sweeps = {
    'PyTorch by hand': by_hand,
    'Foolbox': with_foolbox,
    'torchattacks': with_torchattacks,
    'ART': with_art,
  }
  ours = _our_predictions(subject)
  for name, call in sweeps.items():
    share = float((call() == ours).mean())
    if share < _SIGNS_THAT_AGREE:
      raise errors.InputError(
        f'{name} and advspeech agree on {share:.1%} of the predictions under '
        'FGSM, expected all but a few near ties; they are not timed'
      )
  return {
    'PyTorch WaveCNN forward': forward,
    'PyTorch WaveCNN input gradient': gradient,
    **{f'{name} WaveCNN FGSM sweep': call for name, call in sweeps.items()},
  }


def _our_predictions(subject):
  run = jax.jit(functools.partial(computations.fgsm_sweep, subject))
  return np.asarray(
    run(
      subject.variables,
      subject.clips,
      subject.label,
      computations.epsilon_grid(),
    )
  )


def _compare(subject, logits, gradient):
  """Raises where the other model is not ours."""
  variables, clips, label = subject.variables, subject.clips, subject.label
  ours = np.asarray(computations.forward(subject, variables, clips))
  error = np.abs(logits - ours).max() / np.abs(ours).max()
  our_gradient = np.asarray(
    computations.input_gradient(subject, variables, clips, label)
  )
  share = float((np.sign(gradient) == np.sign(our_gradient)).mean())
  if error > _LOGITS_TOLERANCE or share < _SIGNS_THAT_AGREE:
    raise errors.InputError(
      f"PyTorch's logits differ by {error:.1e} and {1 - share:.1%} of its "
      f'gradient signs, expected {_LOGITS_TOLERANCE:.0e} and '
      f'{1 - _SIGNS_THAT_AGREE:.0%}; nothing is timed'
    )


def _wavecnn(subject):
  """Returns WaveCNN in PyTorch, with the subject's weights, for evaluation."""
  import torch

  variables = jax.tree.map(np.array, subject.variables)
  model_config = subject.config.model

  def block(path):
    params = _at(variables['params'], path)
    kernel = torch.from_numpy(params['kernel'].transpose(2, 1, 0).copy())
    conv = torch.nn.Conv1d(
      kernel.shape[1],
      kernel.shape[0],
      kernel.shape[2],
      bias='bias' in params,
    )
    conv.weight.data = kernel
    size = layers.KERNEL_SIZE
    parts = [torch.nn.ConstantPad1d(((size - 1) // 2, size // 2), 0.0), conv]
    if 'bias' in params:
      conv.bias.data = torch.from_numpy(params['bias'])
    else:
      stats = _at(variables['batch_stats'], path)['norm']
      norm = torch.nn.BatchNorm1d(kernel.shape[0], eps=batch_norm.NORM_EPSILON)
      norm.weight.data = torch.from_numpy(params['norm']['scale'])
      norm.bias.data = torch.from_numpy(params['norm']['bias'])
      norm.running_mean = torch.from_numpy(stats['mean'])
      norm.running_var = torch.from_numpy(stats['var'])
      parts.append(norm)
    return [*parts, torch.nn.ReLU(), torch.nn.MaxPool1d(2, ceil_mode=True)]

  def dense(name):
    params = variables['params'][name]
    layer = torch.nn.Linear(*params['kernel'].shape)
    layer.weight.data = torch.from_numpy(params['kernel'].T.copy())
    layer.bias.data = torch.from_numpy(params['bias'])
    return layer

  class WaveCNN(torch.nn.Module):
    def __init__(self):
      super().__init__()
      self.front = torch.nn.Sequential(
        *(
          part
          for i in range(frontend.NUM_LAYERS)
          for part in block(('frontend', f'layer_{i}'))
        )
      )
      self.back = torch.nn.Sequential(
        *(
          part
          for i in range(wavecnn.NUM_LAYERS)
          for part in block((f'layer_{i}',))
        )
      )
      self.head = torch.nn.Sequential(
        dense('hidden'), torch.nn.ReLU(), dense('logits')
      )

    def forward(self, clips):
      if model_config.center_input:
        clips = clips - audio.SILENCE
      clips = clips * model_config.input_gain
      samples = frontend.FRAME_MS * audio.SAMPLE_RATE_HZ // 1000
      x = clips.reshape(-1, 1, samples)
      if model_config.input_pool > 1:
        x = torch.nn.functional.avg_pool1d(x, model_config.input_pool)
      x = self.front(x)  # [clips * frames, features, length]
      features = x.shape[1]
      x = x.reshape(len(clips), -1, *x.shape[1:]).transpose(1, 2)
      x = self.back(x.reshape(len(clips), features, -1))
      return self.head(x.transpose(1, 2).reshape(len(clips), -1))

  return WaveCNN().eval()


def _at(tree, path):
  for key in path:
    tree = tree[key]
  return tree
