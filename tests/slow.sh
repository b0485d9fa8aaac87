#!/usr/bin/env bash
# Runs the tests of slow consumers, in C and in Go under the race detector, so many times: `tests/slow.sh 100`. Each of
# them runs in the suites too, a few times. Says how many runs passed, and what the others said.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
source tests/suites.sh
source tests/repeat.sh
eval "$(make -s env)" || exit 1
dir=build/slow
mkdir -p $dir

# What is tested is in these files; their names have no list of their own, which could forget one.
tests=$(sed -n 's/^func \(Test[A-Za-z]*\)(.*/\1/p' engine/driver/slow_test.go engine/driver/crowd_test.go)
# shellcheck disable=SC2086 # Flags are words.
$CC $C_FLAGS -O2 tests/c/slow.c -o $dir/slow -Lbuild -llyquor -pthread "-Wl,-rpath,$PWD/build" || exit 1
$GO test -race -c -o $dir/driver ./engine/driver || exit 1

seed=${SEED:-$(date +%s%N)}
echo "SEED=$seed"
passed=0 start=$SECONDS
for ((i = 0; i < runs; i++)); do
  one "tests/c/slow.c, seed $((seed + i))" $dir/slow $((seed + i)) 1
done
report tests/c/slow.c
for name in $tests; do
  passed=0 start=$SECONDS
  for ((i = 0; i < runs; i++)); do
    one "$name" $dir/driver -test.run "^$name\$" -test.timeout 300s
  done
  report "engine/driver $name"
done
exit $failed
