#!/bin/sh
# The online phase: classifies texts at the parties of a cluster, with bundles that were dealt before.
#
#     scripts/online.sh DIR [TEXT...]
#     scripts/online.sh DIR --file FILE
#
# DIR is a folder of scripts/cluster.sh, or any with a client.conf. Without texts, a line of standard input each.
set -eu
. "$(dirname "$0")/program.sh"
case ${1:-} in
--help | -h) show_help ;;
'' | -*) usage_error "which folder?" ;;
esac
dir=$1
shift
find_trefoil
if [ $# -eq 0 ]; then
    exec "$trefoil" infer --cluster "$dir"
elif [ "$1" = --file ]; then
    [ $# -eq 2 ] || usage_error "--file takes one file"
    exec "$trefoil" infer --cluster "$dir" --file "$2"
fi
for text; do
    printf '%s\n' "$text"
done | "$trefoil" infer --cluster "$dir"
