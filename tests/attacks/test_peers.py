"""The same weights under other people's attacks, clip by clip.

Seen with foolbox 3.3.4, adversarial-robustness-toolbox 1.20.1, torch 2.13.0.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from advspeech import attacks
from advspeech.attacks import constraints

torch = pytest.importorskip('torch')
torch.set_num_threads(1)

BATCH, TIME = 150, 64  # 64 samples are an 8 x 8 image to those who need one
RNG = np.random.default_rng(0)
AUDIO = RNG.uniform(0.2, 0.8, (BATCH, TIME))
EPSILONS = [0.01, 0.03]
L2_EPSILONS = [0.1, 0.4]
CLASSES = pytest.mark.parametrize('num_classes', [2, 3])
NORMS = pytest.mark.parametrize('norm', ['linf', 'l2'])


def weights(num_classes):
  """Returns a convolution of 4 features and a dense layer, float64."""
  rng = np.random.default_rng(num_classes)
  return (
    rng.normal(size=(4, 1, 9)),
    rng.normal(size=4) / 9,
    rng.normal(size=(num_classes, 4 * 14)) / 4,
  )


def logits_fn(audio, num_classes):
  kernel, bias, dense = (
    jnp.asarray(w, audio.dtype) for w in weights(num_classes)
  )
  features = jax.lax.conv_general_dilated(
    audio[:, None] - 0.5, kernel, (4,), 'VALID'
  )
  features = jnp.tanh(features + bias[None, :, None])
  return features.reshape(len(audio), -1) @ dense.T


@functools.cache
def labels(num_classes):
  """Returns the model's own answers: every clip is right to begin with."""
  with jax.enable_x64(True):
    return np.asarray(logits_fn(jnp.asarray(AUDIO), num_classes).argmax(-1))


def loss_fn(num_classes, loss=attacks.cross_entropy):
  label = labels(num_classes)
  return lambda audio: loss(logits_fn(audio, num_classes), label)


def torch_model(num_classes, dtype):
  convolution = torch.nn.Conv1d(1, 4, 9, stride=4)
  dense = torch.nn.Linear(4 * 14, num_classes, bias=False)
  tensors = convolution.weight, convolution.bias, dense.weight
  for tensor, value in zip(tensors, weights(num_classes), strict=True):
    tensor.data = torch.from_numpy(value)

  class Net(torch.nn.Module):
    def __init__(self):
      super().__init__()
      self.convolution, self.dense = convolution, dense

    def forward(self, x):
      x = x.to(dtype)  # ART's HopSkipJump asks in float64
      features = self.convolution(x.reshape(len(x), 1, TIME) - 0.5)
      return self.dense(torch.tanh(features).flatten(1))

  return Net().to(dtype).eval()


@CLASSES
def test_the_two_models_are_one(num_classes):
  net = torch_model(num_classes, torch.float64)
  with jax.enable_x64(True), torch.no_grad():
    ours = logits_fn(jnp.asarray(AUDIO), num_classes)
    np.testing.assert_allclose(
      ours, net(torch.from_numpy(AUDIO)).numpy(), atol=1e-12
    )
  assert np.bincount(labels(num_classes)).min() > 15


def ours(name, num_classes, norm='linf', **kw):
  """Returns our examples in float64, as NumPy."""
  with jax.enable_x64(True):
    epsilons = jnp.asarray(EPSILONS if norm == 'linf' else L2_EPSILONS)
    attack = getattr(attacks, name)
    if name not in ('fgsm', 'fgm'):
      kw['norm'] = norm
    loss = loss_fn(num_classes)
    return np.asarray(
      jax.jit(lambda a, e: attack(loss, a, e, **kw))(
        jnp.asarray(AUDIO), epsilons
      )
    )


def foolbox_examples(attack, num_classes, epsilons):
  foolbox = pytest.importorskip('foolbox')
  model = foolbox.PyTorchModel(
    torch_model(num_classes, torch.float64), bounds=(0, 1), device='cpu'
  )
  _, clipped, _ = attack(
    model,
    torch.from_numpy(AUDIO),
    torch.tensor(labels(num_classes)),
    epsilons=epsilons,
  )
  return np.stack([c.numpy() for c in clipped])


@CLASSES
@NORMS
def test_one_step_is_foolboxs(num_classes, norm):
  foolbox = pytest.importorskip('foolbox')
  kind, name, epsilons = {
    'linf': (foolbox.attacks.LinfFastGradientAttack, 'fgsm', EPSILONS),
    'l2': (foolbox.attacks.L2FastGradientAttack, 'fgm', L2_EPSILONS),
  }[norm]
  theirs = foolbox_examples(kind(random_start=False), num_classes, epsilons)
  np.testing.assert_allclose(ours(name, num_classes, norm), theirs, atol=1e-9)


