"""The cluster launchers: what they would run, and Slurm for real.

Slurm's daemons are started here, as root, where Debian's packages slurmctld,
slurmd, slurm-client and munge are installed; nothing of theirs stays behind.
"""

import contextlib
import json
import os
import pathlib
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time

import pytest
import yaml

ROOT = pathlib.Path(__file__).parent.parent
SBATCH = ROOT / 'launch' / 'slurm' / 'train.sbatch'
TPU_POD = ROOT / 'launch' / 'tpu_pod' / 'run.sh'
GKE = ROOT / 'launch' / 'gke' / 'run.sh'
# What shells, YAML and Kubernetes take for something else.
NASTY = (
  '--config=configs/ravdess.py:gender,small',
  '--config.sweep.epsilons=(0.0, 0.02)',
  '--workdir=/mnt/it\'s "here"',
  'a $(HOME) $HOME `b` $$ & \\ \\\\ * ~ # @NAME@ [c] {d}: é',
  '',
)
STUB = """#!{python}
import json, os, sys
with open({log!r}, 'a') as file:
  print(json.dumps(sys.argv), file=file)
if {rest!r}:
  rest = sys.argv[1:]
  while rest[0].startswith('-'):
    del rest[0]
  os.execvp(rest[0], rest)
"""


def run(*command, **kwargs):
  return subprocess.run(
    [str(word) for word in command],
    capture_output=True,
    text=True,
    check=False,
    **kwargs,
  )


def stubs(folder, *names, passing_on=()):
  """Returns an environment with programs that record how they are called."""
  for name in names:
    text = STUB.format(
      python=sys.executable,
      log=str(folder / f'{name}.jsonl'),
      rest=name in passing_on,
    )
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
  return {**os.environ, 'PATH': f'{folder}:{os.environ["PATH"]}'}


def calls(folder, name):
  lines = (folder / f'{name}.jsonl').read_text().splitlines()
  return [json.loads(line)[1:] for line in lines]


def until(condition, timeout_s=60):
  """Returns the first true value of `condition()`."""
  deadline = time.monotonic() + timeout_s
  while not (value := condition()):
    assert time.monotonic() < deadline, 'waited in vain'
    time.sleep(0.1)
  return value


@pytest.mark.parametrize(
  'path',
  [p for p in (ROOT / 'launch').rglob('*') if p.suffix in ('.sh', '.sbatch')],
  ids=lambda p: p.name if p.suffix == '.sbatch' else p.parent.name,
)
def test_scripts_pass_shellcheck(path):
  folder = pathlib.Path(sys.executable).parent
  shellcheck = shutil.which('shellcheck', path=f'{folder}:{os.environ["PATH"]}')
  if not shellcheck:
    pytest.skip('shellcheck is not installed')
  done = run(shellcheck, path)
  assert done.returncode == 0, done.stdout
  if path.suffix == '.sh':
    assert path.stat().st_mode & stat.S_IXUSR


# Slurm: what would run.


def slurm_dry_run(*args, **environment):
  environment = {**os.environ, **environment}
  done = run('bash', SBATCH, '--dry_run', *args, env=environment)
  assert done.returncode == 0, done.stderr
  return done.stdout


def test_slurm_prints_the_line_of_every_attempt():
  line = slurm_dry_run('launch.train', '--config=a.py', ADVSPEECH_PYTHON='py')
  *first, task, name, python, _, module, flag = shlex.split(line)
  assert first == ['srun', '--kill-on-bad-exit=1', 'bash', '-c']
  assert 'trap : TERM; "$@"' in task
  assert [name, python, module] == ['task', 'py', 'launch.train']
  assert flag == '--config=a.py'


@pytest.mark.parametrize(('code', 'ends'), [(0, 0), (2, 2), (75, 75), (134, 1)])
def test_slurm_task_ends_as_its_program_or_as_one_whose_peer_is_gone(
  tmp_path, code, ends
):
  """The highest code is the job's: an abort must not hide who failed."""
  (tmp_path / 'sleep').write_text('#!/bin/sh\n')
  (tmp_path / 'sleep').chmod(0o755)
  python = tmp_path / 'python'
  python.write_text(f'#!/bin/sh\necho said >&2; exit {code}')
  python.chmod(0o755)
  line = slurm_dry_run('launch.train', ADVSPEECH_PYTHON=str(python))
  words = shlex.split(line)[2:]
  environment = {**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}'}
  done = run(*words, env=environment)
  assert (done.returncode, done.stderr) == (ends, 'said\n')


