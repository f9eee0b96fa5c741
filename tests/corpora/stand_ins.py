"""Small releases in exactly the layout of the real ones, oddities included.

Every clip says which it is: its samples are a tone whose pitch is a hash of its
id (`tone`), so that a label that moved to another clip would be seen.
"""

import collections
import hashlib
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import soundfile
from scipy.io import wavfile

RATE_HZ = 16_000
IEMOCAP_HEADER = '% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n'
EVALUATORS = (
  'C-E2:\tNeutral;\t()\n'
  'C-E3:\tAnger; Frustration;\t()\n'
  'C-F1:\tNeutral;\t(curious)\n'
  'A-E3:\tval 3; act 2; dom  2;\t()\n'
  'A-F1:\tval 3; act 2; dom  1;\t()\n\n'
)
IEMOCAP_EMOTIONS = {
  'ang': 'angry',
  'dis': 'disgust',
  'exc': 'excited',
  'fea': 'fearful',
  'fru': 'frustrated',
  'hap': 'happy',
  'neu': 'neutral',
  'oth': 'other',
  'sad': 'sad',
  'sur': 'surprised',
  'xxx': 'undecided',
}
# Two dialogues a session, improvised and scripted, six turns each of which one
# has no consensus.
SMALL_IEMOCAP = {
  dialog.format(session): tuple(zip('FM' * 3, labels, strict=True))
  for session in range(1, 6)
  for dialog, labels in (
    ('Ses0{}F_impro01', ('ang', 'sad', 'xxx', 'neu', 'ang', 'sad')),
    ('Ses0{}M_script01_1b', ('sad', 'ang', 'fru', 'exc', 'hap', 'ang')),
  )
}
# As published; female and male of a session are the paper's two numbers, and
# for those of the sessions that it does not name what is left.
IEMOCAP_LABELS = {
  'ang': 1103,
  'dis': 2,
  'exc': 1041,
  'fea': 40,
  'fru': 1849,
  'hap': 595,
  'neu': 1708,
  'oth': 3,
  'sad': 1084,
  'sur': 107,
  'xxx': 2507,
}
IEMOCAP_SPEAKERS = {
  '1': {'F': 873, 'M': 946},
  '2': {'F': 859, 'M': 952},
  '3': {'F': 1022, 'M': 1114},
  '4': {'F': 1007, 'M': 1096},
  '5': {'F': 1039, 'M': 1131},
}
IEMOCAP_DIALOGS = 30


def tone(name: str, num_samples: int = 1600) -> np.ndarray:
  """Returns int16 samples that only this name has."""
  pitch = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], 'little')
  phase = 2 * np.pi * (100 + 3000 * pitch / 2**32) / RATE_HZ
  return np.rint(5000 * np.sin(phase * np.arange(num_samples))).astype(np.int16)


