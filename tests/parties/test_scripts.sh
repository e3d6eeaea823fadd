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
echo "$passed facts"
