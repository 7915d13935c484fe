#!/bin/bash
# lint.sh PYTHON: style and static checks. All of them run; any finding fails.
set -uo pipefail

python=$1
PATH=$(dirname "$python"):$PATH # its ninja
bin=$(dirname "$python")
failed=()
check() {
    local name=$1
    shift
    echo "== $name"
    "$@" || failed+=("$name")
}

# clang-tidy needs to know how each file is compiled. What is not compiled on this
# machine (another poller, say) is left out with it.
clang_tidy() {
    [ -e build/lint/build.ninja ] ||
        "$python" -m mesonbuild.mesonmain setup build/lint -Dpython=enabled -Dchecks=true >/dev/null
    ninja -C build/lint --quiet build.ninja
    "$python" -c 'import json; [print(f["file"]) for f in json.load(open("build/lint/compile_commands.json"))]' |
        grep -E '/src/(core|ext|tls)/.*[.]c$' | sort --unique |
        (cd build/lint && xargs -P "$(nproc)" -n 1 "$bin/clang-tidy" --quiet -p . 2>/dev/null)
}

mapfile -t c_files < <(find src include bench examples tests -name '*.[ch]')
mapfile -t shell_files < <(find tools tests .ci -type f -not -name '*.py' -exec grep -lE '^#!/bin/(ba)?sh' {} +)

check clang-format "$bin/clang-format" --dry-run -Werror "${c_files[@]}"
check clang-tidy clang_tidy
check 'ruff check' "$bin/ruff" check --quiet .
check 'ruff format' "$bin/ruff" format --quiet --check .
check mypy "$bin/mypy"
check 'shell syntax' bash -n "${shell_files[@]}"

if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}"
    exit 1
fi
echo 'nothing found'
