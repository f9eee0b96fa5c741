#!/usr/bin/env bash
# Runs a program of launch/ on all workers of a TPU VM or pod slice, together:
#
#   launch/tpu_pod/run.sh --name=NAME --zone=ZONE -- \
#     launch.train --config=... --workdir=/mnt/shared/runs/...
#
#   --project=PROJECT  if it is not gcloud's own
#   --dir=DIR          the repository on the workers, absolute or from the home
#                      folder; advspeech if it is not given
#   --python=PYTHON    the Python there, on PATH, absolute or from DIR, as in
#                      --python=.venv/bin/python; python3 if it is not given
#   --dry_run          print the gcloud command and run nothing
#
# Needs: bash 4.4 and gcloud, logged in; on every worker the repository,
# installed with '.[tpu]', and --workdir on a file system that all of them see.
#
# Ends with a worker's code. The program goes on when gcloud is interrupted or
# loses its connection; launch/README.md says how to stop it.

set -euo pipefail

# shellcheck source=/dev/null
source "$(dirname "$0")/../recipe.bash"

name='' zone='' project='' dry_run=''
dir=advspeech
python=python3
while [[ $# -gt 0 && $1 != -- ]]; do
  case $1 in
    --name=*) name=${1#*=} ;;
    --zone=*) zone=${1#*=} ;;
    --project=*) project=${1#*=} ;;
    --dir=*) dir=${1#*=} ;;
    --python=*) python=${1#*=} ;;
    --dry_run) dry_run=1 ;;
    --help | -h) show_help ;;
    *) refuse "$1" ;;
  esac
  shift
done
[[ $name ]] || fail '--name is missing: which TPU VM?'
[[ $zone ]] || fail '--zone is missing: where is it?'
[[ ${2-} && $2 != -* ]] || fail 'name a module behind --, as in: -- launch.train'
shift

# Quoted once for the shell of the workers. ~ would not be expanded in quotes,
# and ssh starts at home.
dir=${dir#'~/'}
program=("$python" -m "$@")
command=(
  gcloud compute tpus tpu-vm ssh "$name" --zone="$zone"
  ${project:+--project="$project"}
  --worker=all
  --command="cd ${dir@Q} && exec ${program[*]@Q}"
)
if [[ $dry_run ]]; then
  echo "${command[*]@Q}"
  exit
fi
need gcloud
exec "${command[@]}"
