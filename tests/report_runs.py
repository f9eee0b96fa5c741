"""Folders as runs leave them, written in milliseconds: no model is trained."""

import json

import numpy as np

from advspeech import audio, input_pipeline, statistics, storage
from advspeech.statistics import trainings
from advspeech.studies.air import sending
from advspeech.studies.air import tables as air_tables
from advspeech.studies.features import norm_tables, norms
from advspeech.studies.features import tables as feature_tables
from advspeech.studies.gradients import summary as summary_lib
from advspeech.studies.gradients import tables as gradient_tables
from advspeech.studies.privacy import attackers
from advspeech.studies.privacy import tables as privacy_tables
from advspeech.studies.queries import asking
from advspeech.studies.queries import parts as queries_parts
from advspeech.studies.queries import tables as queries_tables
from advspeech.studies.smoothing import tables as smoothing_tables
from advspeech.studies.substitute import attacker as substitute_attacker
from advspeech.studies.substitute import rounds as substitute_rounds
from advspeech.studies.substitute import tables as substitute_tables
from advspeech.studies.substitute import trying
from advspeech.studies.verification import attacked
from advspeech.studies.verification import tables as verification_tables
from advspeech.sweep import tables
from advspeech.sweep.findings import FIELDS
from configs import quickstart

CLASSES = ('female', 'male')
EPSILONS = (0.0, 0.005, 0.01, 0.02)
NUM_CLIPS = 100
TIME = 16_000
RECORDED = 12_000
_SEEDS = ('seed', 'target_seed')


def curve(target, control):
  """Errors at EPSILONS: the attack rises in a straight line, noise does not."""
  if control:
    return (0.02, 0.02, 0.02, 0.03)
  return {
    'wavecnn': (0.02, 0.12, 0.22, 0.42),
    'wavernn': (0.02, 0.02, 0.03, 0.40),
  }.get(target, (0.02, 0.2, 0.3, 0.5))


def row(**changes):
  """Returns a row of sweep.csv, with what follows from its rate."""
  found = {
    **{
      key: ''
      for key in tables.points.COLUMNS
      if key not in ('balanced_error', 'errors_by_class', 'answers_by_class')
    },
    'task': 'gender',
    'seed': 0,
    'source': 'wavecnn',
    'target': 'wavecnn',
    'target_seed': changes.get('seed', 0),
    'attack': 'fgsm',
    'mask': 'all',
    'adaptive': 0,
    'epsilon': 0.01,
    'num_clips': NUM_CLIPS,
    'error_rate': 0.5,
    **changes,
  }
  epsilon, rate = found['epsilon'], found['error_rate']
  low, high = statistics.wilson_interval(round(rate * NUM_CLIPS), NUM_CLIPS)
  return {
    **found,
    **audio.amplitude_units(epsilon),
    'epsilon_given': f'{epsilon:g}',
    'below_one_lsb': 0,
    'below_one_lsb_8_bit': int(0 < epsilon < 1 / 256),
    'num_right_clean': 98,
    'broken_rate': max(0.0, (rate - 0.02) / 0.98),
    'broken_low': max(0.0, low - 0.02),
    'broken_high': high,
    'mean_snr_db': 30 - 1000 * epsilon if epsilon else float('inf'),
    'num_infinite_snr': 0 if epsilon else NUM_CLIPS,
    'num_errors': round(rate * NUM_CLIPS),
    'ci_low': low,
    'ci_high': high,
    'flip_rate': rate,
    'flip_ci_low': low,
    'flip_ci_high': high,
  }


def sweep(rates=curve, targets=('wavecnn', 'wavernn'), seeds=(0, 1)):
  """Returns rows of own-seed judges, FGSM and random signs."""
  rows = []
  for seed in seeds:
    for target in targets:
      for control in ('', 'random_sign'):
        points = rates(target, control)
        for e, epsilon in enumerate(EPSILONS):
          found = row(
            seed=seed,
            target=target,
            control=control,
            epsilon=epsilon,
            error_rate=points[e],
          )
          if control:
            found |= excess(rates(target, '')[e], points[e])
          else:
            found |= {
              'error_rate_float32': points[e],
              'error_rate_int16': points[e],
            }
          rows.append(found)
  return rows


