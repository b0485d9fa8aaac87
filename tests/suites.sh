# The test suites, one function each; tests/run.sh sources this file and says what each shows.

GO=${GO:-go} CC=${CC:-gcc} CXX=${CXX:-g++}
C_FLAGS='-std=gnu11 -g -Wall -Wextra -Wpedantic -Werror -Iinclude'

# check NAME COMMAND... prints ok or not ok, and the command's output where it failed.
check() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    echo "ok - $name"
  else
    echo "not ok - $name"
    sed 's/^/# /' <<<"$output"
    return 1
  fi
}

SIM_SEEDS=${SIM_SEEDS:-1000}

suite_go() {
  {
    $GO test -race -json ./engine/... ./tests/...
    # A build in which a test can have any system call of links and pollers fail.
    $GO test -race -json -tags failing -run EachCallFails ./engine/driver
  } | tests/gotap.py
}

# What is measured, not proven: the race detector would distort it.
suite_memory() {
  $GO test -json ./engine/driver -run 'Memory|Allocations' | tests/gotap.py
}

suite_capi() {
  $GO test -json ./capi/... | tests/gotap.py
}

suite_wasm() {
  local runner
  runner=$($GO env GOROOT)/lib/wasm/go_js_wasm_exec
  # The runner hands its environment to the program, which has little room for it: hence the empty one.
  env -i PATH="$PATH" HOME="$HOME" GOFLAGS="${GOFLAGS:-}" GOOS=js GOARCH=wasm \
    $GO test -exec "$runner" -json ./engine/wire ./engine/outbox ./engine/endpoint ./engine/driver/sched \
    ./engine/transport/mem | tests/gotap.py
}

suite_cross() {
  local platform status=0
  for platform in darwin/arm64 darwin/amd64 windows/amd64 linux/arm64; do
    check "go vet for $platform" env CGO_ENABLED=0 GOOS="${platform%/*}" GOARCH="${platform#*/}" $GO vet ./engine/... ||
      status=1
  done
  return $status
}

