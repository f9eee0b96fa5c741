#!/usr/bin/env bash
# Runs a program of launch/ on the nodes of a Kubernetes cluster with Kubeflow
# Trainer, one process a node, as a TrainJob made from trainjob.yaml:
#
#   launch/kubeflow/run.sh --name=NAME --image=IMAGE --nodes=2 --gpus=8 \
#     --claim=CLAIM -- launch.train --config=... --workdir=/mnt/shared/runs/...
#
#   --name      of the TrainJob: a-z, 0-9 and -, at most 40 characters
#   --image     has the repository as its working directory, installed with
#               '.[cuda]': launch/docker/Dockerfile
#   --nodes     how many; 1 if it is not given
#   --gpus      on each of them, all of which go to the process; 1 if not given
#   --claim     a PersistentVolumeClaim that all nodes can write to; none if
#               --workdir and the data lie in buckets
#   --service_account  that may use the buckets; the namespace's if not given
#   --mount     where the nodes see it; /mnt/shared if it is not given
#   --python    of the image; python if it is not given
#   --runtime   a ClusterTrainingRuntime for JAX whose job and container are
#               both `node`; jax-distributed if it is not given
#   --queue     of Kueue, a LocalQueue to wait in; none if it is not given
#   --dry_run   print the manifest and run nothing
#
# Needs: bash 4.4 and kubectl, pointed at the cluster and the namespace; Kubeflow
# Trainer 2.2 or newer.
#
# What is started again after a failure or code 75 is the runtime's to say:
# jax-distributed leaves it to Kubernetes, which starts what failed again, six
# times in all. A runtime of your own can have the two failure policies of
# launch/gke/jobset.yaml.

set -euo pipefail

# shellcheck source=/dev/null
source "$(dirname "$0")/../recipe.bash"

name='' image='' claim='' account='' queue='' dry_run=''
nodes=1
gpus=1
mount=/mnt/shared
python=python
runtime=jax-distributed
while [[ $# -gt 0 && $1 != -- ]]; do
  case $1 in
    --name=*) name=${1#*=} ;;
    --image=*) image=${1#*=} ;;
    --nodes=*) nodes=${1#*=} ;;
    --gpus=*) gpus=${1#*=} ;;
    --claim=*) claim=${1#*=} ;;
    --service_account=*) account=${1#*=} ;;
    --mount=*) mount=${1#*=} ;;
    --python=*) python=${1#*=} ;;
    --runtime=*) runtime=${1#*=} ;;
    --queue=*) queue=${1#*=} ;;
    --dry_run) dry_run=1 ;;
    --help | -h) show_help ;;
    *) refuse "$1" ;;
  esac
  shift
done
[[ $name =~ ^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$ ]] ||
  fail "--name must be a-z, 0-9 and -, from a letter on, at most 40, got '$name'"
[[ $image ]] || fail '--image is missing: which container image?'
[[ $nodes =~ ^[1-9][0-9]*$ ]] || fail "--nodes must be 1 or more, got '$nodes'"
[[ $gpus =~ ^[0-9]+$ ]] || fail "--gpus must be a whole number, got '$gpus'"
label='^[a-z0-9]([-.a-z0-9]{0,61}[a-z0-9])?$'
[[ $runtime =~ $label ]] ||
  fail "--runtime must be the name of one, as jax-distributed, got '$runtime'"
[[ ! $queue || $queue =~ $label ]] ||
  fail "--queue must be a LocalQueue's name, of a-z, 0-9, - and ., got '$queue'"
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

# In a container's command $(X) is a variable and $$ is $.
command=''
for word in "$python" -m "$@"; do
  command+="${command:+$'\n'    }- $(yaml "${word//\$/\$\$}")"
done
pod=${account:+"serviceAccountName: '$account'"}
shared='emptyDir: {}'
if [[ $claim ]]; then
  shared=$'persistentVolumeClaim:\n'
  shared+="                        claimName: $(yaml "$claim")"
fi
metadata=${queue:+$'labels:\n    kueue.x-k8s.io/queue-name: '"'$queue'"}

manifest=$(<"$(dirname "$0")/trainjob.yaml")
manifest=${manifest//@NAME@/"$name"}
manifest=${manifest//@METADATA@/"$metadata"}
manifest=${manifest//@RUNTIME@/"$runtime"}
manifest=${manifest//@NODES@/"$nodes"}
manifest=${manifest//@GPUS@/"$gpus"}
manifest=${manifest//@IMAGE@/"$(yaml "$image")"}
manifest=${manifest//@SHARED@/"$shared"}
manifest=${manifest//@POD@/"$pod"}
manifest=${manifest//@MOUNT@/"$(yaml "$mount")"}
manifest=${manifest//@COMMAND@/"$command"}

if [[ $dry_run ]]; then
  printf '%s\n' "$manifest"
else
  need kubectl
  kubectl apply -f - <<<"$manifest"
fi
