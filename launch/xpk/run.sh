#!/usr/bin/env bash
# Runs a program of launch/ as a workload of xpk, on a GKE cluster that xpk made,
# one process a node:
#
#   launch/xpk/run.sh --name=NAME --cluster=CLUSTER --tpu_type=v5litepod-16 \
#     --image=IMAGE -- launch.train --config=... --workdir=/mnt/shared/runs/...
#   launch/xpk/run.sh --name=NAME --cluster=CLUSTER --gpu_type=h100-80gb-8 \
#     --nodes=2 --image=IMAGE -- launch.train ...
#
#   --name          of the workload: a-z, 0-9 and -, at most 40 characters
#   --cluster       of xpk; with --project=PROJECT and --zone=ZONE if they are
#                   not gcloud's own
#   --tpu_type      as xpk names it; --slices=N for more than one
#   --gpu_type      or that, as xpk names it; --nodes=N for more than one
#   --image         has the repository as its working directory, installed with
#                   '.[tpu]' or '.[cuda]': launch/docker/Dockerfile
#   --storage       of xpk (`xpk storage list`): Filestore, seen by all nodes
#   --python        of the image; python if it is not given
#   --max_restarts  after a stop (code 75) or the loss of a node; 100 if it is
#                   not given
#   --dry_run       print the xpk command and run nothing
#
# Needs: bash 4.4 and xpk, logged in.
#
# xpk restarts a workload on the codes 42 and 127 to 255, as it does here on 75;
# any other failure ends it.

set -euo pipefail

# shellcheck source=/dev/null
source "$(dirname "$0")/../recipe.bash"

name='' cluster='' project='' zone='' image='' storage='' dry_run=''
tpu='' gpu='' slices='' nodes=''
python=python
max_restarts=100
while [[ $# -gt 0 && $1 != -- ]]; do
  case $1 in
    --name=*) name=${1#*=} ;;
    --cluster=*) cluster=${1#*=} ;;
    --project=*) project=${1#*=} ;;
    --zone=*) zone=${1#*=} ;;
    --tpu_type=*) tpu=${1#*=} ;;
    --gpu_type=*) gpu=${1#*=} ;;
    --slices=*) slices=${1#*=} ;;
    --nodes=*) nodes=${1#*=} ;;
    --image=*) image=${1#*=} ;;
    --storage=*) storage=${1#*=} ;;
    --python=*) python=${1#*=} ;;
    --max_restarts=*) max_restarts=${1#*=} ;;
    --dry_run) dry_run=1 ;;
    --help | -h) show_help ;;
    *) refuse "$1" ;;
  esac
  shift
done
[[ $name =~ ^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$ ]] ||
  fail "--name must be a-z, 0-9 and -, from a letter on, at most 40, got '$name'"
[[ $cluster ]] || fail '--cluster is missing: which cluster of xpk?'
[[ $image ]] || fail '--image is missing: which container image?'
[[ ($tpu && ! $gpu) || ($gpu && ! $tpu) ]] ||
  fail "give one of --tpu_type and --gpu_type, got '$tpu' and '$gpu'"
[[ ! ($tpu && $nodes) && ! ($gpu && $slices) ]] ||
  fail '--slices are of a --tpu_type and --nodes of a --gpu_type'
for count in "${slices:-1}" "${nodes:-1}"; do
  [[ $count =~ ^[1-9][0-9]*$ ]] ||
    fail "--slices and --nodes must be 1 or more, got '$count'"
done
[[ $max_restarts =~ ^[0-9]+$ ]] ||
  fail "--max_restarts must be a whole number, got '$max_restarts'"
[[ ${2-} && $2 != -* ]] || fail 'name a module behind --, as in: -- launch.train'
shift
check_workdir "$@"
for word in "$python" "$@"; do
  # xpk puts the command between double quotes too.
  [[ $word != *[\'\"\\]* && $word != *[[:cntrl:]]* ]] ||
    fail "xpk cannot pass on quotes, backslashes or line breaks, got $word"
done

# TPUs: GKE tells JAX. GPUs: xpk's variables, of which JAX reads half.
program=("$python" -m "$1")
place=''
if [[ $tpu ]]; then
  program+=(--distributed=on)
else
  # shellcheck disable=SC2016 # is expanded in the container
  place=' --coordinator_address=$JAX_COORDINATOR_ADDRESS:$JAX_COORDINATOR_PORT'
  # shellcheck disable=SC2016
  place+=' --num_processes=$NNODES --process_id=$NODE_RANK'
fi
program+=("${@:2}")
# xpk sends SIGTERM to the shell of the command: exec. Kubernetes takes $$ for $.
line="exec ${program[*]@Q}"
command=(
  xpk workload create --workload="$name" --cluster="$cluster"
  ${project:+--project="$project"}
  ${zone:+--zone="$zone"}
  ${tpu:+--tpu-type="$tpu" --num-slices="${slices:-1}"}
  ${gpu:+--device-type="$gpu" --num-nodes="${nodes:-1}"}
  --docker-image="$image"
  ${storage:+--storage="$storage"}
  --max-restarts="$max_restarts"
  --restart-on-exit-codes=75
  --termination-grace-period-seconds=120
  --command="${line//\$/\$\$}$place"
)
if [[ $dry_run ]]; then
  echo "${command[*]@Q}"
  exit
fi
need xpk
exec "${command[@]}"
