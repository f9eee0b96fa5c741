#!/usr/bin/env bash
# Runs a program of launch/ on the GPU nodes of a Kubernetes cluster, or on a TPU
# slice of GKE, one pod a node and one process a pod, as a JobSet made from
# jobset.yaml:
#
#   launch/gke/run.sh --name=NAME --image=IMAGE --nodes=2 --gpus=8 \
#     --claim=CLAIM -- launch.train --config=... --workdir=/mnt/shared/runs/...
#   launch/gke/run.sh --name=NAME --image=IMAGE --tpu=tpu-v5-lite-podslice \
#     --topology=4x4 --claim=CLAIM -- launch.train ...
#
#   --name          of the JobSet: a-z, 0-9 and -, at most 40 characters
#   --image         has the repository as its working directory, installed with
#                   '.[cuda]' or '.[tpu]': launch/docker/Dockerfile
#   --nodes         of GPUs, how many; 1 if it is not given
#   --gpus          on each of them, all of which go to the pod; 1 if not given
#   --tpu           GKE's name of the TPU, cloud.google.com/gke-tpu-accelerator
#   --topology      of the slice: 2x4, 4x4x8; the number of nodes follows from it
#   --chips         of a TPU node; 4 if it is not given, or all of a smaller
#                   slice; a 2x4 on one node needs --chips=8
#   --queue         of Kueue, a LocalQueue to wait in; none if it is not given
#   --claim         a PersistentVolumeClaim that all nodes can write to; none if
#                   --workdir and the data lie in buckets
#   --service_account  that may use the buckets; the namespace's if not given
#   --mount         where the pods see it; /mnt/shared if it is not given
#   --python        of the image; python if it is not given
#   --max_restarts  after failures that are the program's own; 3 if not given
#   --dry_run       print the manifest and run nothing
#
# Needs: bash 4.4 and kubectl, pointed at the cluster and the namespace;
# Kubernetes 1.31 or newer with JobSet 0.6 or newer (jobset.sigs.k8s.io).

set -euo pipefail

# shellcheck source=/dev/null
source "$(dirname "$0")/../recipe.bash"

