#!/usr/bin/env bash
# Installs the Python package's wheel in the environment of its tests, and measures it there.
set -eu -o pipefail
cd "$(dirname "$0")/../.."
wheel=$(tests/packaging/wheel.sh | tail -1)
build/python/bin/pip -q --disable-pip-version-check install --force-reinstall --no-deps --no-index "$wheel"
build/python/bin/python -P tests/bench/python_bench.py "$@"