@CLASSES
@NORMS
def test_many_steps_are_foolboxs(num_classes, norm):
  """BIM, and PGD without its random start."""
  foolbox = pytest.importorskip('foolbox')
  bim, pgd, epsilons = {
    'linf': (
      foolbox.attacks.LinfBasicIterativeAttack,
      foolbox.attacks.LinfPGD,
      EPSILONS,
    ),
    'l2': (
      foolbox.attacks.L2BasicIterativeAttack,
      foolbox.attacks.L2PGD,
      L2_EPSILONS,
    ),
  }[norm]
  for attack, kw in (
    (bim(random_start=False), {'num_steps': 10, 'relative_step': 0.2}),
    (
      pgd(random_start=False, steps=20, rel_stepsize=0.1),
      {'num_steps': 20, 'relative_step': 0.1},
    ),
  ):
    theirs = foolbox_examples(attack, num_classes, epsilons)
    found = ours('bim', num_classes, norm, **kw)
    np.testing.assert_allclose(found, theirs, atol=1e-9)


@NORMS
def test_from_a_shared_start_pgd_is_foolboxs(norm, monkeypatch):
  foolbox = pytest.importorskip('foolbox')
  eagerpy = pytest.importorskip('eagerpy')
  keys = jax.random.split(jax.random.key(5), BATCH)

  def start(self, x0, epsilon):
    with jax.enable_x64(True):
      first = jax.vmap(jax.random.fold_in, (0, None))(keys, 0)
      perturbation = constraints.Threat(norm).random_start(
        first, jnp.asarray(AUDIO), jnp.full(BATCH, epsilon)
      )
      return x0 + eagerpy.astensor(torch.tensor(np.asarray(perturbation)))

  kind = getattr(foolbox.attacks, {'linf': 'LinfPGD', 'l2': 'L2PGD'}[norm])
  monkeypatch.setattr(kind, 'get_random_start', start)
  epsilons = EPSILONS if norm == 'linf' else L2_EPSILONS
  theirs = foolbox_examples(kind(steps=20, rel_stepsize=0.1), 3, epsilons)
  found = ours('pgd', 3, norm, keys=keys, num_steps=20, relative_step=0.1)
  np.testing.assert_allclose(found, theirs, atol=1e-9)


@pytest.fixture(params=[2, 3])
def art_classifier(request):
  classification = pytest.importorskip('art.estimators.classification')
  pytest.importorskip('art.attacks.evasion')
  return classification.PyTorchClassifier(
    torch_model(request.param, torch.float32),
    loss=torch.nn.CrossEntropyLoss(),
    input_shape=(1, 8, 8),
    nb_classes=request.param,
    clip_values=(0.0, 1.0),
    device_type='cpu',
  )


def art_examples(attack, num_classes):
  audio = AUDIO.astype(np.float32).reshape(BATCH, 1, 8, 8)
  return attack.generate(audio, y=labels(num_classes)).reshape(BATCH, TIME)


@pytest.mark.parametrize(
  ('name', 'norm'),
  [
    ('fgsm', 'linf'),
    ('fgm', 'l2'),
    ('bim', 'linf'),
    ('mi_fgsm', 'linf'),
    ('mi_fgsm', 'l2'),
  ],
)
def test_examples_are_arts(art_classifier, name, norm):
  """In float32, as ART computes; its BIM knows the max-norm alone."""
  from art.attacks import evasion

  num_classes = art_classifier.nb_classes
  art_norm = {'linf': np.inf, 'l2': 2}[norm]
  epsilons = EPSILONS if norm == 'linf' else L2_EPSILONS
  kw = {} if name in ('fgsm', 'fgm') else {'num_steps': 10}
  if name == 'mi_fgsm':
    kw['decay'] = 0.9
  found = ours(name, num_classes, norm, **kw)
  for i, epsilon in enumerate(epsilons):
    steps = {'eps': epsilon, 'eps_step': epsilon / 10, 'max_iter': 10}
    attack = {
      'fgsm': lambda e=epsilon: evasion.FastGradientMethod(
        art_classifier, norm=art_norm, eps=e
      ),
      'bim': lambda s=steps: evasion.BasicIterativeMethod(
        art_classifier, verbose=False, **s
      ),
      'mi_fgsm': lambda s=steps: evasion.MomentumIterativeMethod(
        art_classifier, norm=art_norm, decay=0.9, verbose=False, **s
      ),
    }['fgsm' if name == 'fgm' else name]()
    theirs = art_examples(attack, num_classes)
    np.testing.assert_allclose(found[i], theirs, atol=1e-6)