def over_trainings(rows):
  """Returns rows of trainings.csv, as if seeds differed by 5 points."""
  keys = ('task', 'source', 'target', 'attack', 'mask', 'transform', 'control')
  found = []
  for _, group in storage.grouped(rows, (*keys, 'epsilon')).items():
    if len(group) < 2:
      continue
    first = group[0]
    known = len(group) >= trainings.FEWEST_TRAININGS
    row = {
      **dict.fromkeys(tables.trainings.COLUMNS, ''),
      **{k: first[k] for k in tables.trainings.COLUMNS if k in first},
      'num_trainings': len(group),
      **{f'{key}_speaker_low': '' for key in ('ci', 'flip_ci', 'excess')},
      **{f'{key}_speaker_high': '' for key in ('ci', 'flip_ci', 'excess')},
      **{f'sd_{part}': 0.1 for part in ('clips', 'trainings', 'rest')},
    }
    for name, ci in (
      *(('error_rate', 'ci'), ('flip_rate', 'flip_ci')),
      *(('excess', 'excess'), ('excess', 'excess_corrected')),
    ):
      if first[name] == '':
        continue
      mean = np.mean([r[name] for r in group])
      row[name] = mean
      for end, sign in (('low', -1), ('high', 1)):
        row[f'{ci}_{end}'] = mean + sign * 0.05 if known else ''
    ends = {'lowest': min, 'highest': max}
    for name, find in ends.items():
      row[name] = find(r['error_rate'] for r in group)
      if first['excess'] != '':
        row[f'excess_{name}'] = find(r['excess'] for r in group)
    found.append(row)
  return found


def excess(attacked, noisy):
  """Returns the columns that tell an attack from its control.

  As if every clip that noise breaks is broken by the stronger of the two.
  """
  a, b = (
    np.arange(NUM_CLIPS) < round(x * NUM_CLIPS) for x in (attacked, noisy)
  )
  low, high = statistics.paired_difference_interval(a, b)
  return {
    'excess': attacked - noisy,
    'excess_low': low,
    'excess_high': high,
    'mcnemar_p': statistics.mcnemar(a, b).p_value,
  }


def direct(own, transferred, noise, seeds=(0, 1)):
  """Returns rows of sweep.csv and of direct.csv of attacks on WaveRNN itself.

  Args:
    own: Its error at EPSILONS under its own examples.
    transferred: The same under those made on WaveCNN.
    noise: The same under noise.
    seeds: Of the pairs.
  """
  rows, pairs = [], []
  for seed in seeds:
    for e, epsilon in enumerate(EPSILONS):
      where = {'seed': seed, 'target': 'wavernn', 'epsilon': epsilon}
      rows.append(
        {
          **row(
            **where,
            source='wavernn',
            control='random_sign',
            error_rate=noise[e],
          ),
          **excess(own[e], noise[e]),
        }
      )
      more = excess(own[e], transferred[e])
      pairs.append(
        {
          **{k: v for k, v in row(**where).items() if k in DIRECT},
          'direct_error_rate': own[e],
          'error_rate': transferred[e],
          **{k.replace('excess', 'more'): v for k, v in more.items()},
          'more_speaker_low': '',
          'more_speaker_high': '',
          'more_speaker_p': '',
        }
      )
  return rows, pairs


DIRECT = tables.direct.COLUMNS


def by_class(row, classes):
  """Returns what a row says of two classes: the first breaks first."""
  half = NUM_CLIPS // 2
  first = min(row['num_errors'], half)
  wrong = (first, row['num_errors'] - first)
  said = (half - wrong[0] + wrong[1], half - wrong[1] + wrong[0])
  return {
    'balanced_error': sum(wrong) / NUM_CLIPS,
    'errors_by_class': json.dumps(
      {c: [w, half] for c, w in zip(classes, wrong, strict=True)}
    ),
    'answers_by_class': json.dumps(dict(zip(classes, said, strict=True))),
  }


def by_speaker(rows, spread, num_speakers=8):
  """Returns rows whose intervals by speaker reach so far around each rate."""
  return [
    {
      **row,
      'num_speakers': num_speakers,
      **{
        f'{key}_speaker_{end}': row[of] + sign * spread
        for key, of in (
          ('ci', 'error_rate'),
          ('flip_ci', 'flip_rate'),
          ('excess', 'excess'),
        )
        if row[of] != ''
        for end, sign in (('low', -1), ('high', 1))
      },
      **(
        {'excess_speaker_p': float(row['excess'] <= spread)}
        if row['excess'] != ''
        else {}
      ),
    }
    for row in rows
  ]


