#!/bin/bash
# Install the Debian packages named, those that are missing; ask nothing.
# Elsewhere than on Debian and its relatives: say what is wanted, and go on,
# because the programs may be there under other names of packages.
set -euo pipefail

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "not a Debian system; these Debian packages, or their like, are needed: $*"
    exit 0
fi

missing=()
for package; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
        echo "as root, run: apt-get install ${missing[*]}" >&2
        exit 1
    }
    as_root=(sudo)
fi

# Database servers come as packages that start a service at once. The tests start
# their own on private ports and need no service, so none is started now.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap '"${as_root[@]}" rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
    "${as_root[@]}" chmod 755 $policy
fi

apt_install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --quiet=2 --no-install-recommends \
        -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "${missing[@]}" </dev/null
}

echo "installing Debian packages: ${missing[*]}"
# A fresh machine has no package lists, and one that was left alone has lists
# whose files the mirrors no longer keep: then once more after an update.
if ! apt_install >/dev/null 2>&1; then
    "${as_root[@]}" apt-get update --quiet=2 -o DPkg::Lock::Timeout=300
    apt_install >/dev/null
fi