def robust_accuracy(adv, num_classes):
  predictions = logits_fn(jnp.asarray(adv, jnp.float32), num_classes).argmax(-1)
  return 100 * (predictions == labels(num_classes)).mean()


@pytest.mark.slow
@NORMS
def test_auto_pgd_is_as_strong_as_arts(art_classifier, norm):
  from art.attacks import evasion

  num_classes = art_classifier.nb_classes
  keys = jax.random.split(jax.random.key(6), BATCH)
  epsilons = {'linf': [0.005, 0.01, 0.02], 'l2': [0.03, 0.06, 0.12]}[norm]
  label = labels(num_classes)

  def objective_fn(audio):
    logits = logits_fn(audio, num_classes)
    return attacks.cross_entropy(logits, label), attacks.margin(logits, label)

  ours = jax.jit(
    lambda a, e: attacks.apgd(objective_fn, a, e, keys, norm=norm, num_steps=50)
  )(AUDIO.astype(np.float32), jnp.array(epsilons))
  accuracies = []
  for found, epsilon in zip(ours, epsilons, strict=True):
    attack = evasion.AutoProjectedGradientDescent(
      art_classifier,
      norm={'linf': np.inf, 'l2': 2}[norm],
      eps=epsilon,
      eps_step=2 * epsilon,
      max_iter=50,
      nb_random_init=1,
      loss_type='cross_entropy',
      batch_size=BATCH,
      verbose=False,
    )
    theirs = robust_accuracy(art_examples(attack, num_classes), num_classes)
    accuracies.append(
      (float(robust_accuracy(found, num_classes)), float(theirs))
    )
  assert all(mine <= their + 2 for mine, their in accuracies)
  assert any(10 < mine < 95 for mine, _ in accuracies)


@pytest.mark.slow
def test_square_is_as_strong_as_arts(art_classifier):
  from art.attacks import evasion

  num_classes = art_classifier.nb_classes
  keys = jax.random.split(jax.random.key(7), BATCH)
  epsilons = [0.01, 0.02, 0.04]
  score_fn = loss_fn(num_classes, attacks.margin)
  ours = jax.jit(
    lambda a, e: attacks.square(score_fn, a, e, keys, num_queries=300)
  )(AUDIO.astype(np.float32), jnp.array(epsilons))
  accuracies = []
  for found, epsilon in zip(ours, epsilons, strict=True):
    np.random.seed(0)
    attack = evasion.SquareAttack(
      art_classifier,
      norm=np.inf,
      eps=epsilon,
      max_iter=300,
      nb_restarts=1,
      batch_size=BATCH,
      verbose=False,
    )
    theirs = robust_accuracy(art_examples(attack, num_classes), num_classes)
    accuracies.append(
      (float(robust_accuracy(found, num_classes)), float(theirs))
    )
  assert all(mine <= their + 2 for mine, their in accuracies)
  assert any(10 < mine < 95 for mine, _ in accuracies)


@pytest.mark.slow
def test_hopskipjump_comes_as_near_as_arts(art_classifier):
  """From the same clips of another answer, with 18 steps of theirs."""
  from art.attacks import evasion

  num_classes, number = art_classifier.nb_classes, 12
  norm = {2: 'linf', 3: 'l2'}[num_classes]
  answer = labels(num_classes)
  other = np.array([np.argmax(answer != x) for x in answer[:number]])
  audio = AUDIO.astype(np.float32)
  found = jax.jit(
    functools.partial(
      attacks.hopskipjump,
      lambda x: logits_fn(x, num_classes).argmax(-1) != answer[:number],
      norm=norm,
      num_queries=6000,
    )
  )(
    audio[:number],
    audio[other][:, None],
    jax.random.split(jax.random.key(3), number),
  )
  np.random.seed(0)
  attack = evasion.HopSkipJump(
    art_classifier,
    norm={'linf': np.inf, 'l2': 2}[norm],
    max_iter=18,
    batch_size=1000,
    verbose=False,
  )
  shape = (number, 1, 8, 8)
  theirs = attack.generate(
    audio[:number].reshape(shape), x_adv_init=audio[other].reshape(shape)
  ).reshape(number, TIME)
  ratio = found.distance / constraints.norm_of(theirs - audio[:number], norm)
  assert 0.7 < float(jnp.median(ratio)) < 1.1
