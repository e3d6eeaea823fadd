#!/bin/sh
# Builds Trefoil and passes its tests: plain, under the address, undefined-behaviour and thread sanitizers, and from a
# distribution archive.
#
#     scripts/check.sh            everything
#     scripts/check.sh --quick    the plain build and its tests only
#
# Installs the packages that are missing. Builds in build/check, build/asan and build/tsan; each keeps its logs. Ends
# with a line "N passed, N failed"; exit status 0 if nothing failed.
set -eu
. "$(dirname "$0")/program.sh"
quick=
case ${1:-} in
--help | -h) show_help ;;
--quick) quick=yes ;;
'') ;;
*) usage_error "there is no option $1" ;;
esac
[ -n "$top" ] || fail "the scripts are installed, there is nothing to check"

passed=0 failed=0
totals=$(mktemp)
trap 'rm -f "$totals"' EXIT

step() {
    printf '\n== %s\n' "$*"
}

# verdict WHAT STATUS
verdict() {
    if [ "$2" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $1"
    fi
}

# Adds up what the tests of a build said: every test of Check by itself, a test script as one.
count_tests() {
    find "$1/tests" -name '*.trs' | sort | while read -r result; do
        log=${result%.trs}.log
        said=$(sed -n 's/.*Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\)$/\1 \2 \3/p' "$log")
        if [ -n "$said" ]; then
            echo "$said"
        elif grep -q '^:test-result: SKIP' "$result"; then
            echo "0 0 0"
        elif grep -q '^:test-result: PASS' "$result"; then
            echo "1 0 0"
        else
            echo "1 1 0"
        fi
        # A program that crashed after its last test, or was ended by a sanitizer.
        if [ -n "$said" ] && grep -q '^:test-result: FAIL' "$result" && [ "${said#* }" = "0 0" ]; then
            echo "1 1 0"
        fi
    done | awk '{ n += $1; f += $2; e += $3 } END { printf "%d %d %d\n", n, f, e }' >"$totals"
    read -r checks failures errors <"$totals"
    echo "Checks: $checks, Failures: $failures, Errors: $errors"
    passed=$((passed + checks - failures - errors))
    failed=$((failed + failures + errors))
}

# check FOLDER CONFIGURE-OPTION...
check() {
    folder=$top/build/$1
    shift
    if ! "$here/build.sh" "$folder" "$@"; then
        verdict "the build in $folder" 1
        return
    fi
    find "$folder/tests" -name '*.trs' -exec rm -f {} + 2>/dev/null || true
    if make -C "$folder" -j"$(nproc)" check >"$folder/check.log" 2>&1; then
        ok=0
    else
        ok=1
    fi
    grep -E '^(PASS|FAIL|XFAIL|ERROR|SKIP):' "$folder/check.log" || tail -n 30 "$folder/check.log"
    if [ $ok -ne 0 ]; then
        find "$folder/tests" -name '*.trs' -exec grep -lE '^:test-result: (FAIL|ERROR)' {} + | while read -r result; do
            echo "---- ${result%.trs}.log"
            tail -n 40 "${result%.trs}.log"
        done
        verdict "make check in $folder" 1
    fi
    count_tests "$folder"
}

# The archive builds, installs and uninstalls somewhere else. All tests were run above; those that are built quickly and read
# files of the source tree show here that the archive has them.
archive() {
    programs="tests/ring/test_golden tests/model/test_tokenizer"
    rm -rf "$top/build/check/trefoil-"*
    if make -C "$top/build/check" distcheck check_PROGRAMS="$programs" TESTS="$programs tests/check_includes.sh \
        tests/parties/test_scripts.sh tests/parties/test_usage.sh" AM_MAKEFLAGS=-j2 >"$top/build/check/dist.log" 2>&1; then
        verdict "make distcheck" 0
    else
        tail -n 30 "$top/build/check/dist.log"
        verdict "make distcheck" 1
    fi
}

# An installed copy stands on its own: program, pkg-config file and header are enough for somebody else's program.
installed() {
    place=$top/build/installed
    rm -rf "$place"
    if make -C "$top/build/check" install DESTDIR="$place" >"$top/build/check/install.log" 2>&1 &&
        sh "$top/tests/parties/check_installed.sh" "$place" >>"$top/build/check/install.log" 2>&1; then
        verdict "the installed copy" 0
    else
        tail -n 30 "$top/build/check/install.log"
        verdict "the installed copy" 1
    fi
}

scripts() {
    if ! command -v shellcheck >/dev/null 2>&1; then
        echo "shellcheck is not installed: the scripts are not looked at"
    elif (cd "$top" && find scripts tests .ci -type f \( -name '*.sh' -o -name run \) -exec shellcheck -x {} +); then
        verdict "shellcheck" 0
    else
        verdict "shellcheck" 1
    fi
}

step "Packages"
"$here/install-packages.sh"
step "Scripts"
scripts
step "Build and tests"
check check --enable-werror
if [ -z "$quick" ]; then
    step "Installed copy and archive"
    installed
    archive
    step "Tests under the address and undefined-behaviour sanitizers"
    check asan --enable-werror --with-sanitizer=address,undefined
    step "Tests under the thread sanitizer"
    check tsan --enable-werror --with-sanitizer=thread
fi
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
