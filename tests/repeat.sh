# What the scripts share that run tests many times; they source this file with the number of RUNS as $1.

[[ ${1:-} =~ ^[1-9][0-9]*$ ]] || { echo "usage: $0 RUNS, at least 1" >&2; exit 2; }
runs=$1 failed=0

# one LABEL COMMAND... makes a run, and counts it.
one() {
  local label=$1 output
  shift
  if output=$("$@" 2>&1); then
    passed=$((passed + 1))
  else
    echo "not ok - $label"
    sed 's/^/# /' <<<"$output"
  fi
}

# report WHAT says how many runs passed.
report() {
  echo "$1: $passed of $runs runs passed, in $((SECONDS - start)) s"
  [ "$passed" -eq "$runs" ] || failed=1
}