@pytest.mark.parametrize(
  ('args', 'received'),
  [
    (('launch.train', *NASTY), ['-m', 'launch.train', *NASTY]),
    (NASTY, ['-m', 'launch.reproduce', *NASTY]),
    ((), ['-m', 'launch.reproduce']),
  ],
  ids=['a module', 'flags alone', 'nothing'],
)
def test_slurm_hands_arguments_to_python_as_they_are(tmp_path, args, received):
  environment = stubs(tmp_path, 'srun', 'python', passing_on=['srun'])
  environment.pop('ADVSPEECH_PYTHON', None)
  line = slurm_dry_run(*args)
  done = run('bash', '-c', line, env=environment)
  assert done.returncode == 0, done.stderr
  assert calls(tmp_path, 'python') == [received]


def slurm_job(tmp_path, code, state, *stubbed):
  """Returns how a job ends whose tasks end with a code."""
  # A pre-empting Slurm signals the shell of the job with the program.
  (tmp_path / 'srun').write_text(f'#!/bin/sh\nkill $PPID; exit {code}')
  (tmp_path / 'srun').chmod(0o755)
  (tmp_path / 'squeue').write_text(f'#!/bin/sh\necho {state}')
  (tmp_path / 'squeue').chmod(0o755)
  environment = stubs(tmp_path, *stubbed)
  environment |= {'SLURM_JOB_ID': '7', 'ADVSPEECH_PYTHON': sys.executable}
  return run('bash', SBATCH, env=environment, cwd=ROOT)


@pytest.mark.parametrize(
  ('code', 'state', 'requeued'),
  [
    (75, 'RUNNING 5:00', True),
    (75, 'RUNNING 1:00:00', True),
    (75, 'RUNNING UNLIMITED', True),
    (75, 'COMPLETING 1:00:00', False),  # cancelled
    (75, 'PENDING 1:00:00', False),  # Slurm did it
    (143, 'RUNNING 1:00:00', False),
    (0, 'RUNNING 1:00:00', False),
  ],
)
def test_slurm_queues_again_what_was_asked_to_stop(
  tmp_path, code, state, requeued
):
  done = slurm_job(tmp_path, code, state, 'scontrol')
  if requeued:
    assert done.returncode == 0
    assert calls(tmp_path, 'scontrol') == [['requeue', '7']]
    assert done.stderr == 'Slurm is asked to queue job 7 again\n'
  else:
    assert done.returncode == code
    assert not (tmp_path / 'scontrol.jsonl').exists()


def test_slurm_does_not_queue_again_and_again_what_has_no_time(tmp_path):
  """Two minutes before the end of one minute is at once, each time."""
  done = slurm_job(tmp_path, 75, 'RUNNING 1:00', 'scontrol')
  assert done.returncode == 2
  assert re.fullmatch(
    'error: --time must be 5 minutes or more, got 1:00, .*\n', done.stderr
  )
  assert not (tmp_path / 'scontrol.jsonl').exists()


def test_slurm_that_does_not_queue_jobs_again_is_told_of(tmp_path):
  (tmp_path / 'scontrol').write_text('#!/bin/sh\nexit 1')
  (tmp_path / 'scontrol').chmod(0o755)
  done = slurm_job(tmp_path, 75, 'RUNNING 1:00:00')
  assert done.returncode == 75
  assert 'error: Slurm does not queue job 7 again' in done.stderr