def curves(rows, speakers=None):
  """Returns rows of curves.csv of the attack's rows, with so many clips wrong.

  As if every clip that one epsilon breaks is broken by what breaks more.

  Args:
    rows: Of sweep.csv.
    speakers: [NUM_CLIPS] of the clips; not known if None.
  """
  if speakers is None:
    speakers = np.full(NUM_CLIPS, '')
  attacked = [row for row in rows if not row['control']]
  found = []
  # In rows of each training and, of those that judge themselves, of all.
  by_seed = storage.grouped(attacked, tuple(tables.columns.ATTACK))
  own = [row for row in attacked if row['seed'] == row['target_seed']]
  together = storage.grouped(
    own, [key for key in tables.columns.ATTACK if key not in _SEEDS]
  )
  for groups, seeds in ((by_seed, {}), (together, dict.fromkeys(_SEEDS, ''))):
    for points in groups.values():
      of_training = storage.grouped(points, ('seed',)).values()
      if seeds and len(of_training) < trainings.FEWEST_TRAININGS:
        continue
      of_training = [
        sorted(x, key=lambda row: row['epsilon']) for x in of_training
      ]
      wrong = [
        [np.arange(NUM_CLIPS) < round(r['error_rate'] * NUM_CLIPS) for r in x]
        for x in of_training
      ]
      epsilons = np.array([row['epsilon'] for row in of_training[0]])
      found.append(
        {
          **{key: points[0][key] for key in tables.columns.ATTACK},
          **seeds,
          **tables.curves.shape(np.array(wrong), epsilons, speakers),
        }
      )
  return found


def taken(seed, target, rise_without, over_half):
  """Returns a row of transforms.csv, of a low pass at epsilon 0.02.

  Args:
    seed: Of source and judge.
    target: The judge.
    rise_without: Of the error rate without a filter; known to +-0.1.
    over_half: What is left of it, less its half; known to +-0.1.
  """
  known = {
    **row(seed=seed, target=target, transform='lowpass4000', epsilon=0.02),
    'rise_without': rise_without,
    'rise': over_half + rise_without / 2,
    'taken': rise_without / 2 - over_half,
    'over_half': over_half,
  }
  for name in ('rise_without', 'rise', 'taken', 'over_half'):
    known[f'{name}_low'] = known[name] - 0.1
    known[f'{name}_high'] = known[name] + 0.1
  return {name: known.get(name, '') for name in tables.transforms.COLUMNS}


def write(
  folder,
  *,
  rows=None,
  transforms=(),
  classes=CLASSES,
  ids=('clip-a', 'clip-b'),
  **changes,
):
  """Writes a run's tables, JSON and sounds; returns the folder as text."""
  config = quickstart.get_config()
  config.clip_s = TIME / audio.SAMPLE_RATE_HZ
  config.update_from_flattened_dict(changes)
  folder.mkdir(parents=True, exist_ok=True)
  sounds = folder / 'attack' / 'audio'
  sounds.mkdir(parents=True)
  (folder / 'config.json').write_text(json.dumps(config.to_dict()))
  for seed in config.seeds:
    for name in config.models:
      member = folder / f'{name}-seed{seed}'
      member.mkdir()
      (member / 'summary.json').write_text(
        json.dumps(summary(config, name, seed, classes))
      )
  storage.write_table(
    folder / 'attack' / 'sweep.csv',
    tables.points.COLUMNS,
    [{**by_class(row, classes), **row} for row in rows or sweep()],
  )
  storage.write_table(
    folder / 'attack' / 'curves.csv',
    tables.curves.COLUMNS,
    curves(rows or sweep()),
  )
  plain = [r for r in rows or sweep() if r['seed'] == r['target_seed']]
  storage.write_table(
    folder / 'attack' / 'trainings.csv',
    tables.trainings.COLUMNS,
    over_trainings(plain),
  )
  storage.write_table(
    folder / 'attack' / 'transforms.csv', tables.transforms.COLUMNS, transforms
  )
  storage.write_table(
    folder / 'attack' / 'minimal.csv',
    tables.minimal.COLUMNS,
    [
      {
        **dict.fromkeys(tables.minimal.COLUMNS, ''),
        **{k: found[k] for k in tables.minimal.COLUMNS if k in found},
        'success': 'own',
        'id': str(i),
        'epsilon': 0.01 if i < 60 else float('inf'),
      }
      for found in sweep()
      if found['epsilon'] == 0.01 and not found['control']
      for i in range(NUM_CLIPS)
    ],
  )
  write_sounds(folder, ids, classes)
  (folder / 'attack' / 'checks.json').write_text('[]')
  return str(folder)


