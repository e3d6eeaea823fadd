#!/bin/sh
# One training step in C against PyTorch, where there is one: PYTHON names an interpreter that has it. Exit 77: skipped.
python=${PYTHON:-python3}
"$python" -c 'import torch' 2>/dev/null || exit 77
folder=$(mktemp -d) || exit 99
trap 'rm -rf "$folder"' EXIT
tests/distill/torch_step "$folder" || exit 1
"$python" -B "$TREFOIL_SOURCE/distill/torch/compare.py" "$folder"
