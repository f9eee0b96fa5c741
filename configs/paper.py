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
      # The column of the corpus whose values are told apart: 'gender',
      # 'emotion', 'speaker', 'label', 'session', 'statement' or 'take'.
      'task': 'gender',
      # Which values of it; () is female and male, angry and sad, the first two
      # speakers of each sex, or all there are of the others.
      'classes': (),
      'corpus': {
        # Whose recordings: see the table of corpora.
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
      # Length of every clip, in whole frames of 40 ms.
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
      # Training 75, validation 5 and test 20 % of the clips.
      'split': {
        # 'stratified' (by label, paper), 'speaker_disjoint', 'group' (no test
        # clip shares with others what `by` names), 'leave_one_session_out'
        # (tests on `session`) or 'manifest' (the split column of corpus
        # 'folder').
        'kind': 'stratified',
        # Another seed is another split; models of any seed share one.
        'seed': 0,
        # Such as IEMOCAP's '5'.
        'session': '',
        # 'speaker', 'statement', 'take', 'session', ...
        'by': 'speaker',
      },
      # Of this machine: results do not depend on it.
      'input': {
        # A task's clips that take more are read from disk during training.
        'memory_budget_mb': 8000,
        # Training clips, and validation clips beside them, that take no more
        # are kept on every accelerator.
        'device_budget_mb': 2000,
      },
      # Those of Table 1, or your own as 'package.module:Class'
      # (advspeech/README.md).
      'models': ('wavecnn', 'wavernn'),
      # The hypothetical model: attacks are made on it, tried on all.
      'source': 'wavecnn',
      # Beside the sweep: 'gradients' (Figure 5, equations 3 to 5 and 8 to 12),
      # 'features' (equations 6 and 7), 'rounding' (what training the same seed
      # again moves, where sums round otherwise), 'verification' (Figure 1: an
      # impostor is accepted), 'privacy' (who speaks is hidden, the emotion
      # stays), 'smoothing' (what no perturbation can change), 'air' (what is
      # left of an attack in rooms it does not know, simulated), 'substitute'
      # (an attacker who knows nothing of the model, and may only ask) and
      # 'queries' (how often it must ask without training a network).
      'studies': ('gradients',),
      'gradients': {
        # Clips that input gradients are studied on, evenly spread over the
        # split; -1: all.
        'num_clips': -1,
        # Those of them whose state Jacobians and accumulation are taken,
        # hundreds of gradients each; a mean of fewer than 12 has no interval.
        'num_studied': 32,
        # 'train', 'validation' or 'test'.
        'split': 'test',
        # Ids of clips whose gradients are drawn; () is the first.
        'examples': (),
        # Folders of trained models, of this run or others; () is all of this.
        'checkpoints': (),
      },
      # Simulated: models of the first seed, attacked through training rooms and
      # judged in others.
      'air': {
        # 'air' (loudspeaker, room, microphone), 'room' alone, or one of these
        # with @FOLDER of your own responses.
        'transform': 'air',
        # On the waveform; the steps are those of the sweep.
        'attacks': ('pgd',),
        # In any unit, as those of the sweep.
        'epsilon': '20dbsnr',
        # Rooms that an attack averages over, each number an attack of its own,
        # beside one that knows nothing of rooms.
        'draws': (1, 4, 16),
        # Clips of the test split, evenly spread over it.
        'num_clips': 48,
        # Unseen rooms, evenly spread over their T60, that every clip is heard
        # in.
        'num_rooms': 20,
        # Clips written as sound, at the source and in a room: those of the
        # first model that the last attack breaks in most rooms.
        'num_examples': 2,
      },
      'features': {
        # Clips of the test split, evenly spread over it; -1: all.
        'num_clips': 96,
        # Those of them that STOI and PESQ score, seconds a clip; -1: all.
        'num_scored': -1,
      },
      'rounding': {
        # Trainings of the first seed beside the run's own, with the rows of
        # every batch in another order.
        'num_orders': 4,
      },
      # Half of the speakers set thresholds, the other half is judged.
      'verification': {
        # All are attacked, all judge: 'resemblyzer' (its weights: pip install
        # --no-deps Resemblyzer==0.1.4), models of this run, or in folders, by
        # what their last layer is given, or your own as
        # 'package.module:function'.
        'embedders': ('resemblyzer', 'wavecnn'),
        # Who takes a side: 'all', or 'unheard', of whom no clip is among those
        # that the run's models were trained or chosen on.
        'speakers': 'all',
        # Of each kind: targets, impostors of the same and the other sex.
        'num_trials': 200,
        # The same of the speakers who set thresholds.
        'num_validation': 1000,
        # Clips of a claimed speaker, and as many others that an attack sees.
        'num_enrolled': 3,
        # A file of lines 'label enrol test' in place of trials drawn.
        'trials': '',
        # On the waveform, not targeted; see `advspeech.attacks.names()`.
        'attacks': ('fgsm', 'pgd'),
        # In any unit, as those of the sweep.
        'epsilons': ('50dbsnr', '40dbsnr', '30dbsnr', '20dbsnr'),
        # Of impostors, at which the smaller of the two thresholds is fixed.
        'far': 0.01,
        # Impostors written as sound, those that the last attack brings nearest
        # to being accepted at the loudest epsilon.
        'num_examples': 2,
      },
      # Of the emotion task: half of the speakers are judged, the others set
      # thresholds and are what attackers refit their speaker model to.
      'privacy': {
        # As those of verification; the first is attacked, all judge, so that a
        # second one is a speaker model that was not attacked.
        'embedders': ('resemblyzer',),
        # 'weighted' (weight * speaker - (1 - weight) * emotion), 'projected'
        # (on the half-space that spares the emotion), 'multiplier' (one a
        # clip).
        'solvers': ('weighted', 'projected', 'multiplier'),
        # Of 'weighted'; 1.0, the plain attack on the speaker, must be there.
        'weights': (1.0, 0.5, 0.1),
        # What every solver, and the noise beside them, spends: the RMS of a
        # perturbation, in any unit of the sweep.
        'epsilons': ('30dbsnr', '20dbsnr'),
        # Gradients of each solver.
        'num_steps': 20,
        # Other protections to compare with; see the sweep's.
        'transforms': ('lowpass2000', 'mcadams0.8'),
        # Of the test split and the speakers judged, evenly spread; -1: all.
        'num_clips': 96,
        # Clips of a speaker and statement, and as many others that protections
        # see.
        'num_enrolled': 3,
        # Clips of each other speaker.
        'num_fitted': 6,
        # The attacker who puts one of these transforms before a speaker model,
        # or none, whichever finds most of the other speakers, at the largest
        # epsilon alone; (): there is no such attacker.
        'filters': ('lowpass4000', 'median3', 'noise20db'),
        # The attacker who trains the network of each embedder further on the
        # clips of the other speakers, protected and clean, once for each
        # protection, at the largest epsilon alone.
        'retraining': {
          # Of Adam, each three times: on all of them and on either half, by
          # which he chooses; 0: there is no such attacker.
          'num_steps': 60,
          # Of the first step; it falls to 0.
          'learning_rate': 3e-4,
          # Clips a step.
          'batch_size': 16,
        },
        # Tested clips written as sound under each protection, at the loudest
        # epsilon.
        'num_examples': 2,
      },
      # Models of the first seed, asked about every clip by attacks that take no
      # gradient.
      'queries': {
        # 'square' and 'nes' are given scores and stay within `epsilon`;
        # 'hopskipjump' is given decisions and comes as near as it can.
        'attacks': ('square', 'nes', 'hopskipjump'),
        # In any unit, as those of the sweep.
        'epsilon': '30dbsnr',
        # Of each clip, by each attack.
        'num_queries': 1000,
        # Of hopskipjump, 'l2' or 'linf'.
        'norm': 'l2',
        # Validation clips of other classes that hopskipjump tries to begin at.
        'num_starts': 8,
        # Clips of the test split, evenly spread over it; -1: all.
        'num_clips': 48,
        # Of them written as sound, as each attack leaves them.
        'num_examples': 2,
      },
      # Randomised smoothing, of models trained with
      # `training.defence.name='gaussian'` and the same size.
      'smoothing': {
        # Standard deviations of the noise, in any unit but dB SNR.
        'sigmas': (0.001,),
        # Noise is on 'all' samples, or on 'recorded' ones alone, which are then
        # all that the certificate is of.
        'mask': 'all',
        # Draws of the noise that choose a clip's answer.
        'num_guessing': 100,
        # Further ones that bound how often it is given; Cohen et al. take
        # 10,000.
        'num_certifying': 1000,
        # Probability that a clip's radius is wrong, at most.
        'alpha': 0.001,
        # Clips of the test split, evenly spread over it; -1: all.
        'num_clips': 72,
      },
      # Models of the first seed, of which labels alone are asked; what is
      # trained on the answers is attacked in their place.
      'substitute': {
        # Which of `models`, () is all; where the task is the speaker also
        # embedders, as in `verification`, which answer who is heard.
        'victims': (),
        # Training clips of each speaker that an embedder compares with.
        'num_enrolled': 3,
        # What is trained in the victim's place: of Table 1, or your own as
        # 'package.module:Class'; '' is the next of `models`.
        'model': '',
        # Whose clips are asked about: the 'same' as the victim was trained on,
        # 'other' ones of its corpus (validation and test clips that are not
        # judged), or those of another 'corpus', where one is named below.
        'regimes': ('same', 'other', 'corpus'),
        # Another corpus, prepared, by its name in the table; '' is none.
        'corpus': '',
        # Its own, as `corpus.folder`.
        'folder': '',
        # Its own, as `corpus.manifest`.
        'manifest': '',
        # Where it is prepared; '' is the run's.
        'data_dir': '',
        # How the attacker comes by more clips: along the substitute's gradient
        # ('jacobian', Papernot et al.), 'natural' ones, 'noise' of the same
        # size, 'transforms'; 'true_labels' asks nothing and knows the labels.
        'arms': ('jacobian', 'natural', 'noise', 'transforms', 'true_labels'),
        # Clips asked about at first.
        'num_seeds': 48,
        # Each asks about as many clips again as there are by then.
        'num_rounds': 3,
        # New clips of a round, at most.
        'num_new': 400,
        # Epochs a round.
        'num_epochs': 10,
        # Clips of a training step, on all devices together.
        'batch_size': 16,
        # Of a change's size to the clip's RMS.
        'ratio': 0.2,
        # Rounds after which the change turns round.
        'flip_every': 3,
        # One a round, each in its turn; see the sweep's.
        'transforms': ('resample8000', 'highpass300', 'mulaw8'),
        # On the waveform, not targeted; the steps are those of the sweep.
        'attacks': ('fgsm',),
        # In any unit; () are the sweep's.
        'epsilons': (),
        # Clips of the test split, evenly spread over it, that are judged and
        # never asked about; -1: all.
        'num_clips': 72,
        # Of them written as sound, attacked on the last substitute along the
        # gradient at the loudest epsilon; first those that break.
        'num_examples': 2,
      },
      # One pair of models a seed ("We perform the attack twice").
      'seeds': (0, 1),
      'model': {
        # Feature maps of every convolution.
        'features': 32,
        # Units of WaveCNN's dense layer, and of WaveRNN's LSTM.
        'hidden_features': 64,
        # Samples averaged before the first convolution: 1 is the paper, 2 the
        # authors' published code.
        'input_pool': 1,
        # Zero padding is silence for the convolutions; False is (x + 1) / 2
        # as it comes, with which RAVDESS hardly trains.
        'center_input': True,
        # What the input is multiplied by then; 1 is the paper. Without a norm
        # 1 / (RMS of the corpus) lets the networks train.
        'input_gain': 1.0,
        # 'batch', or 'none', which is Table 1.
        'norm': 'batch',
        # Of the running statistics, for each step.
        'norm_momentum': 0.9,
        # Of kernels in front of a ReLU: 'glorot' (Keras's) or 'he'.
        'init': 'glorot',
        # Biases of the LSTM's gates at first: 'constant', or 'chrono', memories
        # from one frame to the clip's length (Tallec & Ollivier 2018).
        'gate_init': 'constant',
        # Of the forget gate, if they are constant; 1 is Keras's.
        'forget_bias': 1.0,
      },
      # What your own are made with, by the class's name in lower case, such as
      # {'myclass': {'width': 64}}.
      'model_options': {},
      'training': {
        # Clips of a step, on all devices together.
        'batch_size': 100,
        # All are trained; the best on validation is taken.
        'num_epochs': 200,
        # Of Adam.
        'learning_rate': 1e-3,
        # The rate falls smoothly to this share of itself.
        'decay_factor': 0.1,
        # What is done to clips in every step, drawn anew: a transform's name,
        # such as 'noise20db', or your own as 'package.module:function'.
        'augmentation': '',
        # What training clips are perturbed by.
        'defence': {
          # 'none', 'noise' (random signs), 'gaussian', 'fgsm_rs', 'n_fgsm',
          # 'pgd', 'trades', or your own as 'package.module:function', of a
          # problem and radii, as an attack.
          'name': 'none',
          # In any unit that the sweep takes, such as '20dbsnr'.
          'epsilon': '0.002',
          # Share of clips that are left clean, drawn anew in every step.
          'clean_share': 0.0,
          # Share of the steps over which epsilon grows from 0.
          'warmup_share': 0.2,
          # Of 'pgd' and 'trades'.
          'num_steps': 7,
          # Weight of the divergence between clean and perturbed answers.
          'trades_beta': 6.0,
        },
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
      # The paper's search of the rate.
      'lr_search': {
        # Training goes by it.
        'enabled': False,
        # The interval that is bisected.
        'low': 1e-5,
        'high': 1e-2,
        # Of each short training.
        'num_epochs': 5,
        # Each has two more trainings.
        'num_rounds': 3,
      },
      'sweep': {
        # In the model's unit, half of full scale, or with a unit: '0.04fs',
        # '1311lsb', '-28dbfs', '20dbsnr' (of each clip), '0dbmask' (over what
        # the clip masks).
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
        # Models that attacks are made on; () is all of `models`. All judge.
        'sources': (),
        # Test clips attacked, evenly spread over the split; -1: all.
        'num_clips': -1,
        # What may be touched: 'all' is the paper; 'recorded', 'padding',
        # '0.5-1.5s', '300-3400hz', joined by +. Every attack is made with the
        # first, the first attack on `source` with the others too.
        'masks': ('all',),
        # What comes between attack and judgement, such as 'lowpass4000' or
        # 'air' (simulated: loudspeaker, room, microphone), or your own as
        # 'package.module:function': the first attack on `source` is made
        # without and with knowledge of each.
        'transforms': (),
        # Attacks that are made so in its place; () is the first.
        'transform_attacks': (),
        # What they average over when they know of it: draws of what is random
        # in a transform, such as the room of 'air'.
        'transform_draws': 1,
        # Folders of other trained models that judge too, and may be sources.
        'checkpoints': (),
        # The same of functions from audio to logits that are no models of
        # ours, as 'package.module:function'.
        'victims': (),
        # Of attacks with steps or queries.
        'iterative': {
          # () is those of the sweep.
          'epsilons': (),
          # Of PGD and its kin, and of APGD.
          'num_steps': 20,
          # Of PGD and APGD, from random points; the strongest counts.
          'num_restarts': 1,
          # Of Square and NES, for each clip.
          'num_queries': 500,
        },
        # Of attacks on features (`mfcc`, `spectrogram`).
        'feature_level': {
          # In units of a feature: MFCC, and dB of a bin's magnitude. 0 is the
          # clip rebuilt.
          'epsilons': (0.0, 1.0, 2.0, 4.0, 8.0, 16.0),
          # Of the clips written as sound.
          'example_epsilon': 4.0,
        },
        # Of the universal perturbation and filter.
        'universal': {
          # Clips of the training split that they are learnt on.
          'num_clips': 256,
          # How often each.
          'num_passes': 5,
        },
        # Judge 16-bit clips repaired on the integer lattice too.
        'repair': False,
        # Perturbed samples stay in full scale.
        'clip_to_range': True,
        # Of all intervals; one less the level of all tests.
        'confidence': 0.95,
        # As that of training.
        'precision': 'float32',
        # Clips in progress on a device, at most.
        'batch_size': 20,
        # What a device may use for clips in progress.
        'memory_mb': 2048,
        # Devices that share the epsilons; the others share the clips.
        'epsilon_devices': 1,
        # Clips written as sound and judged again; -1: all.
        'num_examples': 2,
        # How strongly these are attacked, in any unit of the epsilons.
        'example_epsilon': '0.02',
        # Clips whose STOI, PESQ and DNSMOS are measured; -1: all.
        'num_quality_clips': 0,
      },
    }
  )


