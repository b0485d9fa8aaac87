#!/usr/bin/env bash
# Kills a ledger (examples/c/ledger.c) again and again while numbers are sent to it. In the end its file has them all.
set -u -o pipefail
ledger=$1 count=200000 dir=$(mktemp -d) server= sender=
trap 'kill -9 $server $sender 2>/dev/null; rm -rf "$dir"' EXIT
fail() {
  echo "ledger: $*" >&2
  cat "$dir"/*.err >&2
  exit 1
}

# await WHAT COMMAND... waits until the command succeeds.
await() {
  local what=$1
  shift
  for _ in $(seq 1200); do
    "$@" && return
    sleep 0.05
  done
  fail "waited in vain: $what"
}
holds() { [ -s "$dir/file" ] && [ "$(($(stat -c %s "$dir/file") / 8))" -ge "$1" ]; }
listens() { grep -q '^listening on ' "$dir/server.err"; }
start() {
  "$ledger" serve "$1" "$dir/file" 2>"$dir/server.err" &
  server=$!
  await 'the ledger listens' listens
}

start tcp://127.0.0.1:0
address=$(sed -n 's/^listening on //p' "$dir/server.err")
timeout 120 "$ledger" send "$address" $count 2>"$dir/sender.err" &
sender=$!
for kill in 1 2 3; do
  await 'numbers come' holds $((kill * count / 5))
  kill -9 $server
  wait $server 2>/dev/null
  start "$address"
done
wait $sender || fail "the sender failed"
sender=
od -An -v -td8 -w8 "$dir/file" | sort -un >"$dir/got"
seq -f '%21.0f' 0 $((count - 1)) | diff - "$dir/got" >"$dir/diff.err" || fail "not each number from 0 to $((count - 1))"
grep -q 'sent again' "$dir/sender.err" || fail "nothing was sent again"
