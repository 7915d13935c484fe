#!/bin/bash
# check-headers.sh INCLUDE_FOLDER: each public header stands alone, as strict C99,
# as C17 and as C++, for every compiler that is installed.
set -uo pipefail

folder=$1
failed=0
check() {
    local language=$1 header=$2
    shift 2
    echo "#include <yula/$header>" |
        "$@" -Wall -Wextra -pedantic -Werror -fsyntax-only "-I$folder" -x "$language" - ||
        { echo "yula/$header: $*" >&2; failed=1; }
}

for path in "$folder"/yula/*.h; do
    header=${path##*/}
    case $header in python*.h) continue ;; esac # tests/py/test_c_api.py compiles them
    [[ $header == python*.h ]] && continue # they need Python's
    for compiler in gcc clang; do
        command -v "$compiler" >/dev/null || continue
        check c "$header" "$compiler" -std=c99
        check c "$header" "$compiler" -std=c17
    done
    for compiler in g++ clang++; do
        command -v "$compiler" >/dev/null || continue
        check c++ "$header" "$compiler" -std=c++11
        check c++ "$header" "$compiler" -std=c++20
    done
done
exit $failed
