"""The recipes for containers and schedulers: what each of them would run.

Nothing is started but shells and stubs; what a tool's own parser or schema can
check is checked where the tool is installed.
"""

import builtins
import json
import os
import pathlib
import pickle
import re
import shlex
import shutil
import subprocess
import sys
import types

import pytest
import test_clusters
import yaml
from test_clusters import GKE, GKE_FLAGS, NASTY, calls, run, stubs

from configs import paper
from launch.ray import train as ray_train

LAUNCH = pathlib.Path(__file__).parent.parent / 'launch'
DOCKERFILE = LAUNCH / 'docker' / 'Dockerfile'
KUBEFLOW = LAUNCH / 'kubeflow' / 'run.sh'
KUBEFLOW_FLAGS = ('--name=on', '--image=eu.gcr.io/p/i:1', '--claim=runs')
SBATCH = test_clusters.SBATCH
SKYPILOT = LAUNCH / 'skypilot' / 'advspeech.yaml'
XPK = LAUNCH / 'xpk' / 'run.sh'
XPK_FLAGS = ('--name=on', '--cluster=c', '--image=eu.gcr.io/p/i:1')
XPK_GPUS = ('--gpu_type=h100-80gb-8', '--nodes=2')
XPK_TPUS = ('--tpu_type=v5litepod-16',)
# What xpk's own quoting leaves whole.
PLAIN = ('--config=a.py:b,c', '--c.d=(0.0, 0.02)', '$(HOME) $HOME `b` $$ & * é')


def tool(name):
  """Returns the path of a program, or skips the test."""
  folder = pathlib.Path(sys.executable).parent
  path = shutil.which(name, path=f'{folder}:{os.environ["PATH"]}')
  return path or pytest.skip(f'{name} is not installed')


# Docker.


def dockerfile():
  """Returns the instructions of the Dockerfile, as (name, text) pairs."""
  text = re.sub(r'^#.*\n', '', DOCKERFILE.read_text(), flags=re.MULTILINE)
  lines = text.replace('\\\n', '').splitlines()
  return [tuple(line.split(' ', 1)) for line in lines if line.strip()]


def test_dockerfile_passes_hadolint():
  done = run(tool('hadolint'), DOCKERFILE)
  assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
  ('platform', 'what'),
  [
    ('cpu', '.[buckets]'),
    ('cuda', '.[buckets,cuda]'),
    ('tpu', '.[buckets,tpu]'),
  ],
)
def test_docker_installs_what_the_platform_needs(tmp_path, platform, what):
  install = next(text for name, text in dockerfile() if name == 'RUN')
  environment = stubs(tmp_path, 'pip')
  done = run('sh', '-c', install, env={**environment, 'PLATFORM': platform})
  assert done.returncode == 0, done.stderr
  assert calls(tmp_path, 'pip') == [['install', '--no-cache-dir', '-e', what]]
  setup = (LAUNCH.parent / 'setup.py').read_text()
  for extra in what.strip('.[]').split(','):
    assert f"    '{extra}': " in setup


def test_docker_refuses_a_platform_that_there_is_not(tmp_path):
  install = next(text for name, text in dockerfile() if name == 'RUN')
  environment = {**stubs(tmp_path, 'pip'), 'PLATFORM': 'gpu'}
  done = run('sh', '-c', install, env=environment)
  assert done.returncode == 2
  assert done.stderr == "error: PLATFORM is cpu, cuda or tpu, got 'gpu'\n"
  assert not list(tmp_path.glob('*.jsonl'))


def test_docker_runs_a_module_without_root_at_the_repository():
  instructions = dockerfile()
  last = dict(instructions)
  assert last['FROM'] == 'python:3.13-slim'
  assert last['ARG'] == 'PLATFORM=cpu'
  assert json.loads(last['ENTRYPOINT']) == ['python', '-m']
  assert json.loads(last['CMD'])[0] == 'launch.reproduce'
  # Kubernetes asks for a number where it must not be root.
  assert int(last['USER']) > 0
  home = re.search(r'HOME=(\S+)', last['ENV'])[1]
  assert f'chmod 1777 {home} runs' in last['RUN']
  assert instructions.index(('COPY', '. .')) > instructions.index(
    ('WORKDIR', last['WORKDIR'])
  )


