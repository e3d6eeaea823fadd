#!/bin/sh
# Watch three parties classify sentences that none of them can read.
#
#     scripts/demo.sh                     a few sentences of its own
#     scripts/demo.sh "TEXT" ...          yours
#     scripts/demo.sh --file FILE         a sentence a line
#     scripts/demo.sh --model MODEL ...   another model than models/sst2-minilm
#
# Installs the packages that are missing, builds, makes keys in a temporary folder, starts three processes on the
# loopback address, shares the model, runs the offline phase, classifies, and removes everything again.
set -eu
. "$(dirname "$0")/program.sh"

model=${top:-$here/..}/models/sst2-minilm
file=
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h) show_help ;;
    --model | --file)
        [ $# -gt 1 ] || usage_error "$1 needs a value"
        if [ "$1" = --model ]; then model=$2; else file=$2; fi
        shift 2
        ;;
    --)
        shift
        break
        ;;
    -*) usage_error "there is no option $1" ;;
    *) break ;;
    esac
done
[ -z "$file" ] || [ -r "$file" ] || fail "cannot read $file"

own=
folder=
clean_up() {
    status=$?
    trap '' INT TERM HUP
    trap - EXIT
    if [ -n "$folder" ]; then
        "$here/cluster.sh" stop "$folder/cluster" >/dev/null 2>&1 || true
        rm -rf "$folder"
    fi
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

step() {
    printf '\n== %s\n' "$*"
}

if [ -n "$top" ] && [ -z "${TREFOIL_PROGRAM:-}${TREFOIL_BUILD_DIR:-}" ]; then
    step "Building"
    "$here/build.sh" "$top/build/demo"
    TREFOIL_BUILD_DIR=$top/build/demo
    export TREFOIL_BUILD_DIR
fi
find_trefoil
TREFOIL_PROGRAM=$trefoil
export TREFOIL_PROGRAM
folder=$(mktemp -d)
texts=$folder/texts
if [ -n "$file" ]; then
    cp "$file" "$texts"
elif [ $# -gt 0 ]; then
    for text; do
        printf '%s\n' "$text"
    done >"$texts"
else
    own=yes
    cat >"$texts" <<'TXT'
it 's a charming and often affecting journey .
the plot is paper-thin and the jokes are older than the actors .
a film to see twice , and to think about for much longer .
a mess from start to finish , and a long one .
TXT
fi

# As many bundles of each length as there are texts of it.
"$trefoil" tokenize --model "$model" <"$texts" | awk 'NF { b = 16; while (b < NF) b *= 2; n[b]++ }
    END { for (b in n) print b, n[b] }' | sort -n >"$folder/lengths"

step "Three parties: P0 deals masks, P1 and P2 compute; the model goes to them in shares"
"$here/cluster.sh" start "$folder/cluster" --model "$model" --bundles 0 >"$folder/start.log" ||
    fail "the parties did not start"
"$here/cluster.sh" status "$folder/cluster" | grep ' runs as '
step "Offline: a bundle of masks for each text, before any text is known"
while read -r bucket bundles; do
    "$trefoil" offline --cluster "$folder/cluster" --bundles "$bundles" --bucket "$bucket"
done <"$folder/lengths"
step "Online: the texts, in shares; each spends a bundle; beside each answer that of the clear model"
"$trefoil" infer --cluster "$folder/cluster" --file "$texts" --clear
[ -z "$own" ] || printf '\nWith sentences of your own: %s "TEXT" ...\n' "$(quote "$0")"
