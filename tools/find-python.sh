#!/bin/bash
# Print the newest Python on PATH that yula can be built and run with; nothing,
# and exit 1, if there is none. Usable means: a final release of CPython, 3.11 or
# later, with the GIL, and with what a virtual environment and a C extension
# need (Debian packages both separately). Pre-releases and free-threaded builds
# work with PYTHON=... but are never chosen.
set -u

read -r -d '' check <<'PYTHON'
import importlib.util, os, sys, sysconfig
v = sys.version_info
usable = (
    sys.implementation.name == "cpython"
    and v >= (3, 11)
    and v.releaselevel == "final"
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
    and importlib.util.find_spec("venv")
    and importlib.util.find_spec("ensurepip")
    and os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
)
if usable:
    # The interpreter itself, not a shim or a virtual environment around it.
    print(v.major * 10**6 + v.minor * 10**3 + v.micro, getattr(sys, "_base_executable", sys.executable))
PYTHON

candidates() {
    local minor
    for minor in {20..11}; do type -aP "python3.$minor"; done
    type -aP python3
}

best=0 found=
while read -r candidate; do
    read -r number path < <("$candidate" -I -c "$check" 2>/dev/null) || continue
    if [ "$number" -gt "$best" ]; then
        best=$number found=$path
    fi
done < <(candidates)

[ -n "$found" ] && echo "$found"