def test_docker_takes_along_what_setup_reads():
  """Of the first layer: setup.py alone, before the program is there."""
  first = next(text for name, text in dockerfile() if name == 'COPY').split()
  setup = (LAUNCH.parent / 'setup.py').read_text()
  read = re.findall(r"ROOT / '([^']+)'", setup)
  assert {'setup.py', 'pyproject.toml', *read} == set(first[:-1])
  ignored = DOCKERFILE.with_name('Dockerfile.dockerignore').read_text().split()
  assert not {'advspeech', 'launch', 'configs', *first[:-1]} & set(ignored)


# Google's Kubernetes: TPUs, and a queue.


def gke_pod(*flags):
  manifest = test_clusters.gke_manifest(*flags, ['launch.train'])
  (group,) = manifest['spec']['replicatedJobs']
  job = group['template']['spec']
  pod = job['template']['spec']
  return manifest['metadata'], job, pod, pod['containers'][0]


@pytest.mark.parametrize(
  ('flags', 'nodes', 'chips'),
  [
    (('--tpu=tpu-v5-lite-podslice', '--topology=4x4'), 4, 4),
    (('--tpu=tpu-v5-lite-podslice', '--topology=2x4', '--chips=8'), 1, 8),
    (('--tpu=tpu-v5-lite-podslice', '--topology=2x4'), 2, 4),
    (('--tpu=tpu-v6e-slice', '--topology=1x1'), 1, 1),
    (('--tpu=tpu-v5p-slice', '--topology=2x2x4'), 4, 4),
    (('--tpu=tpu-v4-podslice', '--topology=4x4x8'), 32, 4),
  ],
  ids=lambda value: '-'.join(value) if isinstance(value, tuple) else None,
)
def test_gke_asks_for_the_nodes_of_a_slice(flags, nodes, chips):
  metadata, job, pod, container = gke_pod(*flags)
  assert (job['completions'], job['parallelism']) == (nodes, nodes)
  assert container['resources'] == {'limits': {'google.com/tpu': chips}}
  assert pod['nodeSelector'] == {
    'cloud.google.com/gke-tpu-accelerator': flags[0].partition('=')[2],
    'cloud.google.com/gke-tpu-topology': flags[1].partition('=')[2],
  }
  assert metadata == {
    'name': 'on',
    'annotations': {
      'alpha.jobset.sigs.k8s.io/exclusive-topology': (
        'cloud.google.com/gke-nodepool'
      )
    },
  }
  assert {'containerPort': 8471} in container['ports']


def test_gke_leaves_the_places_of_tpu_processes_to_jax():
  """Whose numbers are those of the chips, and which refuses if it has none."""
  *_, container = gke_pod('--tpu=tpu-v5p-slice', '--topology=2x2x4')
  assert container['command'] == [
    *('python', '-m', 'launch.train', '--distributed=on')
  ]
  from jax._src.clusters import cloud_tpu_cluster

  port = int(cloud_tpu_cluster.coordinator_port)
  assert {'containerPort': port} in container['ports']
  *_, container = gke_pod('--tpu=tpu-v6e-slice', '--topology=2x2')
  assert container['command'][-1] == '--distributed=off'


def test_gke_on_gpus_is_as_without_tpus():
  metadata, _, pod, _ = gke_pod('--nodes=2')
  assert metadata == {'name': 'on'}
  assert 'nodeSelector' not in pod


@pytest.mark.parametrize(
  'flags', [(), ('--tpu=tpu-v5p-slice', '--topology=2x2x4')]
)
def test_gke_waits_in_the_queue_named(flags):
  metadata, *_ = gke_pod(*flags, '--queue=team-a')
  assert metadata['labels'] == {'kueue.x-k8s.io/queue-name': 'team-a'}


# Kubeflow.


def trainjob(*args):
  done = run(
    KUBEFLOW, *KUBEFLOW_FLAGS, *args[:-1], '--dry_run', '--', *args[-1]
  )
  assert done.returncode == 0, done.stderr
  return yaml.safe_load(done.stdout)


