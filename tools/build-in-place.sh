#!/bin/bash
# build-in-place.sh PYTHON BUILD_DIR TREE [meson option ...]
#
# Build the extension of the sources in TREE and put it beside the Python files in
# TREE/yula, so that PYTHON runs what is edited there, from any folder: one import
# path, no import hook, nothing to reinstall. Only what changed is compiled.
# Options count when BUILD_DIR is set up for the first time.
set -euo pipefail

python=$1 build=$2 tree=$3
PATH=$(dirname "$python"):$PATH # its ninja
shift 3

if [ ! -e "$build/build.ninja" ]; then
    echo "configuring $build"
    mkdir -p "$(dirname "$build")"
    "$python" -m mesonbuild.mesonmain setup "$build" "$tree" \
        -Dpython=enabled -Dlibrary=false -Dtests=false "$@" >"$build.log" 2>&1 ||
        { cat "$build.log" >&2; exit 1; }
fi
ninja -C "$build" --quiet

for built in "$build"/src/ext/_core*.so; do
    installed=$tree/yula/$(basename "$built")
    # install(1) makes a new file: a process that still runs the old one keeps it.
    cmp --quiet "$built" "$installed" || install -m 755 "$built" "$installed"
done

site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
[ "$tree" != . ] || echo "$PWD" >"$site/yula-checkout.pth"
