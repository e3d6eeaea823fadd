#!/bin/sh
# The trefoil command without any party: what it prints, how it ends, what it refuses.
set -eu
. "$(dirname "$0")/say.sh"
model=$source/models/sst2-tiny

expect 0 "--version prints the version" "$trefoil" --version
says "trefoil "
expect 0 "--help lists the commands" "$trefoil" --help
says "  infer "
for command in keygen party share offline infer eval status remove count tokenize random-model; do
    expect 0 "$command has help" "$trefoil" $command --help
    says "Usage: trefoil $command"
    expect 0 "help $command is the same" "$trefoil" help $command
    says "Usage: trefoil $command"
    expect 2 "$command refuses a strange option" "$trefoil" $command --no-such-option
    says "trefoil $command: "
done
sed -e 's/\\-/-/g' -e 's/\\f[BIR]//g' "$source/doc/trefoil.1" >"$scratch/page"
for command in $("$trefoil" --help | sed -n 's/^  \([a-z-]*\)  .*/\1/p'); do
    expect 0 "the manual knows the options of $command" "$trefoil" "$command" --help
    for option in $(sed -n 's/^ \{1,6\}\(-., \)\{0,1\}\(--[a-z0-9-]*\).*/\2/p' "$scratch/out"); do
        grep -qE -- "(^|[^a-z0-9-])$option([^a-z0-9-]|\$)" "$scratch/page" || wrong "trefoil(1) has no $option"
    done
