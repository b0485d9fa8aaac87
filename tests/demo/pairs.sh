#!/usr/bin/env bash
# Joins processes in C, Python and Rust by one endpoint, each with each of the others, in both roles: lyqcat,
# python -m lyquor.cat, and the crate's example cat. Each sends the Go toolchain's sources to the other at once, and the
# checksums of what went in and what came out are compared. Then the one that dialled is interrupted by SIGINT in the
# middle of it, and has to end at once with the status that says so; and the other one has to know.
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
CARGO_TARGET_DIR=build/rust cargo build -q --locked --release --manifest-path bindings/rust/Cargo.toml -p lyquor \
  --features vendored --example cat 2>"$dir/cargo.err" || fail "the crate's example was not built"
declare -A cat=(
  [C]="build/lyqcat" [Python]="build/python/bin/python -P -m lyquor.cat" [Rust]="build/rust/release/examples/cat")
mkfifo "$dir/pipe"

# await COMMAND... waits until that succeeds.
await() {
  for _ in $(seq "$((10 * limit))"); do
    "$@" && return
    sleep 0.1
  done
  return 1
}

has_address() { address=$(sed -n 's/^listening on //p' "$dir/a.err") && [ -n "$address" ]; }

has_ended() { ! kill -0 "$1" 2>/dev/null; }

# listen LANGUAGE OUTPUT starts a listener in the background and sets address.
listen() {
  : >"$dir/a.err"
  # shellcheck disable=SC2086 # Commands are words.
  timeout "$limit" ${cat[$1]} -l --stats tcp://127.0.0.1:0 <"$dir/in.tar" >"$2" 2>"$dir/a.err" &
  listener=$!
  await has_address || fail "the listener in $1 did not say where it listens"
}

sum() { sha256sum <"$1"; }

# both_ways LISTENER DIALLER, languages.
both_ways() {
  local name="$1 listens, $2 dials" rate
  listen "$1" "$dir/a.out"
  # shellcheck disable=SC2086
  timeout "$limit" ${cat[$2]} --stats "$address" <"$dir/in.tar" >"$dir/b.out" 2>"$dir/b.err" ||
    fail "$name: the dialler failed"
  wait "$listener" || fail "$name: the listener failed"
  [ "$(sum "$dir/a.out")" = "$sent" ] && [ "$(sum "$dir/b.out")" = "$sent" ] || fail "$name: the checksums differ"
  rate=$(sed -n 's/.*; \([0-9.]* s, .*\)/\1/p' "$dir/b.err")
  echo "$name: $(stat -c %s "$dir/in.tar") bytes each way, equal; $rate"
}

# interrupted LISTENER DIALLER interrupts a dialler whose input never ends, once something of it has arrived.
interrupted() {
  local name="$2 dials $1" dialler status started
  : >"$dir/begun"
  { head -c 1 >"$dir/begun"; exec cat >/dev/null; } <"$dir/pipe" &
  listen "$1" "$dir/pipe"
  # A shell has what it starts in the background ignore the signal.
  # shellcheck disable=SC2086
  env --default-signal=INT ${cat[$2]} "$address" </dev/zero >/dev/null 2>"$dir/b.err" &
  dialler=$!
  await test -s "$dir/begun" || fail "$name: nothing arrived"
  started=$SECONDS
  kill -INT "$dialler"
  await has_ended "$dialler" || fail "$name: did not end after SIGINT"
  wait "$dialler"
  status=$?
  [ "$status" -eq 130 ] || fail "$name: ended with status $status after SIGINT, not with 130"
  [ "$((SECONDS - started))" -le 4 ] || fail "$name: took $((SECONDS - started)) s to end"
  [ ! -s "$dir/b.err" ] || fail "$name: said more than it should"
  wait "$listener"
  [ "$?" -eq 2 ] || fail "$name: its peer did not see a broken connection"
}

tar -C "$(go env GOROOT)" -cf "$dir/in.tar" src || fail "cannot make the archive"
sent=$(sum "$dir/in.tar")
for listener_in in C Python Rust; do
  for dialler_in in C Python Rust; do
    [ "$listener_in" = "$dialler_in" ] || both_ways "$listener_in" "$dialler_in"
  done
done
for listener_in in C Python Rust; do
  for dialler_in in C Python Rust; do
    [ "$listener_in" = "$dialler_in" ] || interrupted "$listener_in" "$dialler_in"
  done
done
echo "each ends at once when it is interrupted, and its peer knows"
