#!/usr/bin/env bash
# Checks what the library shows to the linker, and prints TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
library=build/liblyquor.so
size_limit=$((8 * 1024 * 1024)) # The design's bar for the stripped library.
status=0

# expect NAME VALUE WANTED prints ok when the two are the same text.
expect() {
  if [ "$2" = "$3" ]; then
    echo "ok - $1"
  else
    printf 'not ok - %s\n# is:     %s\n# wanted: %s\n' "$1" "$2" "$3"
    status=1
  fi
}

exported=$(nm -D --defined-only "$library" | awk '$3 !~ /^LYQ_[0-9]+$/ { sub(/@.*/, "", $3); print $3 }' | sort)
# The preprocessor takes the comments away; what is left with a parenthesis after its name is a declaration.
declared=$("${CC:-gcc}" -E include/lyquor.h | grep -oE '\blyq_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u)
expect 'only lyq_* is exported' "$(grep -v '^lyq_' <<<"$exported")" ''
expect 'what the header declares is what is exported' "$exported" "$declared"
expect 'something is exported' "$([ -n "$exported" ] && echo yes)" yes
archived=$(nm -g --defined-only build/liblyquor.a | awk 'NF == 3 { print $3 }' | sort)
expect 'both libraries show the same names' "$archived" "$exported"

dynamic=$(readelf -dW "$library")
expect 'the soname' "$(sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p' <<<"$dynamic")" liblyquor.so.0
needed=$(sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' <<<"$dynamic" | grep -vE '^(libc\.so\.6|ld-linux-.*)$')
expect 'it needs glibc and nothing else' "$needed" ''
expect 'symbols are bound at load' "$(grep -c BIND_NOW <<<"$dynamic")" 1
expect 'relocations are read-only afterwards' "$(readelf -lW "$library" | grep -c GNU_RELRO)" 1
expect 'no executable stack' "$(readelf -lW "$library" | awk '/GNU_STACK/ { print $7 }')" RW
size=$(stat -Lc %s "$library")
expect "stripped, it has at most $size_limit bytes (it has $size)" "$((size <= size_limit))" 1
expect 'it is stripped' "$(readelf -SW "$library" | grep -c '\.symtab')" 0
exit $status
