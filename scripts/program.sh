# shellcheck shell=sh
# Sourced by the other scripts: finds the trefoil program and says what goes wrong.
#
#     $here     the folder of the scripts
#     $top      the source tree they stand in, or empty if they are installed
#     $trefoil  the program, after find_trefoil
#
# TREFOIL_PROGRAM names the program; TREFOIL_BUILD_DIR the folder it was built in. Where one of them is set and wrong, no
# other program runs instead.

here=$(cd "$(dirname "$0")" && pwd)
top=
if [ -f "$here/../configure.ac" ]; then
    top=$(cd "$here/.." && pwd)
fi

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

usage_error() {
    echo "$(basename "$0"): $*" >&2
    echo "Try $0 --help" >&2
    exit 2
}

# As a shell takes it: in quotes where it needs them.
quote() {
    case $1 in
    *[!A-Za-z0-9_./:=@%+,-]*) printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")" ;;
    *) printf '%s' "$1" ;;
    esac
}

# The comment at the head of a script is its manual.
show_help() {
    sed -n -e '1d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"
    exit 0
}

is_program() {
    [ -f "$1" ] && [ -x "$1" ]
}

check_settings() {
    [ -z "${TREFOIL_PROGRAM:-}" ] || is_program "$TREFOIL_PROGRAM" ||
        fail "TREFOIL_PROGRAM is $TREFOIL_PROGRAM, which is no program"
    [ -z "${TREFOIL_BUILD_DIR:-}" ] || is_program "$TREFOIL_BUILD_DIR/trefoil" ||
        fail "TREFOIL_BUILD_DIR is $TREFOIL_BUILD_DIR, and there is no program trefoil in it"
}

# Sets trefoil; fails if there is none.
look_for_trefoil() {
    trefoil=
    for candidate in "${TREFOIL_PROGRAM:-}" "${TREFOIL_BUILD_DIR:+$TREFOIL_BUILD_DIR/trefoil}" \
        "${top:+$top/build/demo/trefoil}" "${top:+$top/trefoil}" "${top:+$top/build/trefoil}" \
        "${top:+$top/build/check/trefoil}" "$here/../../../bin/trefoil"; do
        if [ -n "$candidate" ] && is_program "$candidate"; then
            trefoil=$(cd "$(dirname "$candidate")" && pwd)/$(basename "$candidate")
            return 0
        fi
    done
    # shellcheck disable=SC2034 # used where this is sourced
    trefoil=$(command -v trefoil)
}

# In a source tree that has not been built, it is built.
find_trefoil() {
    check_settings
    if look_for_trefoil; then
        return
    fi
    [ -n "$top" ] || fail "there is no trefoil program here; set TREFOIL_PROGRAM"
    echo "building trefoil in $top/build/demo" >&2
    "$here/build.sh" >&2
    look_for_trefoil || fail "there is no trefoil program in $top/build/demo"
}

# A number option: whole and positive.
check_number() {
    case $2 in
    '' | *[!0-9]* | 0*) usage_error "$1 takes a whole number, not \"$2\"" ;;
    esac
}