def test_kubeflow_makes_a_trainjob_of_one_process_a_node():
  manifest = trainjob('--nodes=3', '--gpus=8', '--queue=q', ['launch.train'])
  assert manifest['apiVersion'] == 'trainer.kubeflow.org/v1alpha1'
  assert manifest['kind'] == 'TrainJob'
  assert manifest['metadata'] == {
    'name': 'on',
    'labels': {'kueue.x-k8s.io/queue-name': 'q'},
  }
  assert manifest['spec']['runtimeRef'] == {'name': 'jax-distributed'}
  trainer = manifest['spec']['trainer']
  assert trainer['image'] == 'eu.gcr.io/p/i:1'
  assert trainer['numNodes'] == 3
  assert trainer['resourcesPerNode'] == {'limits': {'nvidia.com/gpu': 8}}
  assert trainjob(['launch.train'])['metadata'] == {'name': 'on'}


def test_kubeflow_hands_python_its_arguments_and_its_place():
  trainer = trainjob('--nodes=2', ['launch.train', *NASTY])['spec']['trainer']
  assert set(trainer) == {'image', 'numNodes', 'command', 'resourcesPerNode'}
  environment = {
    'HOME': '/root',
    'JAX_COORDINATOR_ADDRESS': 'on-node-0-0.on:6666',
    'JAX_NUM_PROCESSES': '2',
    'JAX_PROCESS_ID': '1',
  }
  received = [
    test_clusters.as_kubernetes_expands(word, environment)
    for word in trainer['command']
  ]
  assert received == [
    *('python', '-m', 'launch.train', *NASTY),
    '--coordinator_address=on-node-0-0.on:6666',
    '--num_processes=2',
    '--process_id=1',
  ]


def test_kubeflow_patches_a_pod_that_kubernetes_knows():
  """The parts of one are all over the TrainJob; here they are put together."""
  validate = pytest.importorskip('kubernetes_validate')
  spec = trainjob(['launch.train', *NASTY])['spec']
  (patch,) = spec['runtimePatches']
  template = patch['trainingRuntimeSpec']['template']
  (job,) = template['spec']['replicatedJobs']
  pod = job['template']['spec']['template']['spec']
  (container,) = pod['containers']
  # As the runtime jax-distributed names them.
  assert (job['name'], container['name']) == ('node', 'node')
  container |= {
    'image': spec['trainer']['image'],
    'command': spec['trainer']['command'],
    'resources': spec['trainer']['resourcesPerNode'],
  }
  whole = {
    'apiVersion': 'v1',
    'kind': 'Pod',
    'metadata': {'name': 'p'},
    'spec': pod,
  }
  validate.validate(whole, '1.31', strict=True)
  mounted = {mount['name'] for mount in container['volumeMounts']}
  assert mounted == {volume['name'] for volume in pod['volumes']}


def test_kubeflow_takes_the_trainjob():
  models = pytest.importorskip('kubeflow_trainer_api.models')
  manifest = trainjob('--nodes=2', '--queue=q', ['launch.train', *NASTY])
  read = models.TrainerV1alpha1TrainJob.from_dict(manifest).to_dict()
  # What it does not know it leaves out.
  assert without_none(read) == manifest


def without_none(value):
  if isinstance(value, dict):
    return {k: without_none(v) for k, v in value.items() if v is not None}
  if isinstance(value, list):
    return [without_none(v) for v in value]
  return value


def test_kubeflow_applies_what_it_prints(tmp_path):
  environment = stubs(tmp_path, 'kubectl')
  kubectl = tmp_path / 'kubectl'
  kubectl.write_text(kubectl.read_text() + 'sys.stderr.write(sys.stdin.read())')
  arguments = (*KUBEFLOW_FLAGS, '--', 'launch.train', *NASTY)
  applied = run(KUBEFLOW, *arguments, env=environment)
  assert calls(tmp_path, 'kubectl') == [['apply', '-f', '-']]
  printed = run(KUBEFLOW, '--dry_run', *arguments, env=environment)
  assert applied.stderr == printed.stdout


# xpk.


@pytest.mark.parametrize('dry_run', [True, False])
@pytest.mark.parametrize(
  ('flags', 'of_devices'),
  [
    (XPK_TPUS, ['--tpu-type=v5litepod-16', '--num-slices=1']),
    (XPK_GPUS, ['--device-type=h100-80gb-8', '--num-nodes=2']),
  ],
  ids=['TPUs', 'GPUs'],
)
def test_xpk_creates_a_workload_that_goes_on(
  tmp_path, flags, of_devices, dry_run
):
  environment = stubs(tmp_path, 'xpk')
  flags += ('--max_restarts=7', '--storage=nfs', '--zone=z', '--project=p')
  flags += ('--dry_run',) if dry_run else ()
  done = run(XPK, *XPK_FLAGS, *flags, '--', 'launch.train', env=environment)
  assert done.returncode == 0, done.stderr
  if dry_run:
    assert not (tmp_path / 'xpk.jsonl').exists()
    run('bash', '-c', done.stdout, env=environment)
  (received,) = calls(tmp_path, 'xpk')
  assert received[:-1] == [
    *('workload', 'create', '--workload=on', '--cluster=c'),
    *('--project=p', '--zone=z', *of_devices),
    *('--docker-image=eu.gcr.io/p/i:1', '--storage=nfs', '--max-restarts=7'),
    *('--restart-on-exit-codes=75', '--termination-grace-period-seconds=120'),
  ]