# c_programs names the tests of the C API; the send log's stress needs no library and has suites of its own.
c_programs() { ls tests/c/*.c | grep -v '/log_stress'; }

# run_c VARIANT "COMPILER FLAGS" [RUNNER...] builds each C test against build/VARIANT/liblyquor.so and runs it.
run_c() {
  local variant=$1 flags=$2 source program start status=0
  shift 2
  for source in $(c_programs); do
    program=build/$variant/$(basename "$source" .c)
    # shellcheck disable=SC2086 # Flags are words.
    check "$variant: $source compiles" $CC $C_FLAGS $flags "$source" -o "$program" -Lbuild/"$variant" -llyquor \
      -pthread "-Wl,-rpath,$PWD/build/$variant" || { status=1; continue; }
    start=$SECONDS
    "$@" "$program" || { echo "not ok - $variant: $source ended with status $?"; status=1; }
    echo "# $variant: $source took $((SECONDS - start)) s"
  done
  return $status
}

# library VARIANT [GO BUILD FLAGS...] builds the library once more, with symbols, in build/VARIANT. Suites that run side
# by side may want the same; Go leaves alone what is as it would be.
library() {
  local variant=$1
  shift
  mkdir -p "build/$variant"
  check "$variant: the library builds" flock "build/$variant" \
    $GO build -buildvcs=false -buildmode=c-shared "$@" \
    -ldflags="-extldflags '-Wl,--version-script=$PWD/capi/lyquor.map'" -o "build/$variant/liblyquor.so" ./capi
}

suite_c() {
  mkdir -p build/plain
  ln -sf ../liblyquor.so build/plain/liblyquor.so
  ln -sf ../liblyquor.so build/plain/liblyquor.so.0
  run_c plain -O2
}

suite_asan() {
  local undefined='-fsanitize=undefined -fno-sanitize-recover=undefined'
  CGO_CFLAGS="$CGO_CFLAGS $undefined" CGO_LDFLAGS='-fsanitize=undefined' library asan -asan || return
  ASAN_OPTIONS=halt_on_error=1 run_c asan "-O1 -fsanitize=address $undefined"
}

# valgrind_command prints how programs are run: with all checks, but for what valgrind gets wrong about Go. Go's
# collector does not run: it does not tell valgrind of all that it frees, and the search for leaks stops where Go then
# tells of a new object in that place. Nor does the search guess what a pointer into a block may mean: it stops at small
# objects, which begin anywhere. Goroutines are not preempted by signals, after which the live stack of a C thread may
# pass for freed.
valgrind_command() {
  echo env GODEBUG=asyncpreemptoff=1 GOGC=off valgrind --quiet --suppressions="$PWD/tests/valgrind.supp" \
    --fair-sched=yes --leak-check=full --errors-for-leak-kinds=definite,indirect --show-leak-kinds=definite,indirect \
    --leak-check-heuristics=none
}

# under_valgrind PROGRAM runs it, and fails if anything was found. The children of fork.c are not searched for leaks:
# valgrind would look for pointers in gigabytes that they do not inherit.
under_valgrind() {
  local leaks=
  [ "$(basename "$1")" != fork ] || leaks=--leak-check=no
  # shellcheck disable=SC2046,SC2086 # The command is words.
  $(valgrind_command) --error-exitcode=99 $leaks "$1"
}

suite_valgrind() {
  library valgrind -tags valgrind || return
  run_c valgrind "-O1 -DUNCOUNTED" under_valgrind
}

# stress NAME "COMPILER FLAGS" [RUNNER...] builds and runs the send log's stress, which is C alone.
stress() {
  local name=$1 flags=$2
  shift 2
  mkdir -p build/stress
  # shellcheck disable=SC2086
  check "$name: compiles" ${STRESS_CC:-$CC} $C_FLAGS $flags -Icapi tests/c/log_stress*.c -o "build/stress/$name" \
    -pthread || return
  "$@" "build/stress/$name"
}

suite_stress() {
  stress plain -O2 && stress tsan '-O1 -fsanitize=thread'
}

suite_arm64() {
  STRESS_CC=aarch64-linux-gnu-gcc stress aarch64 '-O2 -static' qemu-aarch64
}

# installed NAME installs into build/NAME and shows pkg-config and the loader where.
installed() {
  local root=$PWD/build/$1
  rm -rf "$root"
  check 'make install' make -s install PREFIX="$root" || return
  export PKG_CONFIG_PATH=$root/lib/pkgconfig LD_LIBRARY_PATH=$root/lib
}

suite_install() {
  local root=$PWD/build/install status=0 source=build/install/header.c cflags libs version
  installed install || return
  cflags=$(pkg-config --cflags lyquor) && libs=$(pkg-config --libs lyquor) || return
  version=$(pkg-config --modversion lyquor) || return
  # The release is written in the Makefile and in the library: the program holds one against the other.
  printf '#include <lyquor.h>\nint main(void) { return lyq_abi_version() == 0 || strcmp(lyq_version(), "%s"); }\n' \
    "$version" >"$source"
  local warn='-Wall -Wextra -Wpedantic -Werror'
  # shellcheck disable=SC2086
  {
    check 'the header as C99' $CC -std=c99 $warn $cflags "$source" -o "$root/c99" $libs &&
      check 'a C99 program runs' "$root/c99" || status=1
    check 'the header as C17' $CC -std=c17 $warn $cflags -c "$source" -o "$root/c17.o" || status=1
    check 'the header as C++17' $CXX -std=c++17 $warn $cflags -x c++ "$source" -x none -o "$root/cxx" $libs &&
      check 'a C++17 program runs' "$root/cxx" || status=1
    check 'a program with the static library' \
      $CC $cflags "$source" "$root/lib/liblyquor.a" -pthread -o "$root/static" &&
      check 'it runs alone' env -u LD_LIBRARY_PATH "$root/static" || status=1
  }
  check 'an installed tool finds the library' env -u LD_LIBRARY_PATH "$root/bin/lyqcat" --version || status=1
  check 'the CMake package' tests/packaging/cmake.sh "$root" || status=1
  return $status
}

suite_symbols() { tests/packaging/symbols.sh; }

suite_readme() { installed readme-prefix && tests/readme/run.py; }

# Every example compiles without a warning; hello says what it should, and lyqcat carries a file unchanged.
suite_examples() {
  local source name status=0
  mkdir -p build/examples
  ln -sf ../liblyquor.so build/examples/liblyquor.so.0
  for source in examples/c/*.c; do
    name=$(basename "$source" .c)
    # shellcheck disable=SC2086
    check "$source compiles" $CC $C_FLAGS "$source" -o "build/examples/$name" -Lbuild -llyquor -pthread \
      "-Wl,-rpath,$PWD/build/examples" || status=1
  done
  check 'hello says hello' test "$(timeout 20 build/examples/hello)" = 'hello, world' || status=1
  check 'lyqcat carries the toolchain unchanged' tests/demo/demo.sh || status=1
  check 'a ledger that is killed has every number' tests/demo/ledger.sh build/examples/ledger || status=1
  return $status
}

# python_tests LABEL TESTS... runs tests of the installed Python package; their lines carry the label. RUNNER is the
# command that runs the interpreter, PACKAGE a directory with another build of the package.
python_tests() {
  local label=$1
  shift
  # shellcheck disable=SC2086 # RUNNER is words.
  PYTHONPATH=${PACKAGE:+$PACKAGE:}$PWD/bindings/python/tests PYTHONDONTWRITEBYTECODE=1 \
    ${RUNNER:-} build/python/bin/python -P -m pytest -q --rootdir bindings/python \
    -c bindings/python/pyproject.toml -p tap "$@" | sed -u "s/ok - python:/ok - $label:/"
  return "${PIPESTATUS[0]}"
}

# Those of the extension, which run also where each of its accesses is checked; the interpreter's own handler of faults
# would hide what they find.
PYTHON_CHECKED="-p no:faulthandler $(echo bindings/python/tests/test_{messages,events,aio,sequences}.py)"

# python_built NAME LIBRARY "COMPILER FLAGS" makes build/NAME a copy of the installed package whose extension is
# compiled with these flags, beside that library.
python_built() {
  local to=build/$1 library=$2 flags="$C_FLAGS -Wno-cast-function-type -Wno-missing-field-initializers -Wno-pedantic $3"
  local include from
  include=$(build/python/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))')
  from=$(build/python/bin/python -P -c 'import lyquor; print(lyquor.__path__[0])') || return
  rm -rf "$to" && mkdir -p "$to" && cp -r "$from" "$to" && cp "$library" "$to/lyquor/liblyquor.so.0" || return
  # shellcheck disable=SC2086 # Flags are words.
  check "$1: the extension compiles" $CC $flags -fPIC -shared -I"$include" bindings/python/src/*.c \
    -o "$to/lyquor/_lyquor.abi3.so" -Lbuild -llyquor '-Wl,-rpath,$ORIGIN'
}

python_asan() {
  python_built python-asan build/liblyquor.so '-O1 -fsanitize=address,undefined' || return
  # shellcheck disable=SC2086 # PYTHON_CHECKED is words.
  PACKAGE=$PWD/build/python-asan PYTHONMALLOC=malloc \
    ASAN_OPTIONS=detect_leaks=0:halt_on_error=1:handle_segv=0 UBSAN_OPTIONS=halt_on_error=1 \
    RUNNER="env LD_PRELOAD=$($CC -print-file-name=libasan.so):$($CC -print-file-name=libubsan.so)" \
    python_tests 'python under ASan' $PYTHON_CHECKED
}

# The Python package: installed as a wheel, and tested where nothing of the source directory is found.
suite_python() {
  local status=0
  check 'python: the wheel builds, says the truth about itself, and installs' tests/packaging/wheel.sh || return
  check 'python: mypy --strict' build/python/bin/mypy --config-file bindings/python/pyproject.toml \
    bindings/python/lyquor || status=1
  python_tests python bindings/python/tests || status=1
  python_asan || status=1
  return $status
}

# The same under valgrind: what it finds in the extension, or in the library, or on the way there. What it says of the
# interpreter and of other extensions is not ours to judge.
suite_pyvalgrind() {
  local found=$PWD/build/test/pyvalgrind.xml status=0
  check 'python: the wheel installs' tests/packaging/wheel.sh || return
  library valgrind -tags valgrind && python_built python-valgrind build/valgrind/liblyquor.so -O1 || return
  # shellcheck disable=SC2086 # PYTHON_CHECKED is words.
  PACKAGE=$PWD/build/python-valgrind PYTHONMALLOC=malloc \
    RUNNER="$(valgrind_command) --xml=yes --xml-file=$found" \
    python_tests 'python under valgrind' $PYTHON_CHECKED || status=1
  check 'python under valgrind: nothing is found in the extension and the library' \
    tests/valgrind.py "$found" || status=1
  return $status
}

# rust_program DIRECTORY LYQUOR [MANIFEST] makes a program there of the example in the crate's README, with that crate
# and the library inside it; these lines end its manifest.
rust_program() {
  mkdir -p "$1/src" || return
  sed -n '/^```rust$/,/^```$/{//!p}' bindings/rust/lyquor/README.md >"$1/src/main.rs"
  cat >"$1/Cargo.toml" <<END
[package]
name = "program"
version = "0.1.0"
edition = "2021"
[dependencies]
lyquor = { path = "$2", features = ["vendored"] }
${3:-}
END
  [ "$(env -u LYQUOR_LIB_DIR -u LD_LIBRARY_PATH CARGO_TARGET_DIR="$1/target" timeout 120 \
    cargo run -q --manifest-path "$1/Cargo.toml")" = 'hello, world' ]
}

# rust_lost builds the bindings where there is no library: the error has to name what can be done.
rust_lost() {
  local said way
  said=$(env -u LYQUOR_LIB_DIR PKG_CONFIG=false cargo build --target-dir "$CARGO_TARGET_DIR-lost" -p lyquor-sys 2>&1) &&
    return 1
  for way in pkg-config LYQUOR_DIR LYQUOR_LIB_DIR vendored; do
    grep -q "$way" <<<"$said" || { echo "$said"; return 1; }
  done
}

# rust_package DIRECTORY unpacks the packages there, and looks at what they hold: that of the bindings all that is
# needed to build the library, and none of its tests.
rust_package() {
  local crate file
  rm -rf "$CARGO_TARGET_DIR/package"
  "${cargo[@]}" package -q --no-verify --allow-dirty -p lyquor-sys -p lyquor || return
  for crate in lyquor lyquor-sys; do
    mkdir -p "$1/$crate" || return
    tar -C "$1/$crate" --strip-components 1 -xzf "$CARGO_TARGET_DIR"/package/$crate-[0-9]*.crate || return
  done
  for file in lyquor/{LICENSE,README.md,src/lib.rs,examples/perf/main.rs} lyquor-sys/{LICENSE,build.rs,src/lib.rs} \
    lyquor-sys/source/{go.mod,include/lyquor.h,capi/main.go,capi/lyquor.map,engine/driver/driver.go}; do
    [ -f "$1/$file" ] && [ ! -L "$1/$file" ] || { echo "$file is missing"; return 1; }
  done
  ! find "$1/lyquor" "$1/lyquor-sys" | grep -E '_test\.go$|/testdata|/tests$'
}

# rust_newer VERSION fails if a crate that these depend on needs a newer Rust.
rust_newer() {
  "${cargo[@]}" metadata -q --locked --format-version 1 | python3 -c '
import json, sys
def number(version): return [int(part) for part in version.split(".")[:2]]
packages = json.load(sys.stdin)["packages"]
newer = [p["name"] for p in packages if number(p["rust_version"] or "1.0") > number(sys.argv[1])]
sys.exit(f"they need a newer Rust than {sys.argv[1]}: {newer}" if newer else 0)' "$1"
}

# All but what changes how the library is linked.
RUST_FEATURES=lyquor/tokio,lyquor/bytes,lyquor/log,lyquor/tracing

# rust_environment sets what the Rust suites have in common.
rust_environment() {
  export CARGO_TARGET_DIR=$PWD/build/rust LYQUOR_LIB_DIR=$PWD/build LD_LIBRARY_PATH=$PWD/build RUST_BACKTRACE=0
  cargo=(env -C bindings/rust cargo)
}

# rust_tests LABEL OPTIONS... runs the crates' tests, examples in their documentation included.
rust_tests() {
  local label=$1
  shift
  "${cargo[@]}" test --workspace "$@" 2>&1 | tests/cargotap.py "$label"
}

# The Rust crates: as anybody would test them, with the library inside; against the shared library with everything that
# does not change how it is linked; and some tests against the static one.
suite_rust() {
  local tool version old cargo outside status=0
  version=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' bindings/rust/Cargo.toml)
  for tool in cargo rustfmt cargo-clippy; do
    command -v $tool >/dev/null && continue
    echo "not ok - rust: $tool is missing: please install Rust, at least $version, with rustfmt and clippy"
    return 1
  done
  rust_environment
  check 'rust: rustfmt' "${cargo[@]}" fmt --all --check || status=1
  check 'rust: clippy' "${cargo[@]}" clippy -q --locked --workspace --all-targets --features $RUST_FEATURES \
    -- -D warnings || status=1
  check 'rust: cargo doc' env RUSTDOCFLAGS='-D warnings' \
    "${cargo[@]}" doc -q --locked --workspace --no-deps --features $RUST_FEATURES || status=1
  (unset LYQUOR_LIB_DIR LD_LIBRARY_PATH && rust_tests rust --all-features) || status=1
  rust_tests 'rust, shared' --no-fail-fast --features $RUST_FEATURES || status=1
  check 'rust: clippy without features' \
    "${cargo[@]}" clippy -q --locked -p lyquor --all-targets -- -D warnings || status=1
  check 'rust: with the static library, and without tokio' env -u LD_LIBRARY_PATH "${cargo[@]}" \
    test -q --locked -p lyquor --features static,futures --test messages --test threads --test tasks || status=1
  check "rust: what they depend on does with Rust $version" rust_newer "$version" || status=1
  old=$(rustup toolchain list 2>/dev/null | sed -n "s/^\($version\(\.0\)\?\)-.*/\1/p" | head -1)
  if [ -n "$old" ]; then
    check "rust: Rust $version compiles them" \
      env DOCS_RS=1 "${cargo[@]}" "+$old" check -q --locked -p lyquor --all-features || status=1
  else
    echo "# rust: Rust $version is not installed"
  fi
  outside=$(mktemp -d)
  check 'rust: a crate outside the tree, with the library inside' \
    rust_program "$outside/alone" "$PWD/bindings/rust/lyquor" || status=1
  check 'rust: what the packages hold' rust_package "$outside" || status=1
  check 'rust: a program of the packages' rust_program "$outside/packaged" "$outside/lyquor" "[patch.crates-io]
lyquor-sys = { path = \"$outside/lyquor-sys\" }" || status=1
  rm -rf "$outside"
  cd bindings/rust || return
  check 'rust: without the library, an error that names the ways to it' rust_lost || status=1
  check 'rust: documentation without the library' env -u LYQUOR_LIB_DIR PKG_CONFIG=false DOCS_RS=1 \
    cargo doc -q --locked --target-dir "$CARGO_TARGET_DIR-lost" --no-deps || status=1
  return $status
}

# The same under valgrind: what it finds anywhere in a program of theirs; those that tests start run without. It writes
# to files of its own, because what tests print is read.
suite_rsvalgrind() {
  local cargo found=$PWD/build/test/rsvalgrind status=0
  rust_environment
  library valgrind -tags valgrind && ln -sf liblyquor.so build/valgrind/liblyquor.so.0 || return
  rm -rf "$found" && mkdir -p "$found" || return
  export LD_LIBRARY_PATH=$PWD/build/valgrind
  CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$(valgrind_command) --error-exitcode=99 --log-file=$found/%p" \
    rust_tests 'rust under valgrind' --no-fail-fast --features $RUST_FEATURES || status=1
  check 'rust under valgrind: it ran, and found nothing' nothing_found "$found" || status=1
  return $status
}

# nothing_found DIRECTORY shows errors in the files that valgrind wrote there.
nothing_found() { [ -n "$(ls "$1")" ] && ! grep -h '^==' "$1"/*; }

# fuzz_calls runs random sequences of calls of the C API against a library that checks every access.
fuzz_calls() {
  CGO_LDFLAGS='' library asan -asan || return
  # shellcheck disable=SC2086 # Flags are words.
  check "the fuzzer of calls compiles" $CC $C_FLAGS -O1 -fsanitize=address tests/c/spin.c -o build/asan/fuzz_calls \
    -Lbuild/asan -llyquor -pthread "-Wl,-rpath,$PWD/build/asan" || return
  ASAN_OPTIONS=halt_on_error=1 build/asan/fuzz_calls "${FUZZ_SECONDS:-10}"
}

suite_sim() {
  local status=0
  check "$SIM_SEEDS simulated worlds keep the promise" $GO run ./tests/sim -seed 1 -n "$SIM_SEEDS" || status=1
  check "simulated worlds notice every planted bug" $GO run ./tests/planted || status=1
  return $status
}
suite_soak() { tests/chaos/soak.py --seconds "${SOAK_SECONDS:-60}"; }
suite_chaos() { tests/chaos/run.py --seconds "${CHAOS_SECONDS:-8}" --rounds "${CHAOS_ROUNDS:-10}"; }

suite_fuzz() {
  local package target listed status=0
  for package in $($GO list ./engine/...); do
    listed=$($GO test -list '^Fuzz' "$package") || { echo "not ok - $package does not build"; status=1; continue; }
    for target in $(grep '^Fuzz' <<<"$listed"); do
      # By count, not by time: at the end of its time Go's fuzzer may take its own deadline for a failure
      # (go.dev/issue/75804).
      check "$package $target" \
        $GO test "$package" -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZ_RUNS:-30000}x" || status=1
    done
  done
  fuzz_calls || status=1
  return $status
}
