"""Figures, drawn from the tables alone."""

import contextlib
import functools
import logging
import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import axes, figure, font_manager

from advspeech import preemption, registry, rooms, storage
from advspeech.sweep.tables.points import STRONGEST

logger = logging.getLogger(__name__)

_STYLE = os.path.join(os.path.dirname(__file__), 'advspeech.mplstyle')
_FONT = 'DejaVu Sans'  # matplotlib brings it
# Asked, where they are installed, for what that one lacks: Chinese, Japanese,
# Korean.
_FALLBACKS = (
  *('Noto Sans CJK SC', 'Noto Sans CJK JP', 'Noto Sans CJK KR'),
  *('Noto Sans SC', 'Noto Sans JP', 'Noto Sans KR', 'Source Han Sans SC'),
  *('WenQuanYi Zen Hei', 'WenQuanYi Micro Hei', 'Droid Sans Fallback'),
  *('NanumGothic', 'Unifont', 'Arial Unicode MS', 'PingFang SC'),
  *('Hiragino Sans', 'Microsoft YaHei', 'Malgun Gothic'),
)
_TITLES = {
  'wavecnn': 'WaveCNN',
  'wavernn': 'WaveRNN',
  'wavernn_tanh': 'tanh RNN',
  'wavernn_on_wavecnn': 'WaveRNN, CNN front end',
}
_INITIALS = ('fgsm', 'fgm', 'bim', 'mi', 'pgd', 'apgd', 'ce', 'l2', 'nes')
# Epsilons that span more than this are drawn on a logarithmic axis.
LINEAR_RANGE = 50
# Of a model's name, in a legend.
_NAME_CHARS = 30


def house_style() -> contextlib.AbstractContextManager:
  """Returns the context in which every figure is drawn."""
  return mpl.rc_context({'font.family': list(_families())}, _STYLE)


@functools.cache
def _families():
  """Returns the fonts that text is drawn in, the first that has a character."""
  installed = {font.name for font in font_manager.fontManager.ttflist}
  return (_FONT, *(name for name in _FALLBACKS if name in installed))


@functools.cache
def drawable() -> frozenset[int]:
  """Returns the code points that some font of the figures has."""
  return frozenset().union(
    *(
      font_manager.get_font(font_manager.findfont(name)).get_charmap()
      for name in _families()
    )
  )


@functools.cache
def _warn_of(character):
  logger.warning(
    'no font of the figures has %s, shown as %s there; install one that has, '
    'such as Noto Sans CJK (Debian: fonts-noto-cjk)',
    character,
    _code(character),
  )


def _code(character):
  return f'U+{ord(character):04X}'


def title(model: str) -> str:
  """Returns what a figure calls a model; a folder is called by its name."""
  return registry.title(model, _TITLES)


def attack_title(name: str) -> str:
  """Returns what a figure calls an attack: 'APGD margin' for apgd_margin."""
  if name in STRONGEST.values():
    return 'any of them' + (' in L2' if name == STRONGEST['l2'] else '')
  if registry.is_own(name):
    base = name.removesuffix('-targeted')
    return registry.title(base, {}) + (' targeted' if base != name else '')
  words = name.replace('-', '_').split('_')
  return ' '.join(w.upper() if w in _INITIALS else w for w in words)


def transform_title(name: str) -> str:
  """Returns what a page calls a transform; says of rooms that they are not."""
  base, _, folder = name.partition('@')
  if base in rooms.PARTS:
    own = f', responses of {os.path.basename(folder)}' if folder else ''
    return f'{base} (simulated{own})'
  return registry.title(name, {})


def control_title(name: str) -> str:
  """Returns what noise a control is, and in what it is as large."""
  return {
    'random_sign': 'random signs of the same max-norm',
    'gaussian': 'Gaussian noise of the same L2 norm',
    'shuffled': 'the same values shuffled in time',
  }[name]


def plain(text: str, width: int = 60) -> str:
  """Returns a name as a figure shows it: shortened, and never as mathematics.

  Characters that no font has are shown by their codes, so that two names do not
  become the same boxes.

  Args:
    text: Of a clip, a class, a corpus or a folder, whatever signs are in it.
    width: Characters that are left.
  """
  shown = []
  for character in ' '.join(text.split()):
    is_drawn = ord(character) in drawable()
    if not is_drawn:
      _warn_of(character)
    shown.append(character if is_drawn else _code(character))
  text = ''.join(shown)
  short = text if len(text) <= width else f'{text[: width - 1]}…'
  return short.replace('$', r'\$')


def set_log(panel: axes.Axes, *, x: Any = None, y: Any = None) -> None:
  """Makes axes logarithmic, but for one along which all is zero.

  Args:
    panel: Whose axes.
    x: What is drawn along the one; None to leave it as it is.
    y: Along the other.
  """
  for values, set_scale in ((x, panel.set_xscale), (y, panel.set_yscale)):
    if values is not None and np.any(np.asarray(values) > 0):
      set_scale('log')


def with_legend(
  fig: figure.Figure, handles: Sequence[Any], ncols: int = 7
) -> figure.Figure:
  """Returns a figure with its legend below, in so many columns at most."""
  fig.legend(
    handles=handles,
    loc='upper center',
    ncols=min(len(handles), ncols),
    bbox_to_anchor=(0.5, 0.01),
  )
  fig.tight_layout()
  return fig


def note(fig: figure.Figure, text: str) -> None:
  """Writes above a figure what one must know to read it alone.

  Names in it must have been through `plain`.
  """
  width = int(15 * fig.get_figwidth())
  fig.text(
    0.01,
    1.0,
    '\n'.join(textwrap.wrap(text, width)),
    ha='left',
    va='bottom',
    fontsize=8,
    color='0.35',
  )


def count_note(rows: Sequence[Mapping[str, Any]]) -> str:
  """Returns task, number of clips and seeds of rows of `sweep.csv`.

  Of means over seeds, whose seed is None, their number.
  """
  clips = sorted({row['num_clips'] for row in rows})
  counts = ' to '.join(str(n) for n in dict.fromkeys((clips[0], clips[-1])))
  seeds = {row['seed'] for row in rows}
  if None in seeds:
    trained = f'{rows[0]["num_trainings"]} trainings'
  else:
    word = 'seeds' if len(seeds) > 1 else 'seed'
    trained = f'{word} {", ".join(map(str, sorted(seeds)))}'
  return f'{rows[0]["task"]}, {counts} test clips, {trained}'


def model_name(model: str) -> str:
  """Returns the title of a model that may be a folder somewhere.

  Of a long path the end is left, which tells it from others.
  """
  text = title(model)
  if len(text) > _NAME_CHARS:
    text = f'…{text[1 - _NAME_CHARS :]}'
  return plain(text)


def save(fig: figure.Figure, path: str) -> None:
  """Writes a figure as `path`.png and `path`.svg, the same bytes each time."""
  preemption.check_alone()
  with house_style():
    for kind, undated in (('png', 'Software'), ('svg', 'Date')):
      with storage.replacing(f'{path}.{kind}', 'wb') as file:
        fig.savefig(file, format=kind, metadata={undated: None})
