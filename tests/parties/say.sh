# shellcheck shell=sh
# Sourced by the test scripts: runs commands and judges what they say.
#
#     $trefoil   the program      $source   the source tree      $scratch   a folder, removed at the end

# shellcheck disable=SC2034 # used where this is sourced
trefoil=${TREFOIL_PROGRAM:?} source=${TREFOIL_SOURCE:?}
scratch=$(mktemp -d)
passed=0

clean_up() {
    status=$?
    trap - EXIT
    if command -v end_test >/dev/null 2>&1; then
        end_test
    fi
    rm -rf "$scratch"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

wrong() {
    echo "WRONG: $*"
    echo "it said:"
    cat "$scratch/out" "$scratch/err"
    exit 1
}

# expect STATUS FACT COMMAND...: the command ends with that status; its output is in $scratch/out and err.
expect() {
    expected=$1 fact=$2
    shift 2
    if "$@" >"$scratch/out" 2>"$scratch/err"; then
        got=0
    else
        got=$?
    fi
    [ "$got" -eq "$expected" ] || wrong "$fact: exit status $got, not $expected ($*)"
    [ "$expected" -eq 0 ] || [ -s "$scratch/err" ] || wrong "$fact: failed without a word"
    passed=$((passed + 1))
    echo "ok $passed $fact"
}

# says TEXT: standard output or standard error holds it.
says() {
    grep -qF -- "$1" "$scratch/out" "$scratch/err" || wrong "nothing of \"$1\""
}

# number FIELD: of the JSON object in the output.
number() {
    sed -n "s/.*\"$1\": *\([-0-9.eE+]*\).*/\1/p" "$scratch/out" | head -n 1
}
