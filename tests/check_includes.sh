#!/bin/sh
# A folder includes only itself and folders to its left:
#
#     ring -> net, store -> preprocessing -> layers -> model -> distill -> parties
set -eu
cd "${TREFOIL_SOURCE:-$(dirname "$0")/..}"

may_include() {
    case $1 in
    ring) echo "ring" ;;
    net) echo "ring net" ;;
    store) echo "ring store" ;;
    preprocessing) echo "ring net store preprocessing" ;;
    layers) echo "ring net store preprocessing layers" ;;
    model) echo "ring net store preprocessing layers model" ;;
    distill) echo "ring net store preprocessing layers model distill" ;;
    parties) echo "ring net store preprocessing layers model distill parties" ;;
    esac
}

wrong=0 seen=0
for folder in ring net store preprocessing layers model distill parties; do
    allowed=$(may_include $folder)
    for file in "$folder"/*.[ch]; do
        seen=$((seen + 1))
        # shellcheck disable=SC2013 # folder names are words
        for included in $(sed -n 's|^ *# *include *"\([a-z]*\)/.*|\1|p' "$file" | sort -u); do
            case " $allowed " in *" $included "*) continue ;; esac
            echo "$file includes $included/, which is not to the left of $folder/"
            wrong=$((wrong + 1))
        done
    done
done
[ "$seen" -gt 50 ] || {
    echo "only $seen files were looked at"
    exit 1
}
[ $wrong -eq 0 ]
