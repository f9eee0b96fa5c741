"""What is measured, in the order of what matters most."""

from advspeech.benchmark.accelerator import (
  answers,
  convolutions,
  gradients,
  peaks,
  resume,
  sweep,
  training,
)
from advspeech.benchmark.accelerator.session import Section

SECTIONS = {
  'peaks': Section(20, peaks.measure),
  'convolutions': Section(170, convolutions.measure),
  'training': Section(130, training.measure),
  'sweep': Section(100, sweep.measure),
  'gradients': Section(30, gradients.measure),
  'answers': Section(40, answers.measure),
  'resume': Section(60, resume.measure),
}
