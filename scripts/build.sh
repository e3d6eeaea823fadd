#!/bin/sh
# Builds Trefoil from a source tree, packages included.
#
#     scripts/build.sh [FOLDER [CONFIGURE OPTION...]]
#
# FOLDER is build/demo of the source tree unless said otherwise. Quiet unless something fails; FOLDER/build.log has
# it all.
set -eu
. "$(dirname "$0")/program.sh"
case ${1:-} in --help | -h) show_help ;; esac
[ -n "$top" ] || fail "the scripts are installed, there is nothing to build"

folder=${1:-$top/build/demo}
[ $# -eq 0 ] || shift
"$here/install-packages.sh"
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
log=$folder/build.log

run() {
    "$@" >>"$log" 2>&1 || {
        tail -n 30 "$log" >&2
        fail "\"$*\" failed; the whole log is $log"
    }
}

: >"$log"
# newer THAN FILE...: whether one of the files is newer, or THAN is missing
newer() {
    than=$1
    shift
    [ ! -f "$than" ] || [ -n "$(find "$@" -newer "$than")" ]
}

if newer "$top/configure" "$top/configure.ac" || newer "$top/Makefile.in" "$top/configure.ac" "$top/Makefile.am" \
    "$top"/*/Makefile.inc "$top"/tests/*/Makefile.inc; then
    run autoreconf -i "$top"
fi
cd "$folder"
if newer config.status "$top/configure" || [ ! -f Makefile ] || [ $# -gt 0 ]; then
    run "$top/configure" -q "$@"
fi
run make -j"$(nproc)"
