"""The paper's recipe; every other config starts from it.

Gong & Poellabauer, appendix and Table 1, with what the paper leaves open
decided: batch norm and a centred input in the models, and learning rate 1e-3
where the paper searched [1e-5, 1e-2]. `norm='none', center_input=False` is
Table 1 to the letter.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Returns the paper's recipe; the corpus is for other configs to name."""
  return ml_collections.ConfigDict(
    {
      # What a corpus says of its clips that is told: 'gender', 'emotion',
      # 'speaker', 'label', 'session', 'statement' or 'take'.
      'task': 'gender',
      # Which values of it; () is female and male, angry and sad, the first two
      # speakers of each sex, or all there are of the others.
      'classes': (),
      'corpus': {
        'name': 'espeak',
        # The recordings, for a corpus that is read from a folder; gs:// and
        # s3:// too where fsspec can open them.
        'folder': '',
        # CSV list of the recordings of corpus 'folder', absolute or in it; ''
        # is manifest.csv if there is one, else each sub-folder is a class.
        'manifest': '',
        # 'mean' of a recording's channels, as the paper's authors took, or the
        # number of one, '0', '1', ...
        'channels': 'mean',
      },
      # Prepared data sets; '' is TFDS's default, ~/tensorflow_datasets.
      'data_dir': '',
      'clip_s': 6.0,
      'clip': {
        # Silence is added to a clip that is short at its 'end' (paper),
        # 'center' (both sides) or 'front'.
        'pad': 'end',
        # Of one that is long the 'start' (paper) or the 'center' is kept.
        'cut': 'start',
        # 'none' (paper), or 'peak': every recording is scaled to full scale.
        'normalize': 'none',
      },
      # 75/5/20; kind 'stratified' (by label), 'speaker_disjoint', 'group' (no
      # test clip shares with others what `by` names: 'speaker', 'statement',
      # 'take', 'session', ...), 'leave_one_session_out' (tests on `session`,
      # such as IEMOCAP's '5') or 'manifest' (the split column of corpus
      # 'folder').
      'split': {
        'kind': 'stratified',
        'seed': 0,
        'session': '',
        'by': 'speaker',
      },
      # Of this machine: results do not depend on it. A corpus that takes more
      # memory is read from disk during training; training clips, and validation
      # clips beside them, are kept on every accelerator if they fit into the
      # device's.
      'input': {'memory_budget_mb': 8000, 'device_budget_mb': 2000},
      # Those of Table 1, or your own as 'package.module:Class' (README, "Your
      # own model").
      'models': ('wavecnn', 'wavernn'),
      # The hypothetical model: attacks are made on it, tried on all.
      'source': 'wavecnn',
      # Beside the sweep: 'gradients' (Figure 5, equations 3 to 5 and 8 to 12),
      # 'features' (equations 6 and 7) and 'rounding' (what training the same
      # seed again moves, where sums round otherwise).
      'studies': ('gradients',),
      'gradients': {
        # Clips that input gradients are studied on, evenly spread over the
        # split (-1: all), and those of them whose state Jacobians and
        # accumulation are taken, hundreds of gradients each; a mean of fewer
        # than 12 gets no interval.
        'num_clips': -1,
        'num_studied': 32,
        # 'train', 'validation' or 'test'.
        'split': 'test',
        # Ids of clips whose gradients are drawn; () is the first.
        'examples': (),
        # Folders of trained models, of this run or others; () is all of this.
        'checkpoints': (),
      },
      # Clips of the test split, evenly spread over it (-1: all), and those of
      # them that STOI and PESQ score, seconds a clip.
      'features': {'num_clips': 96, 'num_scored': -1},
      # Trainings of the first seed beside the run's own, with the rows of every
      # batch in another order.
      'rounding': {'num_orders': 4},
      # One pair of models a seed ("We perform the attack twice").
      'seeds': (0, 1),
      'model': {
        'features': 32,
        'hidden_features': 64,
        'input_pool': 1,
        # Zero padding is silence for the convolutions; False is (x + 1) / 2
        # as it comes, with which RAVDESS hardly trains (README, "Choices").
        'center_input': True,
        # What the input is multiplied by then; 1 is the paper. Without a norm
        # 1 / (RMS of the corpus) lets the networks train (README, "Choices").
        'input_gain': 1.0,
        'norm': 'batch',
        'norm_momentum': 0.9,
        # Of kernels in front of a ReLU: 'glorot' (Keras's) or 'he'.
        'init': 'glorot',
        # Of WaveRNN's gates at first: 'constant', the forget gate's below and
        # zero, or 'chrono', memories from one frame to the clip's length
        # (Tallec & Ollivier 2018).
        'gate_init': 'constant',
        'forget_bias': 1.0,
      },
      # What your own are made with, by the class's name in lower case, such as
      # {'myclass': {'width': 64}}.
      'model_options': {},
      'training': {
        'batch_size': 100,
        'num_epochs': 200,
        'learning_rate': 1e-3,
        # The rate falls smoothly to this share of itself.
        'decay_factor': 0.1,
        # What is done to clips in every step, drawn anew: a transform's name,
        # such as 'noise20db', or your own as 'package.module:function'.
        'augmentation': '',
        # Of its computation: 'float32', 'tf32' or 'bfloat16'; parameters and
        # loss are float32 in all.
        'precision': 'float32',
        # Less memory, more time: maps are computed anew for the gradient.
        'rematerialize': False,
        # What kill -9 can cost; SIGTERM and Ctrl-C save first.
        'save_every_s': 60.0,
        # Where there are several devices, share them out among the models and
        # seeds; False trains one after another, each on all devices.
        'side_by_side': True,
      },
      # The paper's search of the rate; `enabled` makes training go by it.
      'lr_search': {
        'enabled': False,
        'low': 1e-5,
        'high': 1e-2,
        'num_epochs': 5,
        'num_rounds': 3,
      },
      'sweep': {
        # In the model's unit, half of full scale, or with a unit: '0.04fs',
        # '1311lsb', '-28dbfs', '20dbsnr' (of each clip).
        'epsilons': (
          0.0,
          0.002,
          0.004,
          0.006,
          0.008,
          0.01,
          0.012,
          0.015,
          0.02,
          0.025,
          0.032,
        ),
        # The paper's is the first; see `advspeech.attacks.names()`.
        'attacks': ('fgsm',),
        # Models that attacks are made on; () is `source` alone. All judge.
        'sources': (),
        # Test clips attacked, evenly spread over the split; -1: all.
        'num_clips': -1,
        # What may be touched: 'all' is the paper; 'recorded', 'padding',
        # '0.5-1.5s', '300-3400hz', joined by +. Every attack is made with the
        # first, the first attack on `source` with the others too.
        'masks': ('all',),
        # What comes between attack and judgement, such as 'lowpass4000', or
        # your own as 'package.module:function': the first attack on `source`
        # is made without and with knowledge of each.
        'transforms': (),
        # Folders of other trained models that judge too, and may be sources.
        'checkpoints': (),
        # The same of functions from audio to logits that are no models of
        # ours, as 'package.module:function'.
        'victims': (),
        # Of attacks with steps or queries; epsilons () are those above.
        'iterative': {
          'epsilons': (),
          'num_steps': 20,
          'num_restarts': 1,
          'num_queries': 500,
        },
        # Of `mfcc` and `spectrogram`, whose epsilons are in units of a feature:
        # MFCC, and dB of a bin's magnitude. 0 is the clip rebuilt.
        'feature_level': {
          'epsilons': (0.0, 1.0, 2.0, 4.0, 8.0, 16.0),
          'example_epsilon': 4.0,
        },
        # Clips of the training split that one is learnt on, how often each.
        'universal': {'num_clips': 256, 'num_passes': 5},
        # Judge 16-bit clips mended on the integer lattice too.
        'repair': False,
        'clip_to_range': True,
        'confidence': 0.95,
        'precision': 'float32',
        'batch_size': 20,
        # What a device may use for clips in progress.
        'memory_mb': 2048,
        # Devices that share the epsilons; the others share the clips.
        'epsilon_devices': 1,
        # Clips written as sound and judged again (-1: all), how strongly they
        # are attacked, and clips whose STOI and PESQ are measured.
        'num_examples': 2,
        'example_epsilon': 0.02,
        'num_quality_clips': 0,
      },
    }
  )


def get_corpus_config(name: str, variant: str) -> ml_collections.ConfigDict:
  """Returns the paper's recipe on a corpus, or a reduced one.

  Args:
    name: The corpus, as in `config.corpus.name`.
    variant: The task; after it ',small' for the size a machine without an
      accelerator can train, and ',disjoint' to test on speakers who are not
      in training.
  """
  task, *changes = variant.split(',')
  for change in changes:
    if change not in ('small', 'disjoint'):
      raise ValueError(
        f"the part after the comma must be 'small' or 'disjoint', got "
        f'{change!r}; for example configs/{name}.py:{task},small'
      )
  config = get_config()
  config.task = task
  config.corpus.name = name
  if 'disjoint' in changes:
    config.split.kind = 'speaker_disjoint'
  if 'small' in changes:
    config.clip_s = 3.0
    config.model.features = 16
    config.model.input_pool = 2
    config.training.batch_size = 20
    config.training.learning_rate = 2e-3
    config.training.num_epochs = 15 if task == 'gender' else 40
    config.sweep.batch_size = 48
    config.gradients.num_clips = 72
    config.gradients.num_studied = 16
  return config