@pytest.mark.parametrize(
  ('python', 'module', 'match'),
  [
    ('/no/python', 'launch.train', "no Python '/no/python' on"),
    (sys.executable, 'launch.trian', "got 'launch.trian', which is not in"),
    (sys.executable, 'launch/train.py', "got 'launch/train.py', which is not"),
  ],
)
def test_slurm_job_that_cannot_start_says_so_once(
  tmp_path, python, module, match
):
  environment = stubs(tmp_path, 'srun')
  environment |= {'SLURM_JOB_ID': '7', 'ADVSPEECH_PYTHON': python}
  done = run('bash', SBATCH, module, env=environment, cwd=ROOT)
  assert done.returncode == 2
  assert re.fullmatch(f'error: .*{match}.*\n', done.stderr)
  assert not (tmp_path / 'srun.jsonl').exists()


def test_slurm_job_sent_from_another_folder_says_so(tmp_path):
  environment = {**os.environ, 'SLURM_JOB_ID': '7'}
  environment['ADVSPEECH_PYTHON'] = sys.executable
  environment.pop('PYTHONPATH', None)
  done = run('bash', SBATCH, 'launch.train', env=environment, cwd=tmp_path)
  assert done.returncode == 2
  assert 'sbatch is for the root of the repository' in done.stderr


def test_slurm_job_is_none_without_sbatch(tmp_path):
  environment = stubs(tmp_path, 'srun')
  environment.pop('SLURM_JOB_ID', None)
  done = run('bash', SBATCH, 'launch.train', env=environment, cwd=ROOT)
  assert done.returncode == 2
  assert re.fullmatch('error: this is for sbatch, .*\n', done.stderr)
  assert not (tmp_path / 'srun.jsonl').exists()


def test_slurm_tasks_get_the_cores_that_the_job_asked_for(tmp_path):
  srun = tmp_path / 'srun'
  srun.write_text('#!/bin/sh\necho "cores $SRUN_CPUS_PER_TASK"')
  srun.chmod(0o755)
  environment = stubs(tmp_path, 'squeue')
  environment |= {'SLURM_JOB_ID': '7', 'ADVSPEECH_PYTHON': sys.executable}
  for cores in ({}, {'SLURM_CPUS_PER_TASK': '8'}):
    done = run('bash', SBATCH, env={**environment, **cores}, cwd=ROOT)
    assert done.stdout == f'cores {cores.get("SLURM_CPUS_PER_TASK", "")}\n'


# TPU pod slices.


def test_tpu_prints_the_gcloud_command():
  done = run(
    TPU_POD,
    '--name=pod',
    '--zone=us-central2-b',
    '--project=mine',
    '--dry_run',
    '--',
    'launch.train',
    '--config=a.py',
  )
  assert done.returncode == 0, done.stderr
  remote = "'python3' '-m' 'launch.train' '--config=a.py'"
  assert shlex.split(done.stdout) == [
    *('gcloud', 'compute', 'tpus', 'tpu-vm', 'ssh', 'pod'),
    *('--zone=us-central2-b', '--project=mine', '--worker=all'),
    f"--command=cd 'advspeech' && exec {remote}",
  ]


@pytest.mark.parametrize('dry_run', [True, False])
def test_tpu_hands_arguments_through_both_shells(tmp_path, dry_run):
  environment = stubs(tmp_path, 'gcloud', 'python3')
  home = tmp_path / 'home'
  (home / 'my clone').mkdir(parents=True)
  flags = ['--name=pod', '--zone=z', '--dir=~/my clone']
  flags += ['--dry_run'] if dry_run else []
  done = run(TPU_POD, *flags, '--', 'launch.train', *NASTY, env=environment)
  assert done.returncode == 0, done.stderr
  if dry_run:
    assert not (tmp_path / 'gcloud.jsonl').exists()
    run('bash', '-c', done.stdout, env=environment)
  (received,) = calls(tmp_path, 'gcloud')
  assert received[:-1] == [
    *('compute', 'tpus', 'tpu-vm', 'ssh', 'pod', '--zone=z', '--worker=all')
  ]
  # As sshd does: the user's shell, at home.
  remote = received[-1].removeprefix('--command=')
  done = run('sh', '-c', remote, env=environment, cwd=home)
  assert done.returncode == 0, done.stderr
  assert calls(tmp_path, 'python3') == [['-m', 'launch.train', *NASTY]]