def get_corpus_config(name: str, variant: str) -> ml_collections.ConfigDict:
  """Returns the paper's recipe on a corpus, or a reduced one.

  Args:
    name: The corpus, as in `config.corpus.name`.
    variant: The task; after it ',small' for the size a machine without an
      accelerator can train, ',disjoint' to test on speakers who are not in
      training, and ',robust' to attack as a defence must be.
  """
  task, *changes = variant.split(',')
  for change in changes:
    if change not in ('small', 'disjoint', 'robust'):
      raise ValueError(
        "the part after the comma must be 'small', 'disjoint' or 'robust', got "
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
  if 'robust' in changes:
    judge_robustness(config)
  return config


def judge_robustness(config: ml_collections.ConfigDict) -> None:
  """Makes the sweep one that a defence can be believed by.

  Attacks of many steps on two losses, by queries, in another norm and on all
  clips at once; one with twice the steps and starts; epsilons up to where all
  clips must break; transforms with the attack that knows of them. Self-checks
  say where these show masked gradients. Models of an undefended run join by
  `sweep.checkpoints`, and attack by `sweep.sources`.

  Args:
    config: Whose sweep is replaced.
  """
  sweep = config.sweep
  sweep.attacks = (
    'fgsm',
    'apgd_ce',
    'apgd_margin',
    'apgd_margin-doubled',
    'square',
    'universal',
    'apgd_margin_l2',
  )
  sweep.masks = ('all',)
  # Relative to each clip, the same whatever the level of a corpus.
  sweep.epsilons = (
    *(0.0, '50dbsnr', '40dbsnr', '35dbsnr', '30dbsnr', '25dbsnr', '20dbsnr'),
    *('15dbsnr', '10dbsnr', '0dbsnr', '-20dbsnr'),
  )
  sweep.iterative.epsilons = (
    *(0.0, '40dbsnr', '30dbsnr', '20dbsnr', '10dbsnr', '-20dbsnr'),
  )
  sweep.iterative.num_steps = 20
  sweep.transforms = (
    *('lowpass4000', 'resample8000', 'quantize8', 'mp3', 'noise20db'),
    'median3',
  )
  sweep.transform_attacks = ('fgsm', 'apgd_margin')
