#!/bin/bash
# tsan.sh PYTHON [pytest argument ...]: what runs on several threads under the
# thread sanitizer.
#
# 1. libyula and its C tests, by gcc and by clang, which do not see the same.
# 2. The tests of C beside Python (the native lane), with an instrumented extension
#    in a copy of the checkout, by gcc. The interpreter is not instrumented, but its
#    lock is made of what the sanitizer follows.
# A planted race shows first that the sanitizer is on.
set -euo pipefail

python=$1
PATH=$(dirname "$python"):$PATH # its ninja
shift
meson() { "$python" -m mesonbuild.mesonmain "$@"; }
sanitize=(-Db_sanitize=thread -Db_lundef=false -Dchecks=true -Dbuildtype=debugoptimized)
export TSAN_OPTIONS=halt_on_error=0:second_deadlock_stack=1

for compilers in gcc:g++ clang:clang++; do
    c=${compilers%:*} cxx=${compilers#*:}
    command -v "$c" >/dev/null || { echo "no $c on this machine: skipped"; continue; }
    echo "== libyula, $c"
    [ -e "build/tsan-$c/build.ninja" ] ||
        CC=$c CXX=$cxx meson setup "build/tsan-$c" -Dpython=disabled "${sanitize[@]}" >/dev/null
    ninja -C "build/tsan-$c" --quiet
    meson test -C "build/tsan-$c" --no-rebuild --print-errorlogs --timeout-multiplier 5
done

echo '== the extension'
version=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("SOABI"))')
build=$PWD/build/tsan-$version
tree=$build/tree
mkdir -p "$tree"
find "$tree" -mindepth 1 -maxdepth 1 ! -name yula -exec rm -rf {} +
tar --create --exclude=./build --exclude='./.venv*' --exclude=./.git --exclude='./yula/*.so' . |
    tar --extract --directory "$tree"
CC=gcc tools/build-in-place.sh "$python" "$build/meson" "$tree" "${sanitize[@]}"
cd "$tree"
[ $# -gt 0 ] || set -- tests/py/test_c_api.py tests/py/test_c_api_example.py
# The modules of the tests are not instrumented, and need not be. pytest would keep
# the reports to itself. libc frees the thread-local variables of a library loaded
# later with a lock that the sanitizer does not know.
report=$build/report
rm -f "$report".*
echo 'race:_dl_deallocate_tls' >"$build/suppressions"
status=0
LD_PRELOAD=$(gcc -print-file-name=libtsan.so) PYTHONPATH=$tree YULA_TEST_SLOWDOWN=10 \
    TSAN_OPTIONS=$TSAN_OPTIONS:exitcode=66:log_path=$report:suppressions=$build/suppressions \
    "$python" -m pytest "$@" || status=$?
for text in "$report".*; do
    [ ! -e "$text" ] || cat "$text"
done
exit $status
