#!/bin/bash
# Install the Debian package that holds CPython's own tests, when the interpreter
# given is Debian's; any other brings them or does not have them.
set -euo pipefail

has_tests='import sys, importlib.util as u; sys.exit(not u.find_spec("test.test_asyncio"))'
"$1" -c "$has_tests" 2>/dev/null && exit 0

base=$("$1" -c 'import sys; print(sys.base_prefix)')
minor=$("$1" -c 'import sys; print(f"{sys.version_info[0]}.{sys.version_info[1]}")')
if [ "$base" = /usr ]; then
    "$(dirname "$0")/debian-packages.sh" "libpython$minor-testsuite"
fi