def summary(config, name, seed, classes):
  """Returns what a training would have left."""
  accuracy = {'loss': 0.1, 'accuracy': 0.98, 'num_clips': NUM_CLIPS}
  return {
    'model': {
      'name': name.partition('_on_')[0],
      'num_classes': len(classes),
      **config.model.to_dict(),
    },
    'task': config.task,
    'classes': list(classes),
    'seed': seed,
    'clip_samples': TIME,
    'sample_rate_hz': audio.SAMPLE_RATE_HZ,
    'best_epoch': 3,
    'num_epochs': 10,
    'num_parameters': 34_434,
    'num_clips': {'train': 900, 'validation': 60, 'test': NUM_CLIPS},
    'validation': accuracy,
    'test': accuracy,
    'device': {'device_kind': 'cpu', 'num_devices': 1},
  }


def write_sounds(folder, ids, classes):
  """Writes two clips, attacked by random signs, and examples.json."""
  entries = []
  rng = np.random.default_rng(0)
  time_s = np.arange(RECORDED) / audio.SAMPLE_RATE_HZ
  for i, id_ in enumerate(ids):
    clean = 0.5 + 0.1 * np.sin(2 * np.pi * 440 * time_s)
    padded = np.pad(clean, (0, TIME - RECORDED), constant_values=0.5)
    perturbed = padded + 0.01 * rng.choice([-1, 1], TIME)
    names = {
      'original': f'{i}-original.wav',
      'adversarial': f'{i}-fgsm.wav',
      'adversarial_float32': f'{i}-fgsm-float.wav',
    }
    for kind, sound, subtype in (
      ('original', clean, 'PCM_16'),
      ('adversarial', perturbed, 'PCM_16'),
      ('adversarial_float32', perturbed, 'FLOAT'),
    ):
      audio.save(folder / 'attack' / 'audio' / names[kind], sound, subtype)
    entries.append(
      {
        'id': id_,
        'source': 'wavecnn',
        'seed': 0,
        'attack': 'fgsm',
        'epsilon': '0.01',
        **names,
        'label': classes[0],
        **{f'said_{k}': classes[0] for k in ('clean', 'memory', 'float32')},
        'said_int16': classes[-1],
      }
    )
  (folder / 'attack' / 'examples.json').write_text(json.dumps(entries))