name='' image='' claim='' account='' queue='' dry_run=''
nodes='' gpus='' tpu='' topology='' chips=''
mount=/mnt/shared
python=python
max_restarts=3
while [[ $# -gt 0 && $1 != -- ]]; do
  case $1 in
    --name=*) name=${1#*=} ;;
    --image=*) image=${1#*=} ;;
    --nodes=*) nodes=${1#*=} ;;
    --gpus=*) gpus=${1#*=} ;;
    --tpu=*) tpu=${1#*=} ;;
    --topology=*) topology=${1#*=} ;;
    --chips=*) chips=${1#*=} ;;
    --queue=*) queue=${1#*=} ;;
    --claim=*) claim=${1#*=} ;;
    --service_account=*) account=${1#*=} ;;
    --mount=*) mount=${1#*=} ;;
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
[[ $image ]] || fail '--image is missing: which container image?'
[[ $max_restarts =~ ^[0-9]+$ ]] ||
  fail "--max_restarts must be a whole number, got '$max_restarts'"
label='^[a-z0-9]([-.a-z0-9]{0,61}[a-z0-9])?$'
[[ ! $queue || $queue =~ $label ]] ||
  fail "--queue must be a LocalQueue's name, of a-z, 0-9, - and ., got '$queue'"
if [[ $tpu$topology$chips ]]; then
  [[ $tpu =~ $label && $tpu == tpu* ]] ||
    fail "--tpu must be GKE's name, as tpu-v5-lite-podslice for a v5e or \
tpu-v6e-slice for a v6e, got '$tpu'"
  [[ $topology =~ ^[1-9][0-9]{0,2}(x[1-9][0-9]{0,2}){1,2}$ ]] ||
    fail "--topology must be that of the slice, as 4x4 or 2x2x4, got '$topology'"
  [[ ! $nodes$gpus ]] ||
    fail '--nodes and --gpus are of GPUs; those of a TPU follow from --topology'
  slice=$((${topology//x/*}))
  chips=${chips:-$((slice < 4 ? slice : 4))}
  [[ $chips =~ ^[1-9][0-9]{0,2}$ && $((slice % chips)) == 0 ]] ||
    fail "--chips must divide the $slice of $topology, got '$chips'"
  nodes=$((slice / chips))
else
  nodes=${nodes:-1} gpus=${gpus:-1}
  [[ $nodes =~ ^[1-9][0-9]*$ ]] || fail "--nodes must be 1 or more, got '$nodes'"
  [[ $gpus =~ ^[0-9]+$ ]] || fail "--gpus must be a whole number, got '$gpus'"
fi
[[ ${2-} && $2 != -* ]] || fail 'name a module behind --, as in: -- launch.train'
[[ ! $account || $account =~ $label ]] ||
  fail "--service_account must be of a-z, 0-9, - and ., got '$account'"
shift
[[ $claim || $1 =~ ^launch\.(doctor|plan|benchmark)$ ||
  " $* " =~ ' --'(workdir|config.data_dir)[=' '](gs|s3):// ]] ||
  fail "--claim is missing: which PersistentVolumeClaim? None is needed \
where --workdir and the data lie in buckets, gs:// or s3://"

check_workdir "$@"
[[ $mount == /* ]] || fail "--mount must be a path from / on, got '$mount'"

# Returns $1 as a YAML string.
yaml() {
  [[ $1 != *$'\n'* ]] || fail 'a line break in an argument'
  echo "'${1//\'/\'\'}'"
}

# Returns the arguments from the second on as lines indented by $1 spaces, all
# but the first, whose place is in the manifest.
lines() {
  local indent text=${2-} line
  printf -v indent '\n%*s' "$1" ''
  for line in "${@:3}"; do
    text+=$indent$line
  done
  printf '%s\n' "$text"
}

# GPUs: the processes are told of each other. TPUs: GKE tells JAX, by the
# numbers that the chips have in the slice.
if [[ $tpu ]]; then
  resource="google.com/tpu: $chips"
  # libtpu's, and that on which JAX looks for process 0 of a TPU.
  ports=('- containerPort: 8471' '- containerPort: 8482')
  pod=('nodeSelector:'
    "  cloud.google.com/gke-tpu-accelerator: '$tpu'"
    "  cloud.google.com/gke-tpu-topology: '$topology'")
  place=("--distributed=$( ((nodes > 1)) && echo on || echo off)")
  # All nodes are those of one slice, and nobody else's.
  exclusive=alpha.jobset.sigs.k8s.io/exclusive-topology
  metadata=('annotations:' "  $exclusive: cloud.google.com/gke-nodepool")
else
  resource="nvidia.com/gpu: $gpus"
  ports=('- containerPort: 8476')
  pod=()
  place=(
    "--coordinator_address=$name-worker-0-0.$name:8476"
    "--num_processes=$nodes"
    "--process_id=\$(JOB_COMPLETION_INDEX)"
  )
  metadata=()
fi
if [[ $queue ]]; then
  metadata+=('labels:' "  kueue.x-k8s.io/queue-name: '$queue'")
fi

if [[ $account ]]; then
  pod+=("serviceAccountName: '$account'")
fi
shared='emptyDir: {}'
if [[ $claim ]]; then
  shared=$(lines 14 'persistentVolumeClaim:' "  claimName: $(yaml "$claim")")
fi

# In a container's command $(X) is a variable and $$ is $.
command=()
for word in "$python" -m "$@"; do
  command+=("- $(yaml "${word//\$/\$\$}")")
done
command+=("${place[@]/#/- }")

manifest=$(<"$(dirname "$0")/jobset.yaml")
manifest=${manifest//@NAME@/"$name"}
manifest=${manifest//@NODES@/"$nodes"}
manifest=${manifest//@MAX_RESTARTS@/"$max_restarts"}
manifest=${manifest//@METADATA@/"$(lines 2 "${metadata[@]}")"}
manifest=${manifest//@POD@/"$(lines 12 "${pod[@]}")"}
manifest=${manifest//@RESOURCE@/"$resource"}
manifest=${manifest//@PORTS@/"$(lines 14 "${ports[@]}")"}
manifest=${manifest//@IMAGE@/"$(yaml "$image")"}
manifest=${manifest//@SHARED@/"$shared"}
manifest=${manifest//@MOUNT@/"$(yaml "$mount")"}
manifest=${manifest//@COMMAND@/"$(lines 14 "${command[@]}")"}

if [[ $dry_run ]]; then
  printf '%s\n' "$manifest"
else
  need kubectl
  kubectl apply -f - <<<"$manifest"
fi
