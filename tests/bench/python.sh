#!/usr/bin/env bash
# Measures the Python package's wheel in the environment of its tests.
set -eu -o pipefail
cd "$(dirname "$0")/../.."
tests/packaging/wheel.sh >/dev/null
build/python/bin/python tests/bench/python_bench.py "$@"