def write_everything_else(folder, classes=CLASSES):
  """Writes what the stages beyond the quickstart would add to a run."""
  session = {
    'started': '2026-01-02T03:04:05+00:00',
    'finished': '2026-01-02T04:04:05+00:00',
    'commit': 40 * 'c',
    'changed': True,
    'versions': {'jax': '0.10.2'},
    'device': {'device_kind': 'TPU v9', 'num_devices': 8},
  }
  for name in ('wavecnn-seed0', 'attack'):
    (folder / name / 'provenance.json').write_text(json.dumps([session]))
  columns = tables.quality.COLUMNS
  storage.write_table(
    folder / 'attack' / 'quality.csv',
    columns,
    [
      {
        **dict.fromkeys(columns, ''),
        'source': 'wavecnn',
        'attack': 'fgsm',
        'epsilon_given': '0.01',
        'id': str(i),
        'snr_db': 20.0 + i,
        'stoi': 0.9,
      }
      for i in range(3)
    ],
  )
  (folder / 'attack' / 'checks.json').write_text(
    json.dumps(
      [
        {
          'name': 'too_few_clips',
          'severity': 'warning',
          'sentence': '100 clips tell a rate to 10 points',
          **dict.fromkeys(FIELDS),
        }
      ]
    )
  )
  splits = {'train': 900, 'validation': 60, 'test': NUM_CLIPS}
  (folder / 'data.json').write_text(
    json.dumps(
      {
        'corpus': {'summary': ['espeak: 1060 clips'], 'warnings': []},
        'splits': {
          name: {
            'num_clips': n,
            'classes': dict.fromkeys(classes, n // 2),
            'num_speakers': 10,
            'seconds': 1.5 * n,
            'shared': {
              'speaker': n,
              'statement': None,
              'speaker and statement': None,
              'take': n // 4,
            },
          }
          for name, n in splits.items()
        },
      }
    )
  )
  write_gradients(folder / 'studies' / 'gradients')
  write_features(folder / 'studies' / 'features')
  write_rounding(folder)
  write_verification(folder / 'studies' / 'verification')
  write_privacy(folder / 'studies' / 'privacy')
  write_smoothing(folder / 'studies' / 'smoothing')
  write_air(folder / 'studies' / 'air')
  write_substitute(folder / 'studies' / 'substitute')
  write_queries(folder / 'studies' / 'queries')


def write_verification(folder):
  """Writes tables of one embedder under FGSM, of 12 speakers."""
  folder.mkdir(parents=True)
  scores = np.linspace(-0.2, 1, 20)
  ends = {'': 0.0, '_low': -0.1, '_high': 0.1}
  tables_of = {
    'scores': [
      {
        'embedder': 'resemblyzer',
        'part': part,
        'trial': f'trial-{i}',
        'kind': 'target' if i % 3 else 'cross_sex',
        'score': score,
      }
      for part in ('validation', 'test')
      for i, score in enumerate(scores)
    ],
    'clean': [
      {
        **dict.fromkeys(verification_tables.CLEAN_COLUMNS, 0.25),
        'embedder': 'resemblyzer',
        'operating': operating,
        'num_speakers': 12,
        'num_heard': 0,
      }
      for operating in ('eer', 'far')
    ],
    'attacked': [
      {
        **dict.fromkeys(attacked.COLUMNS, 0.5),
        'source': 'resemblyzer',
        'embedder': 'resemblyzer',
        'attack': 'fgsm',
        'norm': 'linf',
        'control': control,
        'format': 'int16' if control == 'int16' else 'memory',
        **{'epsilon_given': '20dbsnr', 'epsilon': 0.01, 'epsilon_unit': ''},
        'mean_snr_db': 20.0,
        'kind': kind,
        'operating': 'far',
        **{'num_trials': 40, 'num_speakers': 12, 'known_rate': ''},
        **{f'clean_rate{end}': 0.2 + x for end, x in ends.items()},
        **{
          f'rate{end}': 0.3 + 0.5 * (not control) + x for end, x in ends.items()
        },
        **{f'more{end}': 0.5 + x for end, x in ends.items()},
      }
      | ({'control': ''} if control == 'int16' else {})
      for kind in ('target', 'same_sex', 'cross_sex', 'impostor')
      for control in ('', 'int16', 'random_sign', 'gaussian', 'shuffled')
    ],
  }
  for name, rows in tables_of.items():
    storage.write_table(folder / f'{name}.csv', tuple(rows[0]), rows)


def write_privacy(folder):
  """Writes tables of one embedder and model, of 12 speakers."""
  folder.mkdir(parents=True)
  protections = ('none', 'lowpass2000', 'random_sign', 'speaker', 'projected')
  point = {'epsilon_given': '20dbsnr', 'epsilon': 0.01, 'epsilon_unit': ''}
  point |= {'num_clips': 40, 'num_speakers': 12, 'weight': ''}
  tables_of = {
    'utility': [
      {
        **dict.fromkeys(privacy_tables.UTILITY_COLUMNS, 0.1),
        **point,
        'protection': protection,
        'model': 'wavecnn',
        **{'seed': 0, 'spared': 1},
      }
      for protection in protections
    ],
    'privacy': [
      {
        **dict.fromkeys(privacy_tables.PRIVACY_COLUMNS, 0.2),
        **point,
        'protection': protection,
        'embedder': 'resemblyzer',
        **{'attacked': 1, 'num_heard': 0, 'attacker': attacker},
        'enrols': 'clean',
        'answer': 'lowpass4000' if attacker == attackers.FILTERING else '',
      }
      for attacker in attackers.ATTACKERS
      for protection in protections
    ],
  }
  for name, rows in tables_of.items():
    storage.write_table(folder / f'{name}.csv', tuple(rows[0]), rows)


def write_air(folder):
  """Writes tables of one model under one attack, in eight rooms."""
  folder.mkdir(parents=True)
  error = {'attack': 0.8, 'clean': 0.1}
  point = {'model': 'wavecnn', 'attack': 'pgd'}
  points = [
    {
      **dict.fromkeys(air_tables.COLUMNS, ''),
      **point,
      **{'draws': draws, 'sent': sent, 'num_clips': 40, 'num_rooms': 8},
      **{'epsilon_given': '20dbsnr', 'epsilon': 0.01, 'epsilon_unit': ''},
      **{'mean_snr_db': 20.0, 'mean_heard_snr_db': 18.0, 'direct': 0.9},
      **{
        f'unseen{end}': error.get(sent, 0.2) + x
        for end, x in {'': 0, '_low': -0.1, '_high': 0.1}.items()
      },
      **({'seen': 0.95, 'gap': 0.15} if draws else {}),
      **({'gap_low': 0.1, 'gap_high': 0.2} if draws else {}),
      **(
        {}
        if sent == 'attack'
        else {'more': 0.6, 'more_low': 0.5, 'more_high': 0.7}
      ),
    }
    for draws in (0, 1, 4)
    for sent in sending.SENT
  ]
  heard = [
    {
      **point,
      **{'draws': draws, 'sent': sent, 'room': f'{room:04d}'},
      **{'t60_s': 0.2 + 0.05 * room, 'distance_m': 2.0, 'num_clips': 40},
      'error_rate': error.get(sent, 0.2) - 0.01 * room,
      'mean_heard_snr_db': 18.0,
    }
    for draws in (0, 1, 4)
    for sent in sending.SENT
    for room in range(8)
  ]
  for name, rows in (('air', points), ('rooms', heard)):
    storage.write_table(folder / f'{name}.csv', tuple(rows[0]), rows)


def write_substitute(folder, num_broken=30):
  """Writes tables of one victim and two ways to ask about clips.

  Args:
    folder: Of the study.
    num_broken: Clips of 40 that the last substitute's examples break; those of
      natural clips break 10 and noise 5.
  """
  folder.mkdir(parents=True)

  def tried(num):
    answers = np.zeros((40, 2, len(trying.SENT)), np.int32)
    answers[:5] = 1
    answers[:num, :, 0] = 1
    clean = np.zeros(40, np.int32)
    return {'fgsm': trying.Tried(clean, clean, answers, answers + 20.0)}

  arms = {'jacobian': num_broken, 'natural': 10}
  reached = {
    substitute_rounds.Point(
      'wavecnn', '', 'white_box', 0
    ): substitute_attacker.Reached(0, 0, 0, tried(40))
  } | {
    substitute_rounds.Point(
      'wavecnn', 'other', arm, i
    ): substitute_attacker.Reached(8, num, num, tried(arms[arm] if i else 5))
    for arm in arms
    for i, num in enumerate((8, 16))
  }
  results = substitute_rounds.Results(
    np.zeros(40, np.int32),
    CLASSES,
    np.full(40, ''),
    np.full(40, 0.1, np.float32),
    0,
    {'fgsm': (audio.parse_epsilon('20dbsnr'), audio.parse_epsilon(0.01))},
    {'wavecnn': 'wavernn'},
    reached,
  )
  substitute_tables.write(str(folder), results, 0.95)


def write_queries(folder):
  """Writes tables of one model under both kinds of attacks."""
  folder.mkdir(parents=True)
  num_clips, counts = 40, (1, 10, 20)
  place = np.arange(num_clips)
  zeros = np.zeros(num_clips, np.int32)
  scores = {
    ('wavecnn', name): asking.Scores(
      5.0 - place,
      np.array(counts)[None] * gain - place[:, None],
      zeros,
      zeros + counts[-1],
    )
    for name, gain in (('square', 1.5), (asking.NOISE, 0.3))
  }
  sizes = np.array([np.inf, 1.0, 0.1])[None, None] * (1 + place[:, None, None])
  sizes = np.repeat(np.where(place[:, None, None] < 5, 0, sizes), 2, 1)
  results = queries_parts.Results(
    input_pipeline.Split(
      ids=np.array([str(i) for i in place]),
      pcm=np.zeros((num_clips, 100), np.int16),
      num_samples=np.full(num_clips, 100),
      labels=zeros,
      speakers=np.full(num_clips, ''),
    ),
    ('female', 'male'),
    audio.parse_epsilon('20dbsnr'),
    np.full(num_clips, 0.1, np.float32),
    counts,
    'l2',
    scores,
    {'wavecnn': asking.Distances(sizes, zeros + counts[-1])},
  )
  queries_tables.write(str(folder), results, 0.95)


def write_smoothing(folder):
  """Writes certificates of one model under one noise, and their shares."""
  folder.mkdir(parents=True)
  base = {'model': 'wavecnn', 'seed': 0, 'sigma_given': '0.001', 'sigma': 0.001}
  clips = [
    {
      **dict.fromkeys(smoothing_tables.CLIP_COLUMNS, ''),
      **base,
      **{'id': str(i), 'abstains': int(i > 7), 'right': int(i < 6)},
      'snr_db': 50.0 + i if i <= 7 else '',
    }
    for i in range(10)
  ]
  rows = list(smoothing_tables.summary_rows(clips, 0.95))
  for name, found in (('certificates', clips), ('summary', rows)):
    storage.write_table(folder / f'{name}.csv', tuple(found[0]), found)


def write_rounding(run):
  """Writes tables of three orders of rows, on epsilons of the run's sweep."""
  folder = run / 'studies' / 'rounding'
  folder.mkdir(parents=True)
  means = storage.read_table(run / 'attack' / 'trainings.csv')
  storage.write_table(
    folder / 'orders.csv',
    tuple(means[0]),
    [
      {**row, 'lowest': 0.111, 'highest': 0.222, 'sd_trainings': 0.333}
      for row in means
      if row['source'] == row['target']
    ],
  )
  curves = [
    {
      **{'model': 'wavecnn', 'order': order, 'control': ''},
      **{'epsilon': epsilon, 'num_clips': 100, 'error_rate': epsilon * 10},
    }
    for order in range(3)
    for epsilon in (0.0, 0.01)
  ]
  storage.write_table(folder / 'curves.csv', tuple(curves[0]), curves)


def write_gradients(folder):
  """Writes tables of a study of gradients over three clips."""
  folder.mkdir(parents=True)
  names = ['wavecnn-seed0', 'wavernn-seed0']
  (folder / 'settings.json').write_text(
    json.dumps({'names': names, 'num_studied': 3})
  )
  rng = np.random.default_rng(0)
  frames = TIME // 640
  np.savez(
    folder / 'examples.npz',
    id=np.array(['clip-a']),
    model=np.array(names),
    audio=np.full((1, TIME), 0.5),
    span=np.array([[0, RECORDED]]),
    gradient=rng.normal(size=(1, 2, TIME)),
  )
  for alignment in ('start', 'end'):
    np.savez(
      folder / f'clips-{alignment}.npz',
      **{
        'profile': rng.uniform(1, 2, (3, 2, frames)),
        'recorded/num_samples': np.full((3, 2), RECORDED),
      },
    )

  def table(name, rows):
    storage.write_table(folder / f'{name}.csv', tuple(rows[0]), rows)

  table(
    'clips',
    [
      {
        'id': f'clip-{i}',
        'model': name,
        'alignment': 'start',
        'region': 'all',
        'l1': 1.0 + i,
        'early_l1_share': 0.01 + i / 2,
        'index_50': 8000 + i,
        'num_samples': TIME,
      }
      for name in names
      for i in range(3)
    ],
  )
  table(
    'jacobians',
    [
      dict(
        zip(
          gradient_tables.JACOBIAN_COLUMNS,
          ('wavernn-seed0', 'lstm', 'trained', 1.0, f, 40.0 * (25 - f)),
          strict=False,
        ),
        lower_quartile=0.4,
        median=0.5,
        upper_quartile=0.6,
        forget_gate=0.7,
      )
      for f in (5, 15, 25)
    ],
  )
  table(
    'accumulation',
    [
      {
        'id': f'clip-{i}',
        'model': name,
        'varied': varied,
        'n': n,
        'epsilon': 1e-6 * (n if varied == 'epsilon' else 1),
        'predicted': 1e-5 * n,
        'measured': 1e-5 * n,
      }
      for name in names
      for i in range(3)
      for varied in ('epsilon', 'samples')
      for n in (1, 10, 100)
    ],
  )
  arithmetics = ('float64', 'float16')
  table(
    'fidelity',
    [
      {
        'id': f'clip-{i}',
        'model': name,
        'arithmetic': kind,
        'early_zero_share': 0.1,
        'early_sign_agreement': 0.9,
      }
      for name in names
      for kind in arithmetics
      for i in range(3)
    ],
  )
  table(
    'fgsm',
    [
      dict(
        zip(gradient_tables.FGSM_COLUMNS, (name, kind, e, e), strict=False),
        num_clips=100,
        error_rate=0.3,
      )
      for name in names
      for kind in (*arithmetics, 'random_sign')
      for e in (0.0, 0.01, 0.02)
    ],
  )
  table('summary', [estimate(*point) for point in SUMMARY])


# Part, model, setting, statistic, estimate, interval.
SUMMARY = (
  ('clips', 'wavecnn-seed0', 'start, all', 'early_l1_share', 0.6, 0.5, 0.7),
  ('clips', 'wavernn-seed0', 'start, all', 'early_l1_share', 0.01, 0.0, 0.02),
  ('jacobians', 'wavernn-seed0', 'trained', 'halvings_per_s', 12.0, 11.0, 13.0),
  ('jacobians', 'wavernn-seed0', 'trained', 'forget_gate', 0.7, 0.7, 0.7),
  ('jacobians', 'wavernn-seed0', 'trained', 'one_step_median', 0.9, 0.8, 0.9),
  ('jacobians', 'wavernn-seed0', 'trained', 'one_step_max', 1.8, 1.5, 2.1),
  (
    *('accumulation', 'wavecnn-seed0', 'samples, epsilon 1e-06'),
    *('measured_exponent', 1.0, 0.97, 1.03),
  ),
  (
    *('accumulation', 'wavecnn-seed0', 'rate, epsilon 1e-06'),
    *('measured_exponent', 1.0, 0.97, 1.03),
  ),
  (
    *('accumulation', 'wavecnn-seed0', 'length_masked, epsilon 1e-06'),
    *('measured_exponent', 1.0, 0.97, 1.03),
  ),
  (
    *('accumulation', 'wavecnn-seed0', 'samples, epsilon 0.0001'),
    *('measured_exponent', 0.5, 0.4, 0.6),
  ),
)


def estimate(part, model, setting, statistic, value, low, high):
  """Returns a row of the gradients' summary.csv."""
  return {
    **dict.fromkeys(summary_lib.SUMMARY_COLUMNS, ''),
    'part': part,
    'model': model,
    'setting': setting,
    'statistic': statistic,
    'num_trainings': 1,
    'estimate': value,
    'ci_low': low,
    'ci_high': high,
  }


def conversion(share):
  """Returns in how many of ten clips conversion is the larger part."""
  low, high = statistics.wilson_interval(round(10 * share), 10)
  name = 'conversion_larger'
  return {
    'num_speakers': '',
    name: share,
    **{f'{name}_low': low, f'{name}_high': high},
    **{f'{name}_speaker_low': '', f'{name}_speaker_high': ''},
  }


def write_features(folder):
  """Writes tables of a feature-level study, and one clip's sounds."""
  (folder / 'audio').mkdir(parents=True)
  point = {
    **dict.fromkeys(feature_tables.BUDGET_COLUMNS, 0.1),
    'task': 'gender',
    'seed': 0,
    'source': 'wavecnn',
    'target': 'wavecnn',
    'num_clips': 10,
    'num_attainable': 10,
    'error_rate': 0.3,
    'ci_high': 0.5,
    'unperturbed_ci_high': 0.4,
  }
  budgets = [
    {
      **point,
      'representation': representation,
      'method': 'fgsm',
      'through': through,
      'kind': kind,
      'budget': budget,
      'priced': '',
      **conversion(0.9 * representation.startswith('mfcc')),
    }
    for representation, through in (
      ('waveform', 'waveform'),
      ('spectrogram_original', 'waveform'),
      ('mfcc13_griffin_lim', 'features'),
    )
    for kind, budget in (('snr', 20.0), ('snr', 5.0), ('epsilon', 0.0))
  ]
  budgets += [{**b, 'budget': 4.0} for b in budgets if b['kind'] == 'epsilon']
  storage.write_table(
    folder / 'budgets.csv', feature_tables.BUDGET_COLUMNS, budgets
  )
  storage.write_table(
    folder / 'equal_size.csv',
    feature_tables.EQUAL_COLUMNS,
    [
      {
        **dict.fromkeys(feature_tables.EQUAL_COLUMNS, 0.1),
        **{key: b[key] for key in feature_tables.EQUAL_COLUMNS if key in b},
        'difference': 0.25,
      }
      for b in budgets
      if b['kind'] == 'snr' and b['representation'] != 'waveform'
    ],
  )
  storage.write_table(
    folder / 'equal_error.csv',
    feature_tables.EQUAL_ERROR_COLUMNS,
    [
      {
        **{k: b[k] for k in feature_tables.EQUAL_ERROR_COLUMNS if k in b},
        **{'error_rate': 0.25, 'snr_db': snr_db, 'ci_low': low, 'ci_high': 9.0},
        'note': note,
      }
      for b, snr_db, low, note in zip(
        budgets[:3],
        (8.0, float('nan'), 20.0),
        (7.0, float('nan'), float('nan')),
        ('', 'not reached', 'reached at the highest SNR already'),
        strict=True,
      )
    ],
  )
  storage.write_table(
    folder / 'norms_examples.csv',
    norm_tables.NORM_EXAMPLE_COLUMNS,
    [
      {
        **dict.fromkeys(norm_tables.NORM_EXAMPLE_COLUMNS, 0.5),
        **{'representation': 'mfcc13_griffin_lim', 'small_id': '<b>clip</b>'},
      }
    ],
  )
  storage.write_table(
    folder / 'norms.csv',
    norms.NORM_COLUMNS,
    [
      {
        **dict.fromkeys(norms.NORM_COLUMNS, 1.0 + i),
        'task': 'gender',
        'seed': 1,
        'representation': 'mfcc13_griffin_lim',
      }
      for i in range(3)
    ],
  )
  entries = []
  for kind in ('original', 'end-to-end', 'mfcc'):
    audio.save(folder / 'audio' / f'{kind}.wav', np.full(TIME, 0.51), 'PCM_16')
    entries.append(
      {
        'file': f'{kind}.wav',
        'id': 'clip-a',
        'kind': kind,
        'snr_db': float('inf') if kind == 'original' else 5.0,
        'prediction': 'female',
      }
    )
  (folder / 'examples.json').write_text(json.dumps(entries))