@pytest.mark.parametrize(
  ('flags', 'received'),
  [
    (XPK_TPUS, ['--distributed=on', *PLAIN]),
    (
      XPK_GPUS,
      [
        *PLAIN,
        '--coordinator_address=on-slice-job-0-0.on:6002',
        '--num_processes=2',
        '--process_id=1',
      ],
    ),
  ],
  ids=['TPUs', 'GPUs'],
)
def test_xpk_hands_python_its_arguments_and_its_place(
  tmp_path, flags, received
):
  done = run(XPK, *XPK_FLAGS, *flags, '--dry_run', '--', 'launch.train', *PLAIN)
  assert done.returncode == 0, done.stderr
  command = shlex.split(done.stdout)[-1].removeprefix('--command=')
  # It stands in one of Kubernetes' commands, and for GPUs in a YAML string.
  assert yaml.safe_load(f'"{command}"') == command
  line = test_clusters.as_kubernetes_expands(command, {'HOME': '/root'})
  environment = {
    **stubs(tmp_path, 'python'),
    'JAX_COORDINATOR_ADDRESS': 'on-slice-job-0-0.on',
    'JAX_COORDINATOR_PORT': '6002',
    'NNODES': '2',
    'NODE_RANK': '1',
  }
  # The shell that xpk sends SIGTERM to is Python by then; bash alone sees to it
  # by itself.
  assert line.startswith('exec ')
  line = f'({line}) & echo $!; wait $!'
  python = tmp_path / 'python'
  python.write_text(python.read_text() + 'print(os.getpid())')
  done = run('bash', '-c', line, env=environment)
  assert calls(tmp_path, 'python') == [['-m', 'launch.train', *received]]
  signalled, was = done.stdout.split()
  assert signalled == was


@pytest.mark.parametrize('flags', [XPK_TPUS, XPK_GPUS], ids=['TPUs', 'GPUs'])
def test_xpk_takes_the_command(flags):
  core = pytest.importorskip('xpk.parser.core')
  import argparse

  parser = argparse.ArgumentParser()
  core.set_parser(parser)
  done = run(XPK, *XPK_FLAGS, *flags, '--dry_run', '--', 'launch.train')
  command = shlex.split(done.stdout)
  args = parser.parse_args(command[1:])
  assert args.restart_on_exit_codes == '75'
  with pytest.raises(SystemExit):
    parser.parse_args([*command[1:], '--wrong=1'])


# SkyPilot.


def sky_run(folder, program, **environment):
  """Runs what every node runs, with a Python that records its arguments."""
  (folder / 'advspeech-python' / 'bin').mkdir(parents=True)
  stubs(folder / 'advspeech-python' / 'bin', 'python')
  task = yaml.safe_load(SKYPILOT.read_text())
  environment = {
    **os.environ,
    'HOME': str(folder),
    'SKYPILOT_NODE_IPS': '10.0.0.7\n10.0.0.8\n10.0.0.9',
    'SKYPILOT_NUM_NODES': '3',
    'SKYPILOT_NODE_RANK': '2',
    **task['envs'],
    'PROGRAM': program,
  }
  return run('bash', '-c', task['run'], env=environment)


def test_skypilot_hands_python_its_arguments_and_its_place(tmp_path):
  done = sky_run(tmp_path, shlex.join(['launch.train', *NASTY]))
  assert done.returncode == 0, done.stderr
  assert calls(tmp_path / 'advspeech-python' / 'bin', 'python') == [
    [
      *('-m', 'launch.train', *NASTY),
      '--coordinator_address=10.0.0.7:8476',
      '--num_processes=3',
      '--process_id=2',
    ]
  ]


