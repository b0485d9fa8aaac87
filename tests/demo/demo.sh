#!/usr/bin/env bash
# Sends a tar archive of the Go toolchain's sources (over 100 MB) from one lyqcat to another over TCP on loopback, and
# compares the checksums of what went in and what came out. The exit status says whether they agree.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
limit=120 # Seconds that any one step may take.
dir=$(mktemp -d)
listener=
cleanup() {
  [ -z "$listener" ] || kill "$listener" 2>/dev/null
  rm -rf "$dir"
}
trap cleanup EXIT
fail() {
  echo "demo: $*" >&2
  cat "$dir"/*.err >&2 2>/dev/null
  exit 1
}

tar -C "$(go env GOROOT)" -cf "$dir/in.tar" src || fail "cannot make the archive"

timeout "$limit" build/lyqcat --stats -l tcp://127.0.0.1:0 >"$dir/out.tar" 2>"$dir/listener.err" </dev/null &
listener=$!
address=
for _ in $(seq 100); do
  address=$(sed -n 's/^listening on //p' "$dir/listener.err")
  [ -n "$address" ] && break
  kill -0 "$listener" 2>/dev/null || break
  sleep 0.1
done
[ -n "$address" ] || fail "the listener did not say where it listens"

echo "sending $(stat -c %s "$dir/in.tar") bytes to $address"
timeout "$limit" build/lyqcat --stats "$address" <"$dir/in.tar" 2>"$dir/sender.err" >/dev/null ||
  fail "the sender failed"
wait "$listener" || fail "the listener failed"
listener=
sed -n 's/^lyqcat:/sender:  /p' "$dir/sender.err"
sed -n 's/^lyqcat:/receiver:/p' "$dir/listener.err"

sent=$(sha256sum <"$dir/in.tar")
received=$(sha256sum <"$dir/out.tar")
echo "sent      ${sent%% *}"
echo "received  ${received%% *}"
[ "$sent" = "$received" ] || fail "the checksums differ"
echo "equal"
