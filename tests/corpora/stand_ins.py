"""Small releases in exactly the layout of the real ones, oddities included.

Every clip says which it is: its samples are a tone whose pitch is a hash of its
id (`tone`), so that a label that moved to another clip would be seen.
"""

import hashlib
import pathlib

import numpy as np
import soundfile

RATE_HZ = 16_000
IEMOCAP_HEADER = '% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n'
EVALUATORS = (
  'C-E2:\tNeutral;\t()\n'
  'C-E3:\tAnger; Frustration;\t()\n'
  'C-F1:\tNeutral;\t(curious)\n'
  'A-E3:\tval 3; act 2; dom  2;\t()\n'
  'A-F1:\tval 3; act 2; dom  1;\t()\n\n'
)


def tone(name: str, num_samples: int = 1600) -> np.ndarray:
  """Returns int16 samples that only this name has."""
  pitch = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], 'little')
  phase = 2 * np.pi * (100 + pitch % 3001) / RATE_HZ
  return np.rint(5000 * np.sin(phase * np.arange(num_samples))).astype(np.int16)


def write(path: pathlib.Path, name: str, channels: int = 1, **kwargs) -> None:
  """Writes a clip as WAV; each channel but the first is half as loud."""
  path.parent.mkdir(parents=True, exist_ok=True)
  samples = tone(name, **kwargs)
  both = [samples, *[samples // 2] * (channels - 1)]
  soundfile.write(path, np.stack(both, 1), RATE_HZ, subtype='PCM_16')


def iemocap(folder: pathlib.Path) -> dict[str, tuple[str, str, str, str]]:
  """Writes a release of five sessions; returns what must be read of it.

  Two dialogues a session, improvised and scripted, six turns each of which one
  has no consensus (`xxx`); evaluators' lines below every summary line, CRLF in
  one table, doubles that Mac OS makes (`._`), stereo sound of the dialogues,
  stereo sentences in session 2, evaluations by category and by attribute in
  folders beside the tables.

  Returns:
    (speaker, sex, emotion, session) by utterance id.
  """
  expected = {}
  names = {'ang': 'angry', 'sad': 'sad', 'neu': 'neutral', 'exc': 'excited'}
  names |= {'fru': 'frustrated', 'hap': 'happy', 'xxx': 'undecided'}
  for session in range(1, 6):
    root = folder / f'Session{session}'
    tables = root / 'dialog' / 'EmoEvaluation'
    for other in ('Attribute', 'Categorical', 'Self-evaluation'):
      (tables / other).mkdir(parents=True)
      (tables / other / f'Ses0{session}F_impro01_e2.txt').write_text(
        f'Ses0{session}F_impro01_F000 :Neutral state; ()\n'
      )
    for dialog, labels in (
      (f'Ses0{session}F_impro01', ('ang', 'sad', 'xxx', 'neu', 'ang', 'sad')),
      (
        f'Ses0{session}M_script01_1b',
        ('sad', 'ang', 'fru', 'exc', 'hap', 'ang'),
      ),
    ):
      text, end_s = IEMOCAP_HEADER, 6.2901
      for i, label in enumerate(labels):
        sex = 'FM'[i % 2]
        id_ = f'{dialog}_{sex}{i // 2:03d}'
        text += (
          f'[{end_s:.4f} - {end_s + 1.95:.4f}]\t{id_}\t{label}\t'
          f'[2.5000, 3.0000, 2.5000]\n{EVALUATORS}'
        )
        end_s += 2.5
        wav = root / 'sentences' / 'wav' / dialog / f'{id_}.wav'
        write(wav, id_, channels=2 if session == 2 else 1)
        expected[id_] = (
          f'Ses0{session}{sex}',
          {'F': 'female', 'M': 'male'}[sex],
          names[label],
          str(session),
        )
        # What Mac OS leaves on other file systems.
        wav.with_name(f'._{wav.name}').write_bytes(b'\0\5\x16\7Mac OS X')
      if session == 3:
        text = text.replace('\n', '\r\n')
      (tables / f'{dialog}.txt').write_bytes(text.encode())
      (tables / f'._{dialog}.txt').write_bytes(b'\0\5\x16\7Mac OS X \xb0')
      write(root / 'dialog' / 'wav' / f'{dialog}.wav', dialog, channels=2)
    # A turn that was recorded but that nobody evaluated.
    write(
      root / 'sentences' / 'wav' / dialog / f'{dialog}_MXX0.wav', 'not listed'
    )
  return expected


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