def write(path: pathlib.Path, name: str, channels: int = 1, **kwargs) -> None:
  """Writes a clip as WAV; each channel but the first is half as loud."""
  path.parent.mkdir(parents=True, exist_ok=True)
  samples = tone(name, **kwargs)
  both = [samples, *[samples // 2] * (channels - 1)]
  # Not by soundfile, which waits for the disk after each.
  wavfile.write(path, RATE_HZ, np.stack(both, 1))


def iemocap(
  folder: pathlib.Path,
  dialogs: Mapping[str, Sequence[tuple[str, str]]] | None = None,
  num_samples: Callable[[str], int] = lambda id_: 1600,
) -> dict[str, tuple[str, str, str, str]]:
  """Writes a release of five sessions; returns what must be read of it.

  Evaluators' lines below every summary line, CRLF in one table, doubles that
  Mac OS makes (`._`), stereo sound of the dialogues, stereo sentences in
  session 2, evaluations by category and by attribute in folders beside the
  tables, and a turn that nobody evaluated.

  Args:
    folder: Where the release goes.
    dialogs: (sex, label) of each turn of a dialogue, by its name, session by
      session; `SMALL_IEMOCAP` if None.
    num_samples: Returns the length of an utterance, by its id.

  Returns:
    (speaker, sex, emotion, session) by utterance id.
  """
  expected = {}
  dialogs = SMALL_IEMOCAP if dialogs is None else dialogs
  for session in '12345':
    root = folder / f'Session{session}'
    tables = root / 'dialog' / 'EmoEvaluation'
    for other in ('Attribute', 'Categorical', 'Self-evaluation'):
      (tables / other).mkdir(parents=True)
      (tables / other / f'Ses0{session}F_impro01_e2.txt').write_text(
        f'Ses0{session}F_impro01_F000 :Neutral state; ()\n'
      )
    for dialog in (name for name in dialogs if name[4] == session):
      text, end_s = IEMOCAP_HEADER, 6.2901
      turns = collections.Counter()
      for sex, label in dialogs[dialog]:
        id_ = f'{dialog}_{sex}{turns[sex]:03d}'
        turns[sex] += 1
        text += (
          f'[{end_s:.4f} - {end_s + 1.95:.4f}]\t{id_}\t{label}\t'
          f'[2.5000, 3.0000, 2.5000]\n{EVALUATORS}'
        )
        end_s += 2.5
        wav = root / 'sentences' / 'wav' / dialog / f'{id_}.wav'
        channels = 2 if session == '2' else 1
        write(wav, id_, channels, num_samples=num_samples(id_))
        expected[id_] = (
          f'Ses0{session}{sex}',
          {'F': 'female', 'M': 'male'}[sex],
          IEMOCAP_EMOTIONS[label],
          session,
        )
        if turns.total() == 1:  # What Mac OS leaves on other file systems.
          wav.with_name(f'._{wav.name}').write_bytes(b'\0\5\x16\7Mac OS X')
      if session == '3':
        text = text.replace('\n', '\r\n')
      (tables / f'{dialog}.txt').write_bytes(text.encode())
      (tables / f'._{dialog}.txt').write_bytes(b'\0\5\x16\7Mac OS X \xb0')
      write(root / 'dialog' / 'wav' / f'{dialog}.wav', dialog, channels=2)
    # A turn that was recorded but that nobody evaluated.
    write(
      root / 'sentences' / 'wav' / dialog / f'{dialog}_MXX0.wav', 'not listed'
    )
  return expected


def iemocap_of_true_size() -> dict[str, list[tuple[str, str]]]:
  """Returns `dialogs` of as many turns a label and a speaker as IEMOCAP has.

  Which label goes with which speaker is drawn.
  """
  rng = np.random.default_rng(0)
  labels = iter(
    rng.permutation(
      np.repeat(list(IEMOCAP_LABELS), list(IEMOCAP_LABELS.values()))
    ).tolist()
  )
  dialogs = {}
  for session, speakers in IEMOCAP_SPEAKERS.items():
    sexes = rng.permutation([*'F' * speakers['F'], *'M' * speakers['M']])
    for i, part in enumerate(np.array_split(sexes, IEMOCAP_DIALOGS), 1):
      dialog = f'Ses0{session}{"FM"[i % 2]}_impro{i:02d}'
      dialogs[dialog] = [(sex, next(labels)) for sex in part.tolist()]
  return dialogs


def iemocap_seconds(id_: str) -> float:
  """Returns how long an utterance is: 0.6 to 34 s, 4.46 s on average."""
  seed = int.from_bytes(hashlib.sha256(id_.encode()).digest()[4:8], 'little')
  seconds = np.random.default_rng(seed).lognormal(1.26, 0.68)
  return float(np.clip(seconds, 0.6, 34))


def spoil_iemocap(folder: pathlib.Path) -> tuple[str, str]:
  """Takes one sentence away and empties another; returns their ids."""
  wav = folder / 'Session4' / 'sentences' / 'wav'
  missing = wav / 'Ses04F_impro01' / 'Ses04F_impro01_F001.wav'
  empty = wav / 'Ses04M_script01_1b' / 'Ses04M_script01_1b_M000.wav'
  missing.unlink()
  soundfile.write(empty, np.zeros(0, np.int16), RATE_HZ)
  return missing.stem, empty.stem


def crema_d(folder: pathlib.Path) -> dict[str, tuple[str, str, str, str]]:
  """Writes four actors of CREMA-D as it is cloned; returns as `iemocap`."""
  folder.mkdir(parents=True)
  rows = ['"ActorID","Age","Sex","Race","Ethnicity"']
  expected = {}
  for i, actor in enumerate(('1001', '1002', '1040', '1091')):
    sex = ('Male', 'Female')[i % 2]
    rows.append(f'{actor},{30 + i},"{sex}","Caucasian","Not Hispanic"')
    for name, emotion in (
      ('DFA_ANG_XX', 'angry'),
      ('IEO_SAD_HI', 'sad'),
      ('ITH_SAD_X' if actor == '1040' else 'ITH_SAD_XX', 'sad'),
      ('TIE_NEU_XX', 'neutral'),
    ):
      id_ = f'{actor}_{name}'
      write(folder / 'AudioWAV' / f'{id_}.wav', id_)
      expected[id_] = (actor, sex.lower(), emotion, '')
  (folder / 'VideoDemographics.csv').write_text('\r\n'.join(rows) + '\r\n')
  # The same clips in other forms, which are not to be read twice.
  (folder / 'AudioMP3').mkdir()
  (folder / 'AudioMP3' / '1001_DFA_ANG_XX.mp3').write_bytes(b'ID3')
  (folder / 'VideoFlash').mkdir()
  (folder / 'VideoFlash' / '1001_DFA_ANG_XX.flv').write_bytes(b'FLV')
  return expected


def emodb(folder: pathlib.Path) -> dict[str, tuple[str, str, str, str]]:
  """Writes some clips of all ten speakers; returns as `iemocap`."""
  expected = {}
  emotions = {'F': 'happy', 'W': 'angry', 'T': 'sad', 'N': 'neutral'}
  emotions |= {'A': 'fearful', 'E': 'disgust', 'L': 'bored'}
  men = ('03', '10', '11', '12', '15')
  for speaker in (*men, '08', '09', '13', '14', '16'):
    for letter, emotion in emotions.items():
      id_ = f'{speaker}a01{letter}a'
      write(folder / 'wav' / f'{id_}.wav', id_)
      sex = 'male' if speaker in men else 'female'
      expected[id_] = (speaker, sex, emotion, '')
  (folder / 'lablaut').mkdir()
  (folder / 'lablaut' / '03a01Fa.lablaut').write_text('signal')
  return expected


def savee(
  folder: pathlib.Path, flat: bool = False
) -> dict[str, tuple[str, str, str, str]]:
  """Writes some clips of the four speakers; returns as `iemocap`."""
  expected = {}
  emotions = {'a': 'angry', 'sa': 'sad', 'su': 'surprised', 'n': 'neutral'}
  emotions |= {'d': 'disgust', 'f': 'fearful', 'h': 'happy'}
  for speaker in ('DC', 'JE', 'JK', 'KL'):
    for letter, emotion in emotions.items():
      for number in (1, 15):
        id_ = f'{speaker}_{letter}{number:02d}'
        name = f'{id_}.wav' if flat else f'{speaker}/{id_[3:]}.wav'
        write(folder / 'AudioData' / name, id_)
        expected[id_] = (speaker, 'male', emotion, '')
  (folder / 'AudioData' / 'Info.txt').write_text('480 sentences')
  return expected
