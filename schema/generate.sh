#!/bin/sh
# Makes engine/wire/fb from the schemas beside this script.
#
# The compiler is built, once, from the C++ sources inside the very Go module that
# go.mod pins: so the generated code and the runtime that it calls cannot differ in
# version, and nothing but the Go module proxy and a C++ compiler is needed.
set -eu

cd "$(dirname "$0")/.."
module=github.com/google/flatbuffers

# field NAME prints one string field of the module's description in JSON.
field() { go mod download -json "$module" | sed -n "s/^	*\"$1\": \"\(.*\)\",*\$/\1/p"; }
version=$(field Version)
source=$(field Dir)
[ -n "$version" ] && [ -d "$source" ] || { echo "generate.sh: $module is not in the module cache" >&2; exit 1; }
build=build/flatc/$version
flatc=$build/flatc

if [ ! -x "$flatc" ]; then
	# One job and no optimisation: the compiler runs for milliseconds, and its build
	# should leave the machine to others.
	cmake -S "$source" -B "$build" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O0 \
		-DFLATBUFFERS_BUILD_TESTS=OFF -DFLATBUFFERS_BUILD_FLATLIB=OFF -DFLATBUFFERS_INSTALL=OFF
	cmake --build "$build" --target flatc -j1
fi

# A fresh directory, so that what a schema no longer says does not live on.
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for schema in frame control event snapshot; do
	"$flatc" --go --gen-onefile --go-namespace fb -o "$out" "schema/$schema.fbs"
done
gofmt -w "$out"
mkdir -p engine/wire/fb
rm -f engine/wire/fb/*_generated.go
find "$out" -name '*.go' -exec mv {} engine/wire/fb/ \;