def test_gcloud_takes_the_command(tmp_path):
  """Offline: without an account gcloud stops after parsing its arguments."""
  if not shutil.which('gcloud'):
    pytest.skip('gcloud is not installed')
  environment = {**os.environ, 'CLOUDSDK_CONFIG': str(tmp_path)}
  flags = ('--name=pod', '--zone=us-central2-b', '--project=mine')
  done = run(TPU_POD, *flags, '--', 'launch.train', '-x', env=environment)
  assert done.returncode == 1
  assert 'active account' in done.stderr
  # And it does not say so before it has read them.
  line = run(TPU_POD, *flags, '--dry_run', '--', 'launch.train').stdout
  done = run('bash', '-c', f'{line.strip()} --wrong', env=environment)
  assert 'unrecognized arguments: --wrong' in done.stderr


# Kubernetes.

GKE_FLAGS = ('--name=on', '--image=eu.gcr.io/p/i:1', '--claim=runs')


def gke_manifest(*args):
  done = run(GKE, *GKE_FLAGS, *args[:-1], '--dry_run', '--', *args[-1])
  assert done.returncode == 0, done.stderr
  return yaml.safe_load(done.stdout)


def as_kubernetes_expands(word, environment):
  """Returns a word of a container's command as the kubelet runs it."""

  def value(match):
    return '$' if match[0] == '$$' else environment.get(match[1], match[0])

  return re.sub(r'\$\$|\$\((\w+)\)', value, word)


def test_gke_makes_one_pod_a_node_that_restart_together():
  manifest = gke_manifest('--nodes=3', '--gpus=8', ['launch.train'])
  assert manifest['apiVersion'] == 'jobset.x-k8s.io/v1alpha2'
  assert manifest['kind'] == 'JobSet'
  assert manifest['metadata'] == {'name': 'on'}
  assert set(manifest['spec']) == {'failurePolicy', 'replicatedJobs'}
  assert manifest['spec']['failurePolicy'] == {
    'maxRestarts': 3,
    'rules': [
      {
        'name': 'told_to_stop',
        'action': 'RestartJobSetAndIgnoreMaxRestarts',
        'onJobFailureReasons': ['PodFailurePolicy'],
      }
    ],
  }
  (group,) = manifest['spec']['replicatedJobs']
  assert (group['name'], group['replicas']) == ('worker', 1)
  job = group['template']['spec']
  assert (job['completions'], job['parallelism']) == (3, 3)
  assert job['completionMode'] == 'Indexed'
  assert job['backoffLimit'] == 0
  # 75 and a lost node make the job fail for the reason the JobSet knows.
  rules = job['podFailurePolicy']['rules']
  assert [rule['action'] for rule in rules] == ['FailJob', 'FailJob']
  pod = job['template']['spec']
  (container,) = pod['containers']
  assert rules[0]['onExitCodes']['values'] == [75]
  assert rules[0]['onExitCodes']['containerName'] == container['name']
  assert rules[1]['onPodConditions'][0]['type'] == 'DisruptionTarget'
  assert pod['terminationGracePeriodSeconds'] >= 60
  assert container['resources'] == {'limits': {'nvidia.com/gpu': 8}}
  assert container['volumeMounts'][0]['mountPath'] == '/mnt/shared'
  claim = pod['volumes'][0]['persistentVolumeClaim']
  assert claim == {'claimName': 'runs'}


@pytest.mark.parametrize(
  'flags',
  [('--nodes=2',), ('--tpu=tpu-v5-lite-podslice', '--topology=4x4')],
  ids=['GPUs', 'TPUs'],
)
def test_gke_job_is_one_that_kubernetes_knows(flags):
  validate = pytest.importorskip('kubernetes_validate')
  manifest = gke_manifest(*flags, ['launch.train', *NASTY])
  (group,) = manifest['spec']['replicatedJobs']
  job = {
    'apiVersion': 'batch/v1',
    'kind': 'Job',
    'metadata': {'name': 'job'},
    'spec': group['template']['spec'],
  }
  validate.validate(job, '1.31', strict=True)
  job['spec']['podFailurePolicy']['rule'] = []
  with pytest.raises(validate.ValidationError):
    validate.validate(job, '1.31', strict=True)


