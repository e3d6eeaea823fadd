#!/bin/sh
# Measures Trefoil on this machine, as doc/performance.md tells: a model of BERT-base's shape with random weights, three
# parties on loopback, and the same behind three slower links.
#
#     scripts/performance.sh [--quick] [FOLDER]
#
# Writes into FOLDER (build/performance of the source tree, or ./performance): for 128 tokens, 512 tokens, a batch of 8 times 128
# tokens, and 8 inferences at a time behind a metro link each a report as .json, a page with charts as .html, and the table as .txt. --quick: 128 tokens only, three
# runs. The machine should do nothing else meanwhile. Takes 16 GB of memory and, for as long as it runs, 20 GB of
# disk in TMPDIR; --quick 8 GB and 8 GB.
set -eu
. "$(dirname "$0")/program.sh"
quick=
case ${1:-} in
--help | -h) show_help ;;
--quick)
    quick=yes
    shift
    ;;
-*) usage_error "there is no option $1" ;;
esac
[ $# -le 1 ] || usage_error "too many arguments"
folder=${1:-${top:+$top/build/}performance}
find_trefoil
mkdir -p "$folder"
model=$(mktemp -d)
trap 'rm -rf "$model"' EXIT
trap 'exit 1' INT TERM
"$trefoil" random-model "$model" >/dev/null

# measure NAME OPTION...
measure() {
    name=$1
    shift
    echo "== $name" >&2
    "$trefoil" bench --model "$model" --html "$folder/$name.html" --report "$folder/$name.json" "$@" >"$folder/$name.txt"
    sed -n '/^clear float/,$p' "$folder/$name.txt"
}

uptime >"$folder/load.txt"
if [ -n "$quick" ]; then
    measure 128 --tokens 128 --links --runs 3
else
    measure 128 --tokens 128 --links
    measure 512 --tokens 512 --runs 3
    measure 128-batch-8 --tokens 128 --batch 8 --runs 3
    measure 128-in-flight-8 --tokens 128 --in-flight 8 --rate 1e9 --delay 1 --runs 3
fi
echo "reports, pages and tables are in $folder"
