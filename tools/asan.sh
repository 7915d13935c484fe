#!/bin/bash
# asan.sh PYTHON [pytest argument ...]: every test under the address and the
# undefined-behaviour sanitizer.
#
# 1. libyula and its C tests, with the leak detector.
# 2. The Python tests, in a copy of the checkout whose extension is instrumented.
#    The interpreter is not: the sanitizers' runtimes are preloaded, and Python
#    takes its memory from malloc, so that they see every block. Leaks are looked
#    for by the tests themselves (objects and descriptors, after each test): the
#    leak detector would report what CPython keeps until the process ends.
# In both, planted bugs show first that the sanitizers are on.
set -euo pipefail

python=$1
PATH=$(dirname "$python"):$PATH # its ninja
shift
meson() { "$python" -m mesonbuild.mesonmain "$@"; }
sanitize=(-Db_sanitize=address,undefined -Db_lundef=false -Dchecks=true -Dbuildtype=debugoptimized)
options=abort_on_error=0:halt_on_error=1:detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

echo '== libyula'
[ -e build/asan-core/build.ninja ] ||
    meson setup build/asan-core -Dpython=disabled "${sanitize[@]}" >/dev/null
ninja -C build/asan-core --quiet
ASAN_OPTIONS=$options:detect_leaks=1 \
    meson test -C build/asan-core --no-rebuild --print-errorlogs --timeout-multiplier 5

echo '== the extension'
version=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("SOABI"))')
build=$PWD/build/asan-$version
tree=$build/tree
mkdir -p "$tree"
# Files that were deleted in the checkout must not live on in the copy.
find "$tree" -mindepth 1 -maxdepth 1 ! -name yula -exec rm -rf {} +
find "$tree/yula" -name '*.py' -delete 2>/dev/null || true
tar --create --exclude=./build --exclude='./.venv*' --exclude=./.git --exclude='./yula/*.so' . |
    tar --extract --directory "$tree"
tools/build-in-place.sh "$python" "$build/meson" "$tree" "${sanitize[@]}"

runtime() { gcc -print-file-name="$1"; }
# libstdc++ too: the runtime must find the exceptions of C++ extensions at its start.
preload="$(runtime libasan.so) $(runtime libubsan.so) $(runtime libstdc++.so.6)"
# The peers of the tests are not ours to check, and some (curl, pg_isready) deadlock
# in setlocale under the runtimes.
programs=$build/programs
mkdir -p "$programs"
for name in curl openssl git redis-server redis-cli /usr/lib/postgresql/*/bin/*; do
    program=$(command -v "$name") || continue
    printf '#!/bin/sh\nunset LD_PRELOAD\nexec %s "$@"\n' "$program" >"$programs/${name##*/}"
    chmod +x "$programs/${name##*/}"
done
cd "$tree"
sanitized() {
    PATH=$programs:$PATH LD_PRELOAD=$preload ASAN_OPTIONS=$options:detect_leaks=0 PYTHONMALLOC=malloc \
        PYTHONPATH=$tree YULA_TEST_SLOWDOWN=6 "$@"
}
planted="import sys; sys.path.append('$build/meson'); import _planted; _planted.run(sys.argv[1])"
planted() {
    sanitized tests/sanitize/expect-report.sh "$2" "$python" -c "$planted" "$1"
    echo "the planted $1 is reported"
}
planted use-after-free 'AddressSanitizer: heap-use-after-free'
planted misaligned-access 'misaligned address'
nm --dynamic --undefined-only yula/_core*.so | grep __asan_report_load >/dev/null ||
    { echo 'yula._core is not instrumented' >&2; exit 1; }

if [ $# -gt 0 ]; then
    sanitized "$python" -m pytest "$@"
    exit
fi
# The packages that test_packaging.py builds are not instrumented. Freed memory is
# kept for a while, 256 MiB of it, to notice its use: too much for the tests that
# measure how much memory a large body takes.
failed=0
large_bodies=tests/py/real/test_large_bodies.py
sanitized "$python" -m pytest tests/py --ignore tests/py/test_packaging.py --ignore $large_bodies || failed=1
options+=:quarantine_size_mb=2:thread_local_quarantine_size_kb=64
sanitized "$python" -m pytest $large_bodies || failed=1
sanitized "$python" tests/conformance/run.py --timeout 300 || failed=1
exit $failed
