#!/usr/bin/env bash
# Joins a C and a Python process by one endpoint: lyqcat listens, python -m lyquor.cat dials, and then the other way
# round. Each sends the Go toolchain's sources to the other at once, and what came is compared with it. Then each is
# interrupted by SIGINT in the middle of it, and has to end at once with the status that says so.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
limit=120 # Seconds that any one step may take.
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$dir"' EXIT
fail() {
  echo "demo: $*" >&2
  cat "$dir"/*.err >&2 2>/dev/null
  exit 1
}

tests/packaging/wheel.sh >/dev/null 2>"$dir/wheel.err" || fail "the wheel was not built and installed"
c=(build/lyqcat --stats) python=(build/python/bin/python -P -m lyquor.cat --stats)

# listen COMMAND... starts a listener in the background and sets address.
listen() {
  : >"$dir/a.err"
  "$@" -l tcp://127.0.0.1:0 <"$dir/in.tar" >"$dir/a.out" 2>"$dir/a.err" &
  listener=$!
  for _ in $(seq 100); do
    address=$(sed -n 's/^listening on //p' "$dir/a.err")
    [ -z "$address" ] || return 0
    sleep 0.1
  done
  fail "the listener did not say where it listens"
}

both_ways() {
  local name=$1 seconds
  shift
  [ "$name" = "C listens, Python dials" ] && listen "${c[@]}" || listen "${python[@]}"
  timeout "$limit" "$@" "$address" <"$dir/in.tar" >"$dir/b.out" 2>"$dir/b.err" || fail "$name: the dialler failed"
  wait "$listener" || fail "$name: the listener failed"
  cmp "$dir/in.tar" "$dir/a.out" && cmp "$dir/in.tar" "$dir/b.out" || fail "$name: what came is not what was sent"
  seconds=$(sed -n 's/.*; \([0-9.]* s, .*\)/\1/p' "$dir/b.err")
  echo "$name: $(stat -c %s "$dir/in.tar") bytes each way, equal; $seconds"
}

# interrupted NAME COMMAND... interrupts a dialler whose input never ends.
interrupted() {
  local name=$1 status started
  shift
  listen "${c[@]}"
  started=$SECONDS
  # timeout(1) sends SIGINT to a foreground child once it moves data.
  timeout --foreground --signal=INT --preserve-status 2 "$@" "$address" </dev/zero >/dev/null 2>"$dir/b.err"
  status=$?
  [ "$status" -eq 130 ] || fail "$name: ended with status $status after SIGINT, not with 130"
  [ "$((SECONDS - started))" -le 4 ] || fail "$name: took $((SECONDS - started)) s to end"
  ! grep -q Traceback "$dir/b.err" || fail "$name: said more than it should"
  wait "$listener"
  [ "$?" -eq 2 ] || fail "$name: its peer did not see a broken connection"
  echo "$name ends at once when it is interrupted, and its peer knows"
}

tar -C "$(go env GOROOT)" -cf "$dir/in.tar" src || fail "cannot make the archive"
both_ways "C listens, Python dials" "${python[@]}"
both_ways "Python listens, C dials" "${c[@]}"
interrupted Python "${python[@]}"
interrupted C "${c[@]}"