def test_gke_hands_python_its_arguments_and_its_place():
  manifest = gke_manifest('--nodes=2', ['launch.train', *NASTY])
  (group,) = manifest['spec']['replicatedJobs']
  (container,) = group['template']['spec']['template']['spec']['containers']
  assert 'args' not in container
  environment = {'JOB_COMPLETION_INDEX': '1', 'HOME': '/root'}
  words = container['command']
  received = [as_kubernetes_expands(word, environment) for word in words]
  assert received == [
    *('python', '-m', 'launch.train', *NASTY),
    # What JobSet names the first pod: <JobSet>-<group>-<job>-<pod>.<JobSet>
    '--coordinator_address=on-worker-0-0.on:8476',
    '--num_processes=2',
    '--process_id=1',
  ]


def test_gke_applies_what_it_prints(tmp_path):
  environment = stubs(tmp_path, 'kubectl')
  kubectl = tmp_path / 'kubectl'
  kubectl.write_text(kubectl.read_text() + 'sys.stderr.write(sys.stdin.read())')
  arguments = (*GKE_FLAGS, '--', 'launch.train', *NASTY)
  applied = run(GKE, *arguments, env=environment)
  assert applied.returncode == 0
  assert calls(tmp_path, 'kubectl') == [['apply', '-f', '-']]
  printed = run(GKE, '--dry_run', *arguments, env=environment)
  assert applied.stderr == printed.stdout


@pytest.mark.parametrize(
  ('command', 'match'),
  [
    ((TPU_POD, '--zone=z', '--', 'launch.train'), '--name is missing'),
    ((TPU_POD, '--name=n', '--', 'launch.train'), '--zone is missing'),
    ((TPU_POD, '--name=n', '--zone=z'), 'name a module behind --'),
    ((TPU_POD, '--name', 'n'), 'argument --name; there are --name= --zone= '),
    ((GKE, '--dry-run'), 'unknown argument --dry-run; .* --dry_run --help'),
    ((TPU_POD, '--name=n', '--zone=z', '--', '--x'), 'name a module behind --'),
    ((TPU_POD, '--name=n', 'launch.train'), 'unknown argument launch.train'),
    ((GKE, '--name=A', '--', 'launch.train'), "--name must be.*got 'A'"),
    ((GKE, '--name=n', '--', 'launch.train'), '--image is missing'),
    (
      (GKE, '--name=n', '--image=i', '--', 'x'),
      '--claim is missing',
    ),
    ((GKE, *GKE_FLAGS, '--nodes=0', '--', 'launch.train'), '--nodes must be 1'),
    ((GKE, *GKE_FLAGS, '--gpus=x', '--', 'launch.train'), "number, got 'x'"),
    ((GKE, *GKE_FLAGS), 'name a module behind --'),
    (
      (GKE, *GKE_FLAGS, '--tpu=v5e', '--topology=4x4', '--', 'launch.train'),
      "--tpu must be GKE's name, .*got 'v5e'",
    ),
    (
      (GKE, *GKE_FLAGS, '--', 'launch.train', '--workdir=runs/x'),
      "got 'runs/x', which would be lost with the container",
    ),
    ((GKE, *GKE_FLAGS, '--mount=m', '--', 'launch.train'), "on, got 'm'"),
    ((GKE, *GKE_FLAGS, '--', 'launch.train', 'a\nb'), 'a line break'),
  ],
)
def test_a_wrong_argument_gets_one_sentence(tmp_path, command, match):
  environment = stubs(tmp_path, 'gcloud', 'kubectl')
  done = run(*command, env=environment)
  assert done.returncode == 2
  assert re.fullmatch(f'error: .*{match}.*\n', done.stderr)
  assert not list(tmp_path.glob('*.jsonl'))


@pytest.mark.parametrize(
  ('recipe', 'tool', 'flags'),
  [
    (TPU_POD, 'gcloud', ('--name=n', '--zone=z')),
    (GKE, 'kubectl', GKE_FLAGS),
  ],
)
def test_a_recipe_whose_tool_is_missing_names_it(tmp_path, recipe, tool, flags):
  for name in ('bash', 'dirname', 'env', 'sed', 'paste'):
    (tmp_path / name).symlink_to(shutil.which(name))
  environment = {'PATH': str(tmp_path)}
  done = run(recipe, *flags, '--', 'launch.train', env=environment)
  assert done.returncode == 2
  assert done.stderr.startswith(f'error: {tool} is not on PATH; ')