@pytest.mark.parametrize('program', ['', '--config=a.py'])
def test_skypilot_refuses_a_program_without_a_module(tmp_path, program):
  done = sky_run(tmp_path, program)
  assert done.returncode == 2
  assert re.fullmatch(f"error: .* module.*, got '{program}'\n", done.stderr)
  assert not list(tmp_path.rglob('*.jsonl'))


def test_skypilot_recovers_from_a_stop_only():
  task = yaml.safe_load(SKYPILOT.read_text())
  recovery = task['resources']['job_recovery']
  assert recovery == {'recover_on_exit_codes': [75]}
  assert '/mnt/shared' in task['volumes']
  # The Python of one is that of the other.
  assert '~/advspeech-python' in task['setup']
  assert '~/advspeech-python/bin/python' in task['run']


def test_skypilot_takes_the_task():
  schemas = pytest.importorskip('sky.utils.schemas')
  import jsonschema

  task = yaml.safe_load(SKYPILOT.read_text())
  jsonschema.validate(task, schemas.get_task_schema())
  jsonschema.validate(task['resources'], schemas.get_resources_schema())


# Slurm: containers, and one task a node.


def slurm_words(gpus, tasks, **environment):
  line = test_clusters.slurm_dry_run(
    'launch.train',
    SLURM_GPUS_ON_NODE=str(gpus),
    SLURM_NTASKS_PER_NODE=str(tasks),
    ADVSPEECH_PYTHON='py',
    **environment,
  )
  words = shlex.split(line)
  assert words[:2] == ['srun', '--kill-on-bad-exit=1']
  return words[2:]


@pytest.mark.parametrize(
  ('gpus', 'tasks', 'devices'),
  [
    (4, 4, []),
    (4, 1, ['env', 'JAX_LOCAL_DEVICE_IDS=0,1,2,3']),
    (1, 1, []),
    (0, 1, []),
    (0, 8, []),
  ],
)
def test_slurm_gives_a_process_one_gpu_or_the_node(gpus, tasks, devices):
  words = slurm_words(gpus, tasks)
  assert words[words.index('task') + 1 :] == [
    *(*devices, 'py', '-m', 'launch.train')
  ]


@pytest.mark.parametrize(('gpus', 'tasks'), [(4, 2), (4, 8), (1, 2)])
def test_slurm_refuses_what_leaves_or_shares_gpus(gpus, tasks):
  environment = {
    **os.environ,
    'SLURM_GPUS_ON_NODE': str(gpus),
    'SLURM_NTASKS_PER_NODE': str(tasks),
  }
  done = run('bash', SBATCH, '--dry_run', env=environment)
  assert done.returncode == 2
  assert re.fullmatch(
    f'error: one task a GPU or one a node, .* {tasks} .* {gpus}; .*\n',
    done.stderr,
  )


@pytest.mark.parametrize('mounts', ['', '/shared:/shared,/d:/data'])
def test_slurm_starts_every_task_in_the_container(mounts):
  words = slurm_words(
    4, 4, ADVSPEECH_CONTAINER='/a b.sqsh', ADVSPEECH_MOUNTS=mounts
  )
  here = os.getcwd()
  assert words[: words.index('bash')] == [
    '--container-image=/a b.sqsh',
    f'--container-mounts={here}:{here}{mounts and ","}{mounts}',
    f'--container-workdir={here}',
  ]


def test_slurm_refuses_mounts_without_a_container():
  environment = {**os.environ, 'ADVSPEECH_MOUNTS': '/d:/d'}
  done = run('bash', SBATCH, '--dry_run', env=environment)
  assert done.returncode == 2
  assert re.fullmatch("error: .* container; .* '/d:/d' alone\n", done.stderr)


# Ray.


