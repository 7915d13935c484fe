#!/bin/bash
# compilers.sh PYTHON: the library alone, as C17 and with warnings as errors, by gcc
# and by clang. Each build is installed, and used from there by a program in C and
# one in C++: linked with the archive, as pkg-config says (with the shared library, and
# the whole program static), and by CMake. (`make test-core` runs the C tests, with one
# of the two.)
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

# As the documentation tells a user to do it. What a machine lacks is skipped.
use_as_told() { # COMPILER
    local compiler=$1 source=tests/compilers/use.c program=$build/use-told
    export PKG_CONFIG_PATH=$root/lib/pkgconfig
    command -v pkg-config >/dev/null || return 0
    # shellcheck disable=SC2046 # several words each
    "$compiler" "$source" -o "$program" $(pkg-config --cflags --libs yula)
    LD_LIBRARY_PATH=$root/lib "$program"
    # shellcheck disable=SC2046
    "$compiler" "$source" -o "$program" $(pkg-config --cflags yula) "-L$root/lib" -l:libyula.a -pthread
    "$program"
    if [ -e "$("$compiler" -print-file-name=libc.a)" ]; then
        # shellcheck disable=SC2046
        "$compiler" -static "$source" -o "$program" \
            $(pkg-config --static --cflags --libs yula) 2>/dev/null # getaddrinfo's warning
        "$program"
    fi
    echo "$compiler: used as pkg-config says, shared and static"
    cmake --version >/dev/null 2>&1 || return 0
    CC=$compiler cmake -S tests/compilers -B "$build/cmake" >/dev/null
    cmake --build "$build/cmake" >/dev/null
    LD_LIBRARY_PATH=$root/lib "$build/cmake/use"
    echo "$compiler: used by CMake"
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
    use_as_told "$c"
    if command -v "$cxx" >/dev/null; then
        use "$cxx" tests/core/test_cxx.cpp -std=c++17
        use "$cxx" tests/core/test_cxx.cpp -std=c++20
    fi
done
