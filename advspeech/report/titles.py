"""Names of models and of findings, as a page and its claims write them."""

from advspeech import figures, sweep
from advspeech.report import run as run_lib


def finding_title(finding: run_lib.Row) -> str:
  """Returns what a self-check's finding is of: 'FGSM on WaveCNN seed 0'."""
  return sweep.finding_title(finding, figures.attack_title, figures.title)


def training_title(seed: int | None) -> str:
  """Returns 'seed 0', or 'mean of trainings'."""
  return 'mean of trainings' if seed is None else f'seed {seed}'


def member_title(name: str, seed: int | None) -> str:
  """Returns 'WaveCNN, seed 0', or 'WaveCNN, mean of trainings'."""
  return f'{figures.title(name)}, {training_title(seed)}'
