#!/usr/bin/env bash
# Runs the Python package's tests of starting, stopping and leaving programs so many times: `tests/exits.sh 100`. They
# run in suite python too, once. Says how many runs passed, and what the others said; one that hangs is stopped.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
source tests/suites.sh
source tests/repeat.sh
tests/packaging/wheel.sh >/dev/null || exit 1

RUNNER='timeout --kill-after=5 300' passed=0 start=$SECONDS
for ((i = 1; i <= runs; i++)); do
  one "run $i" python_tests python bindings/python/tests/test_process.py
done
report bindings/python/tests/test_process.py
exit $failed
