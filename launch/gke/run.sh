#!/usr/bin/env bash
# Runs a program of launch/ on the GPU nodes of a Kubernetes cluster, one pod a
# node and one process a pod, as a JobSet made from jobset.yaml:
#
#   launch/gke/run.sh --name=NAME --image=IMAGE --nodes=2 --gpus=8 \
#     --claim=CLAIM -- launch.train --config=... --workdir=/mnt/shared/runs/...
#
#   --name          of the JobSet: a-z, 0-9 and -, at most 40 characters
#   --image         has the repository as its working directory, installed with
#                   '.[cuda]'
#   --nodes         how many; 1 if it is not given
#   --gpus          on each of them, all of which go to the pod; 1 if not given
#   --claim         a PersistentVolumeClaim that all nodes can write to
#   --mount         where the pods see it; /mnt/shared if it is not given
#   --python        of the image; python if it is not given
#   --max_restarts  after failures that are the program's own; 3 if not given
#   --dry_run       print the manifest and run nothing
#
# Needs: bash 4.4 and kubectl, pointed at the cluster and the namespace;
# Kubernetes 1.31 or newer with JobSet 0.6 or newer (jobset.sigs.k8s.io).

set -euo pipefail

fail() {
  echo "error: $1" >&2
  exit 2
}

name='' image='' claim='' dry_run=''
nodes=1
gpus=1
mount=/mnt/shared
python=python
max_restarts=3
while [[ $# -gt 0 && $1 != -- ]]; do
  case $1 in
    --name=*) name=${1#*=} ;;
    --image=*) image=${1#*=} ;;
    --nodes=*) nodes=${1#*=} ;;
    --gpus=*) gpus=${1#*=} ;;
    --claim=*) claim=${1#*=} ;;
    --mount=*) mount=${1#*=} ;;
    --python=*) python=${1#*=} ;;
    --max_restarts=*) max_restarts=${1#*=} ;;
    --dry_run) dry_run=1 ;;
    *) fail "unknown argument $1; those of the program go behind --" ;;
  esac
  shift
done
[[ $name =~ ^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$ ]] ||
  fail "--name must be a-z, 0-9 and -, from a letter on, at most 40, got '$name'"
[[ $image ]] || fail '--image is missing: which container image?'
[[ $claim ]] || fail '--claim is missing: which PersistentVolumeClaim?'
[[ $nodes =~ ^[1-9][0-9]*$ ]] || fail "--nodes must be 1 or more, got '$nodes'"
for count in "$gpus" "$max_restarts"; do
  [[ $count =~ ^[0-9]+$ ]] ||
    fail "--gpus and --max_restarts must be whole numbers, got '$count'"
done
[[ ${2-} && $2 != -* ]] || fail 'name a module behind --, as in: -- launch.train'
shift

# Returns $1 as a YAML string.
yaml() {
  [[ $1 != *$'\n'* ]] || fail 'a line break in an argument'
  echo "'${1//\'/\'\'}'"
}

# In a container's command $(X) is a variable and $$ is $.
command=''
for word in "$python" -m "$@"; do
  command+="${command:+$'\n'              }- $(yaml "${word//\$/\$\$}")"
done

manifest=$(<"$(dirname "$0")/jobset.yaml")
manifest=${manifest//@NAME@/"$name"}
manifest=${manifest//@NODES@/"$nodes"}
manifest=${manifest//@GPUS@/"$gpus"}
manifest=${manifest//@MAX_RESTARTS@/"$max_restarts"}
manifest=${manifest//@IMAGE@/"$(yaml "$image")"}
manifest=${manifest//@CLAIM@/"$(yaml "$claim")"}
manifest=${manifest//@MOUNT@/"$(yaml "$mount")"}
manifest=${manifest//@COMMAND@/"$command"}

if [[ $dry_run ]]; then
  printf '%s\n' "$manifest"
else
  kubectl apply -f - <<<"$manifest"
fi
