#!/bin/sh
# Installs the Debian packages that building Trefoil needs, where they are missing.
#
#     scripts/install-packages.sh
#
# Works as root or with sudo. Does nothing, and needs no network, if all are there. Optional ones are installed only where
# that takes no password. doc/dependencies.md says what each is for.
set -eu
. "$(dirname "$0")/program.sh"
case ${1:-} in --help | -h) show_help ;; esac

packages="gcc libc6-dev make autoconf automake libtool pkg-config check libzmq3-dev liblmdb-dev libsodium-dev
libopenblas-dev libjansson-dev libutf8proc-dev libconfig-dev libssl-dev"

command -v dpkg-query >/dev/null 2>&1 ||
    fail "this is no Debian system: install by hand what corresponds to $packages"

# For this processor: other architectures may have the package as well.
architecture=$(dpkg --print-architecture)
is_installed() {
    dpkg-query -W -f '${Architecture} ${db:Status-Status}\n' "$1" 2>/dev/null |
        grep -qxE "(all|$architecture) installed"
}

missing=
optional=
for package in $packages; do
    # pkgconf stands in for pkg-config.
    if [ "$package" = pkg-config ] && command -v pkg-config >/dev/null 2>&1; then
        continue
    fi
    is_installed "$package" || missing="$missing $package"
done
# For Intel and AMD processors; Trefoil is slower without the first, less of it is tested without the second, but whole without both.
if [ "$architecture" = amd64 ]; then
    for package in libipsec-mb-dev libsimde-dev; do
        is_installed "$package" || optional="$optional $package"
    done
fi
[ -n "$missing$optional" ] || exit 0

as_root=
[ "$(id -u)" -eq 0 ] || as_root=sudo

apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@"
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if [ -n "$missing" ]; then
    [ -z "$as_root" ] || command -v sudo >/dev/null 2>&1 ||
        fail "neither root nor sudo: ask an administrator to install$missing"
    echo "installing$missing"
    try=1
    # shellcheck disable=SC2086 # names, to be split
    # Package lists may be missing or out of date, and mirrors fail at times.
    until apt update >"$log" 2>&1 && apt install --no-install-recommends $missing >>"$log" 2>&1; do
        if [ "$try" -ge 3 ]; then
            tail -n 20 "$log" >&2
            fail "could not install$missing"
        fi
        try=$((try + 1))
        sleep 5
    done
fi
[ -n "$optional" ] || exit 0
if [ -n "$as_root" ] && ! sudo -n true 2>/dev/null; then
    echo "not installed, and optional:$optional"
    exit 0
fi
for package in $optional; do
    apt-cache show "$package" >/dev/null 2>&1 || continue
    echo "installing $package"
    apt install --no-install-recommends "$package" >"$log" 2>&1 ||
        echo "$package could not be installed: it is optional"
done