done
for variable in $(sed -n 's/.*getenv("\([A-Z_]*\)").*/\1/p' "$source"/*/*.c); do
    grep -q "^\.B $variable\$" "$scratch/page" || wrong "trefoil(1) has no $variable"
done
expect 2 "no command is a wrong use" "$trefoil"
expect 2 "a strange command is a wrong use" "$trefoil" frobnicate
says 'there is no command "frobnicate"'
expect 2 "infer must know where" "$trefoil" infer --text x
says "Say --cluster DIR or --config FILE"
expect 2 "eval must know the task" "$trefoil" eval --task nonsense
says "sst-2"
expect 2 "a number must be one" "$trefoil" offline --cluster "$scratch" --bucket many
says "--bucket takes a whole number from 2 to 65536, not many"
expect 1 "a missing configuration is named" "$trefoil" status --cluster "$scratch/none"
says "$scratch/none/client.conf"

expect 0 "keygen makes a pair" "$trefoil" keygen "$scratch/key"
[ "$(cat "$scratch/out")" = "$(cat "$scratch/key.pub")" ] || wrong "keygen prints another key than it writes"
expect 1 "keygen never writes over a key" "$trefoil" keygen "$scratch/key"
says "exists already"
expect 0 "keygen shows the public key" "$trefoil" keygen --show "$scratch/key"
[ "$(cat "$scratch/out")" = "$(cat "$scratch/key.pub")" ] || wrong "keygen --show prints another key"

mkdir "$scratch/examples"
cp "$source"/doc/examples/*.conf "$scratch/examples"
for who in P0 P1 P2 owner client operator; do
    "$trefoil" keygen "$scratch/examples/$who.key" >/dev/null
done
for who in P0 P1 P2; do
    expect 0 "the example of $who is valid" "$trefoil" party --config "$scratch/examples/$who.conf" --check
    says "a valid configuration of $who"
done
for who in owner client operator; do
    expect 1 "the example of the $who is valid, and no party's" "$trefoil" party --config \
        "$scratch/examples/$who.conf" --check
    says "the role of a party is P0, P1 or P2"
done

printf 'it works\nA\tB\n\n' >"$scratch/texts"
expect 0 "tokenize prints a line a line" "$trefoil" tokenize --model "$model" <"$scratch/texts"
printf '101 2009 2573 102\n101 1037 102 1038 102\n101 102\n' | cmp -s - "$scratch/out" || wrong "other ids"
{
    cat "$scratch/texts"
    head -c 3000000 /dev/zero | tr '\0' a
    printf '\nit works\n'
} >"$scratch/endless"
expect 1 "a line without bound is not tokenized" "$trefoil" tokenize --model "$model" <"$scratch/endless"
says "standard input:4: the line has more than 1048576 bytes"
[ "$(wc -l <"$scratch/out")" -eq 3 ] || wrong "not the lines before it"
mkdir "$scratch/bare"
cp "$model/config.json" "$model/model.safetensors" "$scratch/bare"
expect 1 "a missing vocabulary is named" "$trefoil" tokenize --model "$scratch/bare" <"$scratch/texts"
says "$scratch/bare/vocab.txt"
expect 1 "and so it is when a model is counted" "$trefoil" count --model "$scratch/bare"
says "$scratch/bare/vocab.txt"
cp "$model/vocab.txt" "$scratch/bare"
rm -f "$scratch/bare/model.safetensors"
head -c 100000 "$model/model.safetensors" >"$scratch/bare/model.safetensors"
expect 1 "a truncated weight file is named" "$trefoil" count --model "$scratch/bare"
says "$scratch/bare/model.safetensors"

expect 0 "count --json" "$trefoil" count --model "$model" --tokens 32 --json
for field in rounds openings online_bytes offline_bytes store_bytes; do
    [ "$(number $field)" -gt 0 ] || wrong "$field is not there"
done
rounds=$(number rounds)
expect 0 "count prints a table" "$trefoil" count --model "$model" --tokens 32
says "layer 2"
says "pooler"
expect 0 "rounds do not depend on the length" "$trefoil" count --model "$model" --tokens 64 --json
[ "$(number rounds)" -eq "$rounds" ] || wrong "other rounds at another length"
expect 0 "lan takes a round more a layer" "$trefoil" count --model "$model" --tokens 32 --tune lan --json
[ "$(number rounds)" -eq $((rounds + 2)) ] || wrong "lan does not take one round more a layer"
expect 1 "more tokens than the model has positions" "$trefoil" count --model "$model" --tokens 513
says "513"

expect 0 "random-model writes a folder" "$trefoil" random-model --layers 1 --hidden 16 --heads 2 --ffn 32 \
    --vocabulary 300 --positions 32 "$scratch/random"
expect 0 "which counts" "$trefoil" count --model "$scratch/random" --json
expect 0 "which counts at another length" "$trefoil" count --model "$scratch/random" --tokens 16 --json
cp "$scratch/random/model.safetensors" "$scratch/before"
expect 1 "random-model does not replace a model" "$trefoil" random-model --layers 1 --hidden 16 --heads 2 --ffn 32 \
    --vocabulary 300 --positions 32 --seed 2 "$scratch/random"
says "holds a model already"
cmp -s "$scratch/before" "$scratch/random/model.safetensors" || wrong "the model was replaced"
expect 0 "unless it is told to" "$trefoil" random-model --layers 1 --hidden 16 --heads 2 --ffn 32 --vocabulary 300 \
    --positions 32 --seed 2 --overwrite "$scratch/random"
! cmp -s "$scratch/before" "$scratch/random/model.safetensors" || wrong "the model was not replaced"
expect 1 "share does not export over the weights of its model" "$trefoil" share --config \
    "$scratch/examples/owner.conf" --model "$scratch/random" --export "$scratch/./random/" --overwrite
says "is the folder of the model itself"
cp -r "$scratch/random" "$scratch/random2"
expect 1 "nor over those of another" "$trefoil" share --config "$scratch/examples/owner.conf" --model \
    "$scratch/random" --export "$scratch/random2"
says "random2 holds a model already"
cmp -s "$scratch/random/model.safetensors" "$scratch/random2/model.safetensors" || wrong "the weights were replaced"
latin=$(printf 'caf\351')
newline='a
b'
expect 2 "share refuses a name that is not UTF-8" "$trefoil" share --config "$scratch/examples/owner.conf" --model \
    "$scratch/random" --name "$latin"
says "UTF-8"
expect 2 "and one of two lines" "$trefoil" share --config "$scratch/examples/owner.conf" --model "$scratch/random" \
    --name "$newline"
says "control characters"
cp -r "$scratch/random" "$scratch/$latin"
expect 1 "also where the folder is called so" "$trefoil" share --config "$scratch/examples/owner.conf" --model \
    "$scratch/$latin"
says "choose another name with --name"
expect 1 "random-model refuses a shape that makes no sense" "$trefoil" random-model --hidden 10 --heads 3 \
    "$scratch/wrong"

printf 'sentence\tlabel\nit is good\t1\nit is bad\t0\nwhat a mess\t0\n' >"$scratch/task.tsv"
expect 0 "eval --float needs no party" "$trefoil" eval --float --model "$model" --task sst-2 --data \
    "$scratch/task.tsv" --json
[ "$(number n)" -eq 3 ] || wrong "not three examples"
says '"metric":"accuracy"'
expect 1 "eval refuses a label the task has not" "$trefoil" eval --float --model "$model" --task sst-2 --data \
    "$scratch/texts"
mkdir "$scratch/teacher"
cp "$model/model.safetensors" "$model/vocab.txt" "$model/tokenizer_config.json" "$scratch/teacher/"
sed 's/"hidden_act": *"quad"/"hidden_act": "gelu"/' "$model/config.json" >"$scratch/teacher/config.json"
expect 0 "eval --float runs a model that is no student" "$trefoil" eval --float --model "$scratch/teacher" \
    --task sst-2 --data "$scratch/task.tsv" --json
[ "$(number n)" -eq 3 ] || wrong "not three examples"
if [ -w /dev/full ]; then
    expect 1 "a full disk is an error" sh -c "\"\$1\" tokenize --model \"\$2\" <\"\$3\" >/dev/full" sh "$trefoil" \
        "$model" "$scratch/texts"
    says "disk is full"
    expect 1 "also of what count prints" sh -c '"$1" count --model "$2" >/dev/full' sh "$trefoil" "$model"
    says "trefoil count: cannot write the output: the disk is full"
    for option in --version --help help "help count" "count --help"; do
        expect 1 "and of $option" sh -c "\"\$1\" $option >/dev/full" sh "$trefoil"
        says "disk is full"
    done
fi
expect 1 "and so is an output that is closed" sh -c '"$1" count --model "$2" >&-' sh "$trefoil" "$model"
says "cannot write the output"
echo "$passed facts"