class Ray:
  """Ray Train with one worker, of this process; notes what it is given."""

  def __init__(self, monkeypatch, world_size=1):
    self.given = {}
    note = self.given

    class JaxTrainer:
      def __init__(self, function, **options):
        note.update(options)
        # Pickled by value, the function has nothing of its module but itself.
        self.function = types.FunctionType(
          function.__code__, {'__builtins__': builtins}
        )

      def fit(self):
        job = note['train_loop_config']
        self.function(pickle.loads(pickle.dumps(job)))

    context = types.SimpleNamespace(get_world_size=lambda: world_size)
    train = types.ModuleType('ray.train')
    train.get_context = lambda: context
    for name in ('ScalingConfig', 'RunConfig', 'FailureConfig'):
      setattr(train, name, lambda **options: options)
    jax_trainer = types.ModuleType('ray.train.v2.jax')
    jax_trainer.JaxTrainer = JaxTrainer
    package = types.ModuleType('ray')
    package.train = train
    for name, module in {
      'ray': package,
      'ray.train': train,
      'ray.train.v2': types.ModuleType('ray.train.v2'),
      'ray.train.v2.jax': jax_trainer,
    }.items():
      monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def reproduced(monkeypatch, tmp_path):
  """What `experiment.reproduce` was called with, by a main() with flags."""
  import advspeech

  called = []
  experiment = types.ModuleType('advspeech.experiment')
  experiment.validate = lambda config: None
  experiment.reproduce = lambda *args: called.append((os.getcwd(), *args))
  monkeypatch.setitem(sys.modules, 'advspeech.experiment', experiment)
  monkeypatch.setattr(advspeech, 'experiment', experiment, raising=False)
  monkeypatch.chdir(tmp_path)
  set_flag(monkeypatch, ray_train.command, 'CONFIG', paper.get_config())
  set_flag(monkeypatch, ray_train.command, 'SKIP_BAD', True)
  monkeypatch.setattr(ray_train.command, 'workdir', lambda: 'runs/a')
  for name, value in {
    '_NUM_WORKERS': 4,
    '_GPUS': 0,
    '_TOPOLOGY': '4x4',
    '_ACCELERATOR_TYPE': 'TPU-V6E',
    '_MAX_FAILURES': 2,
    '_DRY_RUN': False,
  }.items():
    set_flag(monkeypatch, ray_train, name, value)
  return called


def set_flag(monkeypatch, module, name, value):
  monkeypatch.setattr(module, name, types.SimpleNamespace(value=value))


def test_ray_calls_the_library_on_the_workers(
  monkeypatch, reproduced, tmp_path, capsys
):
  ray = Ray(monkeypatch)
  ray_train.main()
  workdir = str(tmp_path / 'runs' / 'a')
  assert reproduced == [(str(tmp_path), paper.get_config(), workdir, True)]
  assert ray.given['scaling_config'] == {
    'num_workers': 4,
    'use_tpu': True,
    'topology': '4x4',
    'use_gpu': False,
    'resources_per_worker': None,
    'accelerator_type': 'TPU-V6E',
  }
  assert ray.given['run_config'] == {
    'storage_path': f'{workdir}-ray',
    'failure_config': {'max_failures': 2},
  }
  assert capsys.readouterr().out == f'{workdir}/report/index.html\n'


def test_ray_workers_that_are_not_joined_do_not_train(monkeypatch, reproduced):
  """Each would believe that it is the lead."""
  Ray(monkeypatch, world_size=4)
  with pytest.raises(RuntimeError, match='4 workers, of which JAX sees 1'):
    ray_train.main()
  assert not reproduced


def test_ray_prints_what_it_would_run(monkeypatch, reproduced, capsys):
  set_flag(monkeypatch, ray_train, '_DRY_RUN', True)
  monkeypatch.setitem(sys.modules, 'ray', None)
  ray_train.main()
  printed = capsys.readouterr().out
  assert "'num_workers': 4" in printed
  assert "runs/a'" in printed
  assert not reproduced


def test_ray_that_is_missing_gets_one_sentence(monkeypatch, reproduced):
  from advspeech import errors

  monkeypatch.setitem(sys.modules, 'ray', None)
  with pytest.raises(errors.InputError, match=r'missing .* pip install'):
    ray_train.main()


def test_ray_gives_a_worker_all_gpus_of_its_host(monkeypatch, reproduced):
  ray = Ray(monkeypatch)
  set_flag(monkeypatch, ray_train, '_TOPOLOGY', None)
  set_flag(monkeypatch, ray_train, '_GPUS', 8)
  ray_train.main()
  scaling = ray.given['scaling_config']
  assert scaling['resources_per_worker'] == {'GPU': 8}
  assert (scaling['use_gpu'], scaling['use_tpu']) == (True, False)
  assert len(reproduced) == 1


