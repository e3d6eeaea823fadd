#!/bin/sh
# The offline phase: deals bundles at the parties of a cluster, for texts to come.
#
#     scripts/offline.sh DIR [--bundles N] [--bucket TOKENS]...
#
# DIR is a folder of scripts/cluster.sh, or any with a client.conf. 10 bundles of 16, 32, 64 and 128 tokens each unless
# said otherwise.
set -eu
. "$(dirname "$0")/program.sh"
case ${1:-} in
--help | -h) show_help ;;
'' | -*) usage_error "which folder?" ;;
esac
dir=$1
shift
bundles=10 buckets=''
while [ $# -gt 0 ]; do
    [ $# -gt 1 ] || usage_error "$1 needs a value, or is no option"
    check_number "$1" "$2"
    case $1 in
    --bundles) bundles=$2 ;;
    --bucket) buckets="$buckets $2" ;;
    *) usage_error "there is no option $1" ;;
    esac
    shift 2
done
find_trefoil
for bucket in ${buckets:-16 32 64 128}; do
    "$trefoil" offline --cluster "$dir" --bundles "$bundles" --bucket "$bucket"
done