@pytest.mark.parametrize(
  ('recipe', 'ends'),
  [(TPU_POD, '\n\nset '), (GKE, '\n\nset '), (SBATCH, '\n#SBATCH')],
)
def test_a_recipe_describes_itself(recipe, ends):
  done = run('bash', recipe, '--help')
  assert done.returncode == 0
  text = recipe.read_text()
  top = text[: text.index(ends)].splitlines()[1:]
  assert done.stdout.splitlines() == [
    line.removeprefix('#').removeprefix(' ') for line in top
  ]


# Slurm for real.

SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
# A job queued again waits for its old credential to expire; 5 s is the least.
AuthInfo=socket={folder}/munge.sock,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
KillWait=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=100 Gres=gpu:2
PartitionName=low Nodes={host} Default=YES PriorityTier=1 GraceTime=60
PartitionName=high Nodes={host} PriorityTier=2 PreemptMode=OFF
"""
# Two devices that every machine has, as if they were GPUs.
GRES_CONF = """
NodeName={host} Name=gpu File=/dev/null
NodeName={host} Name=gpu File=/dev/zero
"""
SLURM_PROGRAMS = (
  *('munged', 'slurmctld', 'slurmd', 'setpriv'),
  *('sbatch', 'scancel', 'scontrol', 'sinfo', 'squeue', 'srun'),
)
# A program that saves when it is told to stop, and goes on when it is started
# again. Its tasks end a moment apart, and then nothing protects them.
STAND_IN = """
import json, os, pathlib, signal, sys, time

task = int(os.environ['SLURM_PROCID'])
attempt = int(os.environ.get('SLURM_RESTART_COUNT', 0))
kind = sys.argv[1]

def note(what, **more):
  folder = pathlib.Path(os.environ['SLURM_JOB_ID'])
  folder.mkdir(exist_ok=True)
  path = folder / f'{what}-{attempt}-{task}'
  path.with_suffix('.tmp').write_text(json.dumps(more))
  path.with_suffix('.tmp').rename(path)

told = []
if kind == 'stops':
  signal.signal(signal.SIGTERM, lambda *_: told.append(True))
note(
  'began',
  argv=sys.argv[1:],
  cwd=os.getcwd(),
  gpus=os.environ.get('CUDA_VISIBLE_DEVICES'),
  taken=os.environ.get('JAX_LOCAL_DEVICE_IDS'),
  executable=sys.executable,
)
if kind == 'fails':
  sys.exit(2)
if kind == 'fails-alone' and task == 1:
  sys.exit(3)
if kind == 'fails-alone' or not attempt:
  while not told:
    time.sleep(0.05)
  note('saved')
  signal.signal(signal.SIGTERM, signal.SIG_DFL)
  time.sleep(1.5 * task)
  sys.exit(75)
