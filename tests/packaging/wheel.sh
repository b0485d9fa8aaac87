#!/usr/bin/env bash
# Builds the wheel of the Python package in build/wheel, with the tools of an environment in build/python, checks that
# its tag says which glibc it needs, that the extension keeps to the stable ABI and finds the library beside it and
# nowhere else, and installs it there.
set -eu -o pipefail
cd "$(dirname "$0")/../.."
home=build/python wants=bindings/python/tests/requirements.txt
pip=("$home/bin/pip" -q --disable-pip-version-check)

if ! cmp -s "$wants" "$home/requirements.txt" || [ ! -d "$home/wheels" ]; then
  rm -rf "$home"
  "${PYTHON:-python3}" -m venv "$home"
  "${pip[@]}" install -r "$wants"
  "${pip[@]}" download --no-deps -d "$home/wheels" "$(grep '^setuptools==' "$wants")" # what a plain pip install fetches
  cp "$wants" "$home/requirements.txt"
fi
rm -rf build/wheel
"${pip[@]}" wheel --no-deps --no-build-isolation -w build/wheel bindings/python
rm -rf bindings/python/build bindings/python/lyquor.egg-info # what setuptools leaves behind
wheel=$(echo build/wheel/*.whl)
tag=$(sed -n 's/.*-cp311-abi3-\(manylinux_.*\)\.whl$/\1/p' <<<"$wheel")
[ -n "$tag" ] || { echo "$wheel: the tag is not cp311-abi3-manylinux_..." >&2; exit 1; }
"$home/bin/auditwheel" show "$wheel" | tr '\n' ' ' | grep "platform tag: \"$tag\"" >/dev/null ||
  { echo "$wheel: its tag is not what auditwheel finds:" >&2; "$home/bin/auditwheel" show "$wheel" >&2; exit 1; }
"$home/bin/abi3audit" --strict "$wheel"
"$home/bin/python" -m zipfile -l "$wheel" | grep '/licenses/LICENSE ' >/dev/null || # grep -q would not read on
  { echo "$wheel: the licence is not in it" >&2; exit 1; }
"${pip[@]}" install --force-reinstall --no-deps --no-index "$wheel"
extension=$(echo "$home"/lib/python3*/site-packages/lyquor/_lyquor.abi3.so)
path=$(objdump -p "$extension" | sed -n 's/^ *R\(UN\)\?PATH *//p')
[ "$path" = '$ORIGIN' ] || { echo "$wheel: the extension looks for the library in $path" >&2; exit 1; }
echo "$wheel"
