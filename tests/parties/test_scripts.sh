#!/bin/sh
# The scripts without any party: which program they run, and what they ask of a system.
set -eu
. "$(dirname "$0")/say.sh"
scripts=$source/scripts
model=$source/models/sst2-tiny

# ---- a program that is named is the one that runs, or nothing is ----
for script in "cluster.sh start" offline.sh online.sh; do
    # shellcheck disable=SC2086 # a script and its first argument, to be split
    set -- "$scripts/"$script "$scratch/cluster"
    expect 1 "$script knows no other program than TREFOIL_PROGRAM" env TREFOIL_PROGRAM="$scratch/none" "$@"
    says "TREFOIL_PROGRAM is $scratch/none, which is no program"
    expect 1 "nor than that of TREFOIL_BUILD_DIR" env TREFOIL_PROGRAM= TREFOIL_BUILD_DIR="$scratch/none" "$@"
    says "TREFOIL_BUILD_DIR is $scratch/none, and there is no program trefoil in it"
done
expect 1 "a folder is no program" env TREFOIL_PROGRAM="$scratch" "$scripts/online.sh" "$scratch" good
says "TREFOIL_PROGRAM is $scratch, which is no program"
expect 1 "the demo builds nothing in place of a program that is named" env TREFOIL_PROGRAM="$scratch/none" \
    "$scripts/demo.sh" --model "$model" good
says "TREFOIL_PROGRAM is $scratch/none, which is no program"
expect 1 "the program of TREFOIL_BUILD_DIR runs" env TREFOIL_PROGRAM= TREFOIL_BUILD_DIR="$(dirname "$trefoil")" \
    "$scripts/offline.sh" "$scratch/none"
says "$scratch/none/client.conf"

# ---- packages: a system of which nothing is real, for a user who is root, or may use sudo with a password or without ----
mkdir "$scratch/bin"
stub() {
    printf '#!/bin/sh\n%s\n' "$2" >"$scratch/bin/$1"
    chmod +x "$scratch/bin/$1"
}
# shellcheck disable=SC2016 # to be expanded in the stubs
{
    stub id 'echo "${USER_ID:?}"'
    stub dpkg 'echo amd64'
    stub dpkg-query 'for package; do :; done; case " $MISSING " in *" $package "*) exit 1 ;; esac; echo "amd64 installed"'
    stub apt-cache ':'
    stub apt-get 'echo "apt-get $*" >>"$CALLS"'
    stub sudo 'echo "sudo $*" >>"$CALLS"
case $1 in -n) shift; [ "${PASSWORD:-}" = none ] || exit 1 ;; esac
"$@"'
}
CALLS=$scratch/calls
export CALLS

# install_packages NAME=VALUE...
install_packages() {
    : >"$CALLS"
    env PATH="$scratch/bin:$PATH" "$@" "$scripts/install-packages.sh"
}

optional="libipsec-mb-dev libsimde-dev"
expect 0 "nothing is done if all packages are there" install_packages USER_ID=1000 MISSING=
[ ! -s "$CALLS" ] || wrong "it did $(cat "$CALLS")"
[ ! -s "$scratch/out" ] || wrong "it said something"
expect 0 "nobody is asked for a password for optional packages" install_packages USER_ID=1000 MISSING="$optional"
says "not installed, and optional: $optional"
[ "$(cat "$CALLS")" = "sudo -n true" ] || wrong "it did $(cat "$CALLS")"
expect 0 "they are installed where none is needed" install_packages USER_ID=1000 PASSWORD=none MISSING="$optional"
[ "$(grep -c '^apt-get .* install .* lib[a-z-]*-dev$' "$CALLS")" -eq 2 ] || wrong "it did $(cat "$CALLS")"
expect 0 "and by root" install_packages USER_ID=0 MISSING="$optional"
[ "$(grep -c '^apt-get .* install ' "$CALLS")" -eq 2 ] || wrong "it did $(cat "$CALLS")"
! grep -q sudo "$CALLS" || wrong "root uses sudo: $(cat "$CALLS")"
expect 0 "for those that are needed, sudo may ask" install_packages USER_ID=1000 MISSING="check libsimde-dev"
grep -q '^sudo env .* install .* check$' "$CALLS" || wrong "it did $(cat "$CALLS")"
says "not installed, and optional: libsimde-dev"
echo "$passed facts"
