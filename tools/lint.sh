#!/bin/bash
# lint.sh PYTHON: style and static checks. All of them run; any finding fails.
set -uo pipefail

python=$1
bin=$(dirname "$python")
failed=()
check() {
    local name=$1
    shift
    echo "== $name"
    "$@" || failed+=("$name")
}

mapfile -t c_files < <(find src include bench/c examples/c tests/core tests/sanitize -name '*.[ch]')
mapfile -t shell_files < <(find tools tests .ci -type f -not -name '*.py' -exec grep -lE '^#!/bin/(ba)?sh' {} +)

check clang-format "$bin/clang-format" --dry-run -Werror "${c_files[@]}"
check cppcheck cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 \
    --enable=warning,portability --suppress=missingIncludeSystem \
    --suppressions-list=tools/cppcheck-suppressions.txt \
    -D_GNU_SOURCE -DPy_ssize_t=ssize_t -Iinclude -Isrc/core -Isrc/ext src
check 'ruff check' "$bin/ruff" check --quiet .
check 'ruff format' "$bin/ruff" format --quiet --check .
check mypy "$bin/mypy"
check 'shell syntax' bash -n "${shell_files[@]}"

if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}"
    exit 1
fi
echo 'nothing found'
