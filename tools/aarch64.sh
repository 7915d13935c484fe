#!/bin/bash
# aarch64.sh MESON: libyula for aarch64 and the tests of its coroutines, on a machine
# of another kind. Needs Debian's gcc-aarch64-linux-gnu and qemu-user; exit 77 without.
#
# Only what depends on the processor: a switch of stacks, and what lives by it. The
# emulator does not know guard pages that are no mapping, so test_stack is not run.
set -euo pipefail

meson=${1:-meson}
build=build/aarch64
for program in aarch64-linux-gnu-gcc qemu-aarch64; do
    command -v "$program" >/dev/null || {
        echo "skipped: no $program (apt-get install gcc-aarch64-linux-gnu qemu-user)"
        exit 77
    }
done
[ -e $build/build.ninja ] ||
    "$meson" setup $build --cross-file tools/aarch64.ini -Dpython=disabled -Dtls=disabled -Dchecks=true \
        -Dtls=disabled >/dev/null
"$meson" test -C $build --print-errorlogs --timeout-multiplier 4 \
    coroutine task task_torture scope group local channel sync queue timer
