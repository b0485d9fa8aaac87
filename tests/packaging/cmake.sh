#!/usr/bin/env bash
# Builds and runs a program that finds the installed library (in the prefix $1) through CMake.
set -eu
root=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat >"$dir/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.13)
project(user C)
find_package(lyquor REQUIRED)
foreach(kind lyquor static)
  add_executable(with_${kind} main.c)
  target_link_libraries(with_${kind} lyquor::${kind})
endforeach()
END
printf '#include <lyquor.h>\nint main(void) { return lyq_abi_version() == 0; }\n' >"$dir/main.c"
cmake -S "$dir" -B "$dir/build" -DCMAKE_PREFIX_PATH="$root" >"$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }
cmake --build "$dir/build" >"$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }
"$dir/build/with_lyquor"
"$dir/build/with_static"