@pytest.mark.parametrize(('topology', 'gpus'), [(None, 0), ('2x2', 8)])
def test_ray_is_told_of_tpus_or_gpus(monkeypatch, reproduced, topology, gpus):
  from advspeech import errors

  set_flag(monkeypatch, ray_train, '_TOPOLOGY', topology)
  set_flag(monkeypatch, ray_train, '_GPUS', gpus)
  with pytest.raises(errors.InputError, match='one of --topology'):
    ray_train.main()


def test_ray_wants_a_shape_for_a_topology(monkeypatch, reproduced):
  from advspeech import errors

  set_flag(monkeypatch, ray_train, '_TOPOLOGY', 'v6e:4x4')
  with pytest.raises(errors.InputError, match="got 'v6e:4x4'; --accelerator_"):
    ray_train.main()


def test_ray_takes_the_workers_asked_for():
  """Of Ray's own classes, without a cluster."""
  train = pytest.importorskip('ray.train')
  jax_trainer = pytest.importorskip('ray.train.v2.jax')
  for options in (
    {'use_tpu': True, 'topology': '4x4', 'accelerator_type': 'TPU-V6E'},
    {'use_gpu': True, 'resources_per_worker': {'GPU': 8}},
  ):
    jax_trainer.JaxTrainer(
      ray_train.work,
      train_loop_config={},
      scaling_config=train.ScalingConfig(num_workers=4, **options),
      run_config=train.RunConfig(
        storage_path='/runs-ray',
        failure_config=train.FailureConfig(max_failures=3),
      ),
    )


@pytest.mark.slow
def test_ray_program_waits_on_a_cpu_and_alone(tmp_path):
  """Even as a task of Slurm's, of two, which JAX would have join the other."""
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'launch.ray.train', '--dry_run', '--gpus=1'),
      f'--workdir={tmp_path}',
    ],
    capture_output=True,
    text=True,
    cwd=LAUNCH.parent,
    env={
      **{k: v for k, v in os.environ.items() if k != 'JAX_PLATFORMS'},
      'SLURM_JOB_ID': '1',
      'SLURM_STEP_NODELIST': 'localhost',
      'SLURM_NTASKS': '2',
      'SLURM_PROCID': '1',
      'SLURM_LOCALID': '0',
    },
    check=False,
    timeout=60,
  )
  assert done.returncode == 0, done.stderr
  assert f'{str(tmp_path)!r}' in done.stdout


# All of them.


def test_every_recipe_is_in_the_readme_and_what_that_names_exists():
  readme = (LAUNCH / 'README.md').read_text()
  for path in re.findall(r'\blaunch/[\w/.]+\w', readme):
    assert (LAUNCH.parent / path).exists(), path
  for name in re.findall(r'\blaunch\.(\w+(?:\.\w+)*)', readme):
    assert (LAUNCH / name.replace('.', '/')).with_suffix('.py').exists(), name
  for folder in LAUNCH.iterdir():
    if folder.is_dir() and folder.name != '__pycache__':
      assert re.search(rf'\blaunch[/.]{folder.name}\b', readme), folder.name


@pytest.mark.parametrize('recipe', [GKE, KUBEFLOW])
@pytest.mark.parametrize(
  'launched',
  [
    ('launch.train', '--workdir=gs://b/runs/a'),
    ('launch.attack', '--workdir', 's3://b/runs/a'),
    ('launch.doctor',),
  ],
)
def test_a_run_in_a_bucket_needs_no_claim_but_leave(recipe, launched):
  validate = pytest.importorskip('kubernetes_validate')
  flags = ('--name=on', '--image=i', '--service_account=w', '--dry_run')
  done = run(recipe, *flags, '--', *launched)
  assert done.returncode == 0, done.stderr

  def pods(tree):
    if isinstance(tree, dict):
      if 'containers' in tree:
        yield tree
      tree = list(tree.values())
    for part in tree if isinstance(tree, list) else ():
      yield from pods(part)

  (pod,) = pods(yaml.safe_load(done.stdout))
  assert pod['serviceAccountName'] == 'w'
  assert {'name': 'shared', 'emptyDir': {}} in pod['volumes']
  if recipe == KUBEFLOW:  # whose image is said elsewhere
    pod['containers'][0]['image'] = 'i'
  manifest = {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'on'}}
  validate.validate({**manifest, 'spec': pod}, '1.31', strict=True)


TPU = ('--tpu=tpu-v5p-slice', '--topology=2x2x4')
LAUNCHED = ('--', 'launch.train')


