"""What a model hears of a recording, and what may spoil its answers."""

import logging
import os

from advspeech import audio, decoding, storage

logger = logging.getLogger(__name__)

# What is heard of a longer recording, by `cut`.
_KEPT = {'start': 'first', 'center': 'middle'}


def channels(checkpoint_dir: str, path: str, asked: str | None) -> str:
  """Returns what is heard of a recording's channels, and warns of a guess.

  Args:
    checkpoint_dir: Folder of a trained model.
    path: The recording.
    asked: 'mean', or the number of one; None for what the model was trained on,
      by its run's `config.json`.
  """
  run = os.path.dirname(storage.absolute(checkpoint_dir))
  config = os.path.join(run, 'config.json')
  if storage.exists(config):
    trained = storage.read_json(config, ('corpus',))['corpus']['channels']
    if asked not in (None, trained):
      logger.warning(
        'the model was trained on channel %s (%s), and hears %s as asked',
        trained,
        config,
        asked,
      )
    return asked or trained
  if asked is None and next(decoding.blocks(path))[1].shape[1] > 1:
    logger.warning(
      '%s has several channels and there is no %s to say which the model was '
      'trained on: it hears their mean; --config.corpus.channels is another',
      path,
      config,
    )
  return asked or 'mean'


def warn(path: str, heard: audio.Heard, cut: str) -> None:
  """Logs what may make nothing of the answers to a recording.

  Args:
    path: The recording.
    heard: What is heard of it.
    cut: What is kept of a longer one, one of `audio.CUTS`.
  """
  if not heard.is_all:
    logger.warning(
      '%s is longer than a clip: the model hears the %s %.2f s; the rest is '
      'left out',
      path,
      _KEPT[cut],
      heard.num_samples / audio.SAMPLE_RATE_HZ,
    )
  if heard.is_silent:
    logger.warning(
      '%s is silent where the model hears it; its answers are about nothing',
      path,
    )
  elif heard.share_at_full_scale >= audio.CLIPPED:
    logger.warning(
      '%s is clipped: %.1f %% of what the model hears lies at full scale',
      path,
      100 * heard.share_at_full_scale,
    )
