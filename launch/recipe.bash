# shellcheck shell=bash
# What recipes share: a wrong argument ends them with one sentence and code 2.

fail() {
  echo "error: $1" >&2
  exit 2
}

# Prints the recipe's description, the comment at its top.
show_help() {
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
  exit
}

# Refuses an argument that is none of the recipe's.
refuse() {
  local known
  known=$(sed -n 's/^    \(--[a-z_]*=\)\*).*/\1/p' "$0" | paste -sd ' ')
  fail "unknown argument $1; there are $known --dry_run --help, those of the \
program go behind --"
}

# Refuses a --workdir among the program's arguments that ends with a container.
check_workdir() {
  local word
  for word in "$@"; do
    [[ $word != --workdir=* || $word =~ ^--workdir=(/|[a-z0-9]+://) ]] ||
      fail "--workdir must be a path of a volume, from / on, or in a bucket, got \
'${word#*=}', which would be lost with the container"
  done
}

# Refuses to go on without a program.
need() {
  command -v "$1" >/dev/null ||
    fail "$1 is not on PATH; install it and log in, or see with --dry_run what \
it would be given"
}