note('finished')
"""


class Slurm:
  """A cluster of this machine: two tasks, two GPUs that are none.

  Attributes:
    environment: What its client programs need.
  """

  def __init__(self, folder):
    self.environment = {
      **{k: v for k, v in os.environ.items() if k != 'XLA_FLAGS'},
      'SLURM_CONF': str(folder / 'slurm.conf'),
      'ADVSPEECH_PYTHON': sys.executable,
    }

  def __call__(self, *command, cwd=None):
    done = run(*command, env=self.environment, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()

  def submit(self, cwd, *args, flags=()):
    """Returns the number of a job of two tasks; it writes to cwd/log."""
    return self(
      *('sbatch', '--parsable', '--output=log', '--ntasks-per-node=2'),
      *('--gpus-per-node=2', *flags, SBATCH, *args),
      cwd=cwd,
    )

  def preempt(self):
    """Runs a job that takes the whole cluster for a moment."""
    self(
      *('sbatch', '--partition=high', '--ntasks=2', '--gpus-per-node=2'),
      *('--output=/dev/null', '--wrap=true'),
    )

  def job(self, number):
    """Returns what Slurm knows of a job, as {'JobState': 'RUNNING', ...}."""
    text = self('scontrol', '--oneliner', 'show', 'job', number)
    return dict(re.findall(r'(\S+?)=(\S*)', text))

  def end(self, number, timeout_s=60):
    """Returns what Slurm knows of a job once it is in no queue any more."""
    until(
      lambda: not self('squeue', '--noheader', f'--jobs={number}'), timeout_s
    )
    return self.job(number)


@pytest.fixture(scope='session')
def slurm():
  missing = [name for name in SLURM_PROGRAMS if not shutil.which(name)]
  if missing:
    pytest.skip(f'not installed: {", ".join(missing)}')
  if os.geteuid() != 0:
    pytest.skip("Slurm's daemons are started by root only")
  with contextlib.ExitStack() as stack:
    folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    with contextlib.ExitStack() as sockets:
      ports = []
      for _ in range(2):
        listener = sockets.enter_context(socket.create_server(('', 0)))
        ports.append(listener.getsockname()[1])
    host = socket.gethostname().partition('.')[0]
    values = {'host': host, 'folder': folder, 'ports': ports}
    (folder / 'slurm.conf').write_text(SLURM_CONF.format(**values))
    (folder / 'gres.conf').write_text(GRES_CONF.format(**values))
    (folder / 'key').write_bytes(os.urandom(1024))
    (folder / 'key').chmod(0o400)
    for name in ('state', 'spool'):
      (folder / name).mkdir()
    cluster = Slurm(folder)

    def start(name, *flags):
      # Should this process be killed, so are they.
      daemon = subprocess.Popen(
        ['setpriv', '--pdeathsig', 'TERM', name, *flags],
        env=cluster.environment,
        stdout=stack.enter_context(open(folder / f'{name}.log', 'w')),
        stderr=subprocess.STDOUT,
      )
      stack.callback(stop, daemon)

    def stop(daemon):
      daemon.terminate()
      try:
        daemon.wait(20)
      except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()

    start(
      *('munged', '--foreground', '--force', f'--key-file={folder}/key'),
      *(f'--socket={folder}/munge.sock', f'--pid-file={folder}/munged.pid'),
      *(f'--seed-file={folder}/seed', f'--log-file={folder}/munged-own.log'),
    )
    until((folder / 'munge.sock').exists)
    start('slurmctld', '-D')
    start('slurmd', '-D')
    until(lambda: 'idle' in run('sinfo', env=cluster.environment).stdout)

    @stack.callback
    def cancel():
      run('scancel', '--user=root', env=cluster.environment)
      until(lambda: not cluster('squeue', '--noheader'))

    yield cluster


@pytest.fixture
def submit_dir(tmp_path):
  (tmp_path / 'stand_in.py').write_text(STAND_IN)
  return tmp_path


def noted(submit_dir, number, *names):
  """Returns whether both tasks of the job left all of these notes."""
  paths = [submit_dir / number / f'{n}-{t}' for n in names for t in (0, 1)]
  return all(path.exists() for path in paths)


def test_slurm_job_asked_to_stop_is_queued_again(slurm, submit_dir):
  number = slurm.submit(submit_dir, 'stand_in', 'stops', *NASTY)
  until(lambda: noted(submit_dir, number, 'began-0'))
  # What --signal=TERM@120 does two minutes before the time limit.
  slurm('scancel', '--signal=TERM', number)
  job = slurm.end(number)
  log = (submit_dir / 'log').read_text()
  assert job['JobState'] == 'COMPLETED', log
  assert job['Restarts'] == '1'
  assert noted(submit_dir, number, 'saved-0', 'began-1', 'finished-1')
  for attempt in (0, 1):
    for task in (0, 1):
      note = submit_dir / number / f'began-{attempt}-{task}'
      assert json.loads(note.read_text()) == {
        'argv': ['stops', *NASTY],
        'cwd': str(submit_dir),
        # JAX takes the one whose number is SLURM_LOCALID.
        'gpus': '0,1',
        'taken': None,
        'executable': sys.executable,
      }
  assert 'exit code 75' in log  # of the first attempt: the log is not emptied


def test_slurm_job_preempted_saves_and_goes_on(slurm, submit_dir):
  number = slurm.submit(submit_dir, 'stand_in', 'stops')
  until(lambda: noted(submit_dir, number, 'began-0'))
  slurm.preempt()
  job = slurm.end(number)
  assert job['JobState'] == 'COMPLETED', (submit_dir / 'log').read_text()
  assert job['Restarts'] == '1'
  assert noted(submit_dir, number, 'saved-0', 'began-1', 'finished-1')


def test_slurm_job_cancelled_saves_and_stays_away(slurm, submit_dir):
  number = slurm.submit(submit_dir, 'stand_in', 'stops')
  until(lambda: noted(submit_dir, number, 'began-0'))
  slurm('scancel', number)
  job = slurm.end(number)
  assert job['JobState'] == 'CANCELLED'
  assert job['Restarts'] == '0'
  assert noted(submit_dir, number, 'saved-0')
  assert not noted(submit_dir, number, 'began-1')


def test_slurm_job_that_fails_ends_with_its_code(slurm, submit_dir):
  number = slurm.submit(submit_dir, 'stand_in', 'fails')
  job = slurm.end(number)
  assert (job['JobState'], job['ExitCode']) == ('FAILED', '2:0')
  assert job['Restarts'] == '0'


def test_slurm_task_that_fails_alone_ends_the_others(slurm, submit_dir):
  number = slurm.submit(submit_dir, 'stand_in', 'fails-alone')
  job = slurm.end(number)
  assert job['JobState'] == 'FAILED'
  assert job['ExitCode'] != '0:0'
  assert job['Restarts'] == '0'


def test_slurm_task_of_a_node_takes_all_its_gpus(slurm, submit_dir):
  flags = ['--ntasks-per-node=1']
  number = slurm.submit(submit_dir, 'stand_in', 'fails', flags=flags)
  job = slurm.end(number)
  assert job['ExitCode'] == '2:0'
  (note,) = (submit_dir / number).glob('began-*')
  assert json.loads(note.read_text())['taken'] == '0,1'


def test_slurm_job_with_tasks_that_share_a_gpu_is_refused(slurm, submit_dir):
  flags = ['--gpus-per-node=1']
  number = slurm.submit(submit_dir, 'stand_in', 'fails', flags=flags)
  job = slurm.end(number)
  assert job['ExitCode'] == '2:0'
  assert 'error: one task a GPU' in (submit_dir / 'log').read_text()
  assert not (submit_dir / number).exists()


@pytest.mark.slow
def test_slurm_training_preempted_goes_on_where_it_was(
  slurm, espeak_dir, tmp_path
):
  """Two processes train one model, are pre-empted, and finish it."""
  workdir = tmp_path / 'run'
  number = slurm.submit(
    ROOT,
    'launch.train',
    '--distributed=on',
    '--config.clip_s=0.4',
    '--config.model.features=2',
    '--config.model.hidden_features=4',
    '--config.training.num_epochs=12',
    '--config.training.batch_size=64',
    f'--config.data_dir={espeak_dir}',
    f'--workdir={workdir}',
    '--model=wavernn',
    '--seed=0',
    flags=[f'--output={tmp_path}/log'],
  )
  metrics = workdir / 'wavernn-seed0' / 'metrics.jsonl'
  until(lambda: metrics.exists() and '"epoch": 2' in metrics.read_text(), 180)
  slurm.preempt()
  job = slurm.end(number, timeout_s=180)
  log = (tmp_path / 'log').read_text()
  assert job['JobState'] == 'COMPLETED', log
  assert job['Restarts'] == '1'
  assert log.count('the same command goes on from here') >= 1, log
  assert 'wavernn seed 0: test accuracy' in log
  epochs = [json.loads(x)['epoch'] for x in metrics.read_text().splitlines()]
  assert epochs == list(range(1, 13))
  summary = json.loads((workdir / 'wavernn-seed0/summary.json').read_text())
  assert summary['num_epochs'] == 12
