#!/bin/bash
# compilers.sh PYTHON: the library alone, as C17 and with warnings as errors, by gcc
# and by clang. Each build is installed, and used from there by a program in C and
# one in C++. (`make test-core` runs the C tests, with one of the two.)
set -euo pipefail

python=$1
PATH=$(dirname "$python"):$PATH # its ninja
meson() { "$python" -m mesonbuild.mesonmain "$@"; }

use() { # COMPILER SOURCE [flag ...]; beside libyula.a: before, after
    local compiler=$1 source=$2 program
    shift 2
    program=$build/use-${source##*.}
    "$compiler" -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-unused-parameter "$@" \
        "-I$root/include" "$source" -o "$program" ${before[@]+"${before[@]}"} \
        "$root/lib/libyula.a" ${after[@]+"${after[@]}"} -pthread
    "$program" >/dev/null
    echo "$compiler ${*}: libyula built, used from ${source##*.}"
}

for compilers in gcc:g++ clang:clang++; do
    c=${compilers%:*} cxx=${compilers#*:}
    build=build/$c root=$PWD/build/$c/installed
    if ! command -v "$c" >/dev/null; then
        echo "no $c on this machine: skipped"
        continue
    fi
    [ -e "$build/build.ninja" ] ||
        CC=$c meson setup "$build" --prefix "$root" --libdir lib -Dpython=disabled \
            -Dtests=false -Dwerror=true -Dbuildtype=release >/dev/null
    ninja -C "$build" --quiet
    meson install -C "$build" --no-rebuild --quiet
    before=() after=()
    use "$c" tests/compilers/use.c -std=c17
    if [ -e "$root/lib/libyula-tls.a" ]; then # where there is OpenSSL
        before=("$root/lib/libyula-tls.a") after=(-lssl -lcrypto)
        use "$c" tests/compilers/use_tls.c -std=c17
        before=() after=()
    fi
    if command -v "$cxx" >/dev/null; then
        use "$cxx" tests/core/test_cxx.cpp -std=c++17
        use "$cxx" tests/core/test_cxx.cpp -std=c++20
    fi
done