@pytest.mark.parametrize(
  ('command', 'match'),
  [
    ((GKE, *GKE_FLAGS, TPU[0], *LAUNCHED), "--topology must be .* got ''"),
    ((GKE, *GKE_FLAGS, TPU[1], *LAUNCHED), "--tpu must be .* got ''"),
    ((GKE, *GKE_FLAGS, '--chips=4', *LAUNCHED), '--tpu must be'),
    ((GKE, *GKE_FLAGS, TPU[0], '--topology=4*4', *LAUNCHED), r"got '4\*4'"),
    ((GKE, *GKE_FLAGS, *TPU, '--chips=3', *LAUNCHED), 'divide the 16 of 2x2x4'),
    ((GKE, *GKE_FLAGS, *TPU, '--chips=0', *LAUNCHED), "got '0'"),
    ((GKE, *GKE_FLAGS, *TPU, '--gpus=8', *LAUNCHED), 'are of GPUs'),
    ((GKE, *GKE_FLAGS, *TPU, '--nodes=2', *LAUNCHED), 'are of GPUs'),
    ((GKE, *GKE_FLAGS, '--queue=A_', *LAUNCHED), "--queue must .* got 'A_'"),
    ((KUBEFLOW, '--name=A', *LAUNCHED), "--name must be.*got 'A'"),
    ((KUBEFLOW, '--name=n', *LAUNCHED), '--image is missing'),
    ((KUBEFLOW, '--name=n', '--image=i', *LAUNCHED), '--claim is missing'),
    ((KUBEFLOW, *KUBEFLOW_FLAGS, '--service_account=A', *LAUNCHED), "got 'A'"),
    ((GKE, *GKE_FLAGS, '--service_account=A b', *LAUNCHED), "got 'A b'"),
    ((KUBEFLOW, *KUBEFLOW_FLAGS, '--nodes=0', *LAUNCHED), '--nodes must be 1'),
    ((KUBEFLOW, *KUBEFLOW_FLAGS, '--gpus=x', *LAUNCHED), "--gpus .* got 'x'"),
    ((KUBEFLOW, *KUBEFLOW_FLAGS, '--queue=A', *LAUNCHED), '--queue must be'),
    ((KUBEFLOW, *KUBEFLOW_FLAGS, '--runtime=', *LAUNCHED), '--runtime must be'),
    ((KUBEFLOW, *KUBEFLOW_FLAGS), 'name a module behind --'),
    ((KUBEFLOW, *KUBEFLOW_FLAGS, *LAUNCHED, 'a\nb'), 'a line break'),
    ((KUBEFLOW, 'launch.train'), 'unknown argument launch.train'),
    ((XPK, '--name=A', *LAUNCHED), "--name must be.*got 'A'"),
    ((XPK, '--name=n', *LAUNCHED), '--cluster is missing'),
    ((XPK, '--name=n', '--cluster=c', *LAUNCHED), '--image is missing'),
    ((XPK, *XPK_FLAGS, *LAUNCHED), "one of --tpu_type and --gpu_type, got ''"),
    ((XPK, *XPK_FLAGS, *XPK_TPUS, *XPK_GPUS, *LAUNCHED), 'one of --tpu_type'),
    ((XPK, *XPK_FLAGS, *XPK_TPUS, '--nodes=2', *LAUNCHED), 'of a --gpu_type'),
    ((XPK, *XPK_FLAGS, *XPK_GPUS, '--slices=2', *LAUNCHED), 'of a --tpu_type'),
    (
      (XPK, *XPK_FLAGS, *XPK_TPUS, '--slices=0', *LAUNCHED),
      'must be 1 or more',
    ),
    (
      (XPK, *XPK_FLAGS, *XPK_TPUS, '--max_restarts=x', *LAUNCHED),
      "--max_restarts .* got 'x'",
    ),
    ((XPK, *XPK_FLAGS, *XPK_TPUS), 'name a module behind --'),
    ((XPK, *XPK_FLAGS, *XPK_TPUS, *LAUNCHED, 'a"b'), 'cannot pass .* got a"b'),
  ],
)
def test_a_wrong_argument_gets_one_sentence(tmp_path, command, match):
  environment = stubs(tmp_path, 'kubectl', 'xpk')
  done = run(*command, env=environment)
  assert done.returncode == 2
  assert re.fullmatch(f'error: .*{match}.*\n', done.stderr)
  assert not list(tmp_path.glob('*.jsonl'))
