#!/bin/sh
# Run by scripts/check.sh: an installed copy stands on its own.
#
#     check_installed.sh DESTDIR
set -eu
place=$1
root=$(dirname "$(dirname "$(find "$place" -path '*/bin/trefoil')")")
"$root/bin/trefoil" --version
"$root/bin/trefoil" count --model "$root/share/trefoil/models/sst2-tiny" --tokens 16 --json
"$root/share/trefoil/scripts/cluster.sh" --help >/dev/null
test -s "$root/share/man/man1/trefoil.1"
test -s "$root/share/man/man5/trefoil.conf.5"

# A program of somebody else, by header and pkg-config file alone.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cat >"$scratch/user.c" <<'TXT'
#include <stdio.h>
#include <string.h>
#include <trefoil.h>

int main(void)
{
    struct trefoil *trefoil = NULL;
    if (trefoil_open(&trefoil, "/nonexistent.conf", NULL, NULL) == 0)
        return 1;
    puts(trefoil_message());
    return strstr(trefoil_message(), "nonexistent.conf") == NULL || strcmp(trefoil_version(), TREFOIL_VERSION) != 0;
}
TXT
prefix=${root#"$place"}
PKG_CONFIG_PATH=$(dirname "$(find "$place" -name trefoil.pc)")
export PKG_CONFIG_PATH
flags=$(pkg-config --cflags --libs --define-variable=prefix="$root" trefoil)
# shellcheck disable=SC2086 # flags, to be split
cc -o "$scratch/user" "$scratch/user.c" $flags
LD_LIBRARY_PATH=$(dirname "$(find "$place" -name 'libtrefoil.so')") "$scratch/user"
echo "prefix $prefix: fine"
