#!/usr/bin/env bash
# Runs the test suites: all of them (`tests/run.sh`, or `tests/run.sh all fuzz` for more), or those named.
#
# A suite is a function in tests/suites.sh that prints TAP (`ok - ...`, `not ok - ...`); it has passed when it printed
# at least one `ok`, no `not ok`, and returned 0. Its output is kept in build/test/NAME.log. The last line adds up all.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
source tests/suites.sh
logs=build/test

# name, seconds it may take, what it shows.
table='
go         900  engine and repository rules, under the race detector; each system call failing in turn
memory     300  memory of 10 000 idle endpoints, and allocations in the steady state
capi       120  Go tests of the C boundary
sim        600  a thousand simulated worlds with faults, each from its seed; and that they notice planted bugs
wasm       180  the portable packages as WebAssembly under node
cross      180  engine compiles for macOS and Windows
c          600  the C API, from C
asan       600  the C API under AddressSanitizer and UndefinedBehaviorSanitizer
valgrind  1200  the C API under valgrind: no invalid access, no definite leak
stress     180  the send log, C producers against the C consumer, also under ThreadSanitizer
arm64      300  the send log on a weakly ordered machine (emulated)
install    120  what is installed: header as C99 and C++17, pkg-config, CMake, static library
symbols     60  exported names, soname, hardening, size
python     500  the Python package, as a wheel in an environment of its own, and under ASan
pyvalgrind 900  the Python package under valgrind: no invalid access, no definite leak
rsvalgrind 900  the Rust crates under valgrind: no invalid access, no definite leak
rust       400  the Rust crates: tests, documentation, format, lints, and how the library is found
examples   300  the programs in examples/c compile, and the small ones do what they say
readme     120  the programs in README.md compile and run
'
extra='
fuzz       600  each fuzz target for a few seconds
soak       300  programs that live, talk, come and go for a minute hold no more at its end, and nothing when they close
chaos      600  two programs that keep every message, whatever is done to their connection and to them
'

names() { awk 'NF { print $1 }' <<<"$1"; }
seconds() { awk -v name="$1" '$1 == name { print $2 }' <<<"$table$extra"; }

# explain LOG prints what failed, each with the comment lines that follow it.
explain() {
  awk '/^not ok/ { shown = 1 } /^ok/ { shown = 0 } shown' "$1" | head -150
  echo "     all of it: $1"
}

# run NAME runs one suite in its own process, so that it can be stopped. How it ended is in NAME.status.
run() {
  local start=$SECONDS
  # SIGKILL reaches the suite's whole process group, whatever its programs do with other signals.
  timeout --signal=KILL "$(seconds "$1")" "$0" --suite "$1" >"$logs/$1.log" 2>&1 </dev/null
  echo "$? $((SECONDS - start))" >"$logs/$1.status"
}

# report NAME counts the lines of a suite that ran.
report() {
  local name=$1 log=$logs/$1.log status took passed failed
  read -r status took <"$logs/$name.status"
  passed=$(grep -c '^ok\b' "$log")
  failed=$(grep -c '^not ok\b' "$log")
  if [ "$status" -eq 137 ]; then
    echo "not ok - $name: stopped after $took s" >>"$log"
    failed=$((failed + 1))
  elif [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
    echo "not ok - $name: ended with status $status" >>"$log"
    failed=1
  elif [ "$((passed + failed))" -eq 0 ]; then
    echo "not ok - $name: ran no test" >>"$log"
    failed=1
  fi
  total_passed=$((total_passed + passed))
  total_failed=$((total_failed + failed))
  printf '%-4s %-10s %5d passed %5d failed %5d s\n' \
    "$([ "$failed" -eq 0 ] && echo ok || echo FAIL)" "$name" "$passed" "$failed" "$took"
  [ "$failed" -eq 0 ] || explain "$log"
}

if [ "${1:-}" = --suite ]; then
  "suite_$2"
  exit
fi

eval "$(make -s env)" || exit 1
mkdir -p "$logs"
total_passed=0 total_failed=0
# shellcheck disable=SC2046 # Names are words.
case ${1:-all} in all) set -- $(names "$table") "${@:2}" ;; esac
for name; do
  [ -n "$(seconds "$name")" ] && continue
  echo "tests/run.sh: no suite $name; there are:" $(names "$table$extra") >&2
  exit 2
done
# A program under valgrind keeps one processor busy, whatever it does, so these suites run side by side.
beside=$(printf '%s\n' "$@" | grep -x 'valgrind\|pyvalgrind\|rsvalgrind')
for name; do
  case $name in
    valgrind | pyvalgrind | rsvalgrind)
      for other in $beside; do run "$other" & done
      wait
      beside=
      ;;
    *) run "$name" ;;
  esac
  report "$name"
done
echo "$total_passed passed, $total_failed failed"
[ "$total_failed" -eq 0 ]
