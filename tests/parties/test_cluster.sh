#!/bin/sh
# Three real processes: from a model to labels through scripts/cluster.sh, and everything that can go wrong on the way
# is a clear error with a non-zero status that loses nothing.
set -eu
. "$(dirname "$0")/say.sh"
model=$source/models/sst2-tiny
cluster="$scratch/the owner's cluster"
odd="$scratch/R&D | \\1 \"new\""
TREFOIL_PROGRAM=$trefoil
export TREFOIL_PROGRAM

end_test() {
    "$source/scripts/cluster.sh" stop "$cluster" >/dev/null 2>&1 || true
}

ready() {
    "$trefoil" status --cluster "$cluster" --json |
        sed -n 's/.*"bucket":16,[^}]*"ready":\([0-9]*\).*/\1/p' | tail -n 1
}

infer() {
    "$trefoil" infer --cluster "$cluster" "$@"
}

ln -s "$source/models" "$odd"
expect 0 "a cluster starts, shares its model and deals" "$source/scripts/cluster.sh" start "$cluster" --model \
    "$odd/sst2-tiny" --bundles 3 --bucket 16
says "three parties run"
says "--cluster '$scratch/the owner'\\''s cluster' --text"
says "$source/scripts/cluster.sh stop '$scratch/the owner'\\''s cluster'"
grep -q '^Max core file size  *0  *0 ' "/proc/$(cat "$cluster/P1.pid")/limits" || wrong "a party may leave a core file"
expect 1 "it is not started twice" "$source/scripts/cluster.sh" start "$cluster" --model "$model"
says "running already"
expect 0 "status shows the model and its bundles" "$trefoil" status --cluster "$cluster"
says "sst2-tiny"
[ "$(ready)" -eq 3 ] || wrong "not three bundles"

expect 0 "a text is classified" infer --text "a charming and often affecting journey" --json
says '"label":"positive"'
rounds=$(number rounds) bytes=$(number bytes)
expect 0 "count foretells" "$trefoil" count --model "$model" --tokens 16 --json
[ "$(number rounds)" -eq "$rounds" ] || wrong "counted other rounds than were run: $rounds"
[ "$(number online_bytes)" -eq "$bytes" ] || wrong "counted other bytes than were sent: $bytes"

# ---- a program of somebody else's, by libtrefoil ----
library=$(dirname "$trefoil")/tests/parties/library
in_cluster() {
    (cd "$cluster" && "$@")
}
expect 0 "libtrefoil deals" in_cluster "$library" 10 2
[ "$(cat "$scratch/out")" = 2 ] || wrong "not two bundles"
[ "$(ready)" -eq 4 ] || wrong "not two bundles more"
expect 0 "the example of its header classifies" in_cluster "$library"
label=$(cat "$scratch/out")
expect 0 "as the command does" infer --text "a charming film" --json
says "\"label\":\"$label\""
expect 2 "it says what is wrong" in_cluster "$library" 1000 1
says "1000"
[ "$(ready)" -eq 2 ] || wrong "not a bundle each"

# ---- a script for each phase, and one for both ----
left=$(ready)
expect 0 "offline.sh deals" "$source/scripts/offline.sh" "$cluster" --bundles 3 --bucket 16
[ "$(ready)" -eq $((left + 3)) ] || wrong "not three bundles more"
expect 0 "online.sh classifies" "$source/scripts/online.sh" "$cluster" good "what a mess"
[ "$(grep -c '^  private' "$scratch/out")" -eq 2 ] || wrong "not two answers"
printf 'good\n' >"$scratch/text"
expect 0 "and what is in a file" "$source/scripts/online.sh" "$cluster" --file "$scratch/text"
[ "$(grep -c '^  private' "$scratch/out")" -eq 1 ] || wrong "not one answer"
[ "$(ready)" -eq "$left" ] || wrong "not a bundle each"
mkdir "$scratch/demo"
expect 0 "the demo runs" env TMPDIR="$scratch/demo" "$source/scripts/demo.sh" --model "$model" good \
    "the plot is paper-thin and the jokes are older than all of the actors ."
[ "$(sed -n 's/^  private  *\([a-z]*\).*/\1/p' "$scratch/out" | tr '\n' ' ')" = "positive negative " ] || wrong "other labels"
[ "$(grep -c '^  clear' "$scratch/out")" -eq 2 ] || wrong "no answers in the clear"
[ -z "$(ls -A "$scratch/demo")" ] || wrong "it left something behind"

# ---- what is refused, without spending a bundle ----
left=$(ready)
expect 1 "an empty text is refused" infer --text ""
says "empty"
expect 1 "a text longer than the model is refused" infer --text "$(yes word | head -n 600 | tr '\n' ' ')"
says "602 tokens"
expect 1 "a text without bundles of its length is refused" infer --text "$(yes word | head -n 40 | tr '\n' ' ')"
says "trefoil offline --config '$scratch/the owner'\\''s cluster/client.conf' --bucket 64"
expect 2 "two texts are one too many" infer --text a --text b
says "say it once"
expect 1 "a model nobody shared is refused" infer --text good --name 0123456789abcdef
says "0123456789abcdef"
! grep -qF 'P1: P1' "$scratch/err" || wrong "the party is named twice"
expect 1 "a name that is none is not that of the model shared last" "$trefoil" remove --cluster "$cluster" --name \
    "$(printf '\351')"
says "UTF-8"
mkdir "$scratch/bare"
cp "$model/config.json" "$model/model.safetensors" "$scratch/bare"
expect 1 "the configuration of a party is none for a client" "$trefoil" status --config "$cluster/P0.conf"
says "is the configuration of the party P0"
expect 1 "a missing vocabulary is named" infer --text good --model "$scratch/bare"
says "$scratch/bare/vocab.txt"
"$trefoil" random-model --layers 1 --hidden 16 --heads 2 --ffn 32 --vocabulary 300 --positions 32 "$scratch/other"
expect 1 "embeddings of another model are refused" infer --text good --model "$scratch/other"
says "is not the model"
mkdir "$scratch/words"
cp "$model/config.json" "$model/model.safetensors" "$model/tokenizer_config.json" "$scratch/words"
sed -e '2001{h;d' -e '}' -e '2002{G' -e '}' "$model/vocab.txt" >"$scratch/words/vocab.txt"
expect 1 "a vocabulary with two words exchanged is refused" infer --text good --model "$scratch/words"
says "embedding tables or vocabulary differ"
mkdir "$scratch/torn"
cp "$model/config.json" "$model/vocab.txt" "$model/tokenizer_config.json" "$scratch/torn"
head -c 100000 "$model/model.safetensors" >"$scratch/torn/model.safetensors"
expect 1 "a truncated weight file is not shared" "$trefoil" share --cluster "$cluster" --model "$scratch/torn"
says "$scratch/torn/model.safetensors"

"$trefoil" keygen "$cluster/stranger.key" >/dev/null
sed -e 's/client\.key/stranger.key/; s/name = "client"/name = "stranger"/; s/^model/timeout_ms = 2000; model/' \
    "$cluster/client.conf" >"$cluster/stranger.conf"
expect 1 "a key that is on no list is refused" "$trefoil" infer --config "$cluster/stranger.conf" --text good
expect 1 "and learns nothing of the parties" "$trefoil" status --config "$cluster/stranger.conf"
expect 1 "nothing is exported of a model that was not shared" "$trefoil" share --config "$cluster/stranger.conf" \
    --model "$scratch/other" --export "$scratch/never"
[ ! -e "$scratch/never/model.safetensors" ] || wrong "its public part was written"
sed -e 's/name = "P1"; role = "P1"; key_file = "P1.key.pub"/name = "P1"; role = "P1"; key_file = "stranger.key.pub"/' \
    -e 's/^model/timeout_ms = 2000; model/' "$cluster/client.conf" >"$cluster/wrong.conf"
expect 1 "a party with another key than expected is not talked to" "$trefoil" infer --config "$cluster/wrong.conf" \
    --text good
says "P1"
[ "$(ready)" -eq "$left" ] || wrong "something that was refused cost a bundle"

# ---- running out, and dealing more ----
expect 0 "lines of standard input are classified" sh -c "printf 'good\nbad\n' | \"\$1\" infer --cluster \"\$2\"" sh \
    "$trefoil" "$cluster"
expect 1 "no bundle is left" infer --text good --json
says "no bundle of 16 tokens or more is left"
expect 0 "more are dealt" "$trefoil" offline --cluster "$cluster" --bundles 2 --bucket 16 --json
[ "$(number dealt)" -eq 2 ] || wrong "not two bundles were dealt"
expect 0 "and it goes on" infer --text good --clear
says "clear"

if [ -w /dev/full ]; then
    for command in "infer --text good" status; do
        expect 1 "a full disk for the output of $command" sh -c "\"\$1\" $command --cluster \"\$2\" >/dev/full" sh \
            "$trefoil" "$cluster"
        says "disk is full"
    done
fi

# ---- a file ----
"$trefoil" offline --cluster "$cluster" --bundles 7 --bucket 16 >/dev/null
printf '%s\n' 'a warm and funny film' 'dull , loud' 'i loved it' 'what a mess' 'it is fine' 'far too long' >"$scratch/lines"
expect 0 "lines of a file, several at a time" infer --file "$scratch/lines" --in-flight 4
grep -v '^  ' "$scratch/out" | cmp -s - "$scratch/lines" || wrong "not all lines, or not in their order"
[ "$(grep -c '^  private' "$scratch/out")" -eq 6 ] || wrong "not six answers"
expect 1 "too few bundles for a file" infer --file "$scratch/lines" --in-flight 2
says "no bundle of 16 tokens or more is left"
says "$scratch/lines:"
says "have no answer"
grep -v '^  ' "$scratch/out" | cmp -s - "$scratch/lines" && wrong "more lines than bundles"

# ---- lines that cannot be classified ----
"$trefoil" offline --cluster "$cluster" --bundles 4 --bucket 16 >/dev/null
{
    printf 'good\n\n\t\n%s\nb\0ad\n' "$(yes word | head -n 600 | tr '\n' ' ')"
    head -c 3000000 /dev/zero | tr '\0' a
    printf '\nbad\n'
} >"$scratch/texts"
for from in file input; do
    if [ $from = file ]; then
        name=$scratch/texts
        expect 1 "lines that cannot be classified are left out of a file" infer --json --file "$scratch/texts"
    else
        name="standard input"
        # shellcheck disable=SC2016 # to be expanded in that shell
        expect 1 "and of standard input" sh -c '"$1" infer --json --cluster "$2" <"$3"' sh "$trefoil" "$cluster" \
            "$scratch/texts"
    fi
    says "$name:3: the text is empty"
    says "$name:4: the text has 602 tokens"
    says "$name:5: the line holds a byte of value 0"
    says "$name:6: the line has more than 1048576 bytes"
    says "4 of 6 lines could not be classified"
    [ "$(sed -n 's/.*"line":\([0-9]*\).*/\1/p' "$scratch/out" | tr '\n' ' ')" = "1 7 " ] || wrong "not the lines 1 and 7"
done

# ---- evaluation ----
printf 'sentence\tlabel\n' >"$scratch/dev.tsv"
for sentence in 'a warm and funny film	1' 'dull , loud and far too long	0' 'i loved it	1' 'what a mess	0' \
    'it is fine	1' 'nobody laughed , and i could not blame them for it at all	0'; do
    printf '%s\n' "$sentence" >>"$scratch/dev.tsv"
done
expect 0 "eval deals by itself" "$trefoil" eval --cluster "$cluster" --task sst-2 --data "$scratch/dev.tsv" --json
[ "$(number n)" -eq 6 ] || wrong "not six examples"
[ "$(number agree)" -eq 6 ] || wrong "private and float disagree"
awk "BEGIN { exit !($(number max_logit_diff) <= 0.02) }" || wrong "logits too far apart"
expect 0 "eval in batches" "$trefoil" eval --cluster "$cluster" --task sst-2 --data "$scratch/dev.tsv" --batch 4 --json
[ "$(number agree)" -eq 6 ] || wrong "private and float disagree in batches"
expect 0 "eval several at a time" "$trefoil" eval --cluster "$cluster" --task sst-2 --data "$scratch/dev.tsv" --in-flight 3 --json
[ "$(number agree)" -eq 6 ] || wrong "private and float disagree, several at a time"

# ---- a second model: a regression on pairs ----
"$trefoil" random-model --layers 1 --hidden 32 --heads 2 --ffn 64 --vocabulary 400 --positions 32 --labels 1 \
    "$scratch/score"
expect 0 "a second model is shared under a name, and its public part written" "$trefoil" share --cluster "$cluster" \
    --model "$scratch/score" --name scorer --export "$scratch/public"
expect 0 "which may be written again" "$trefoil" share --cluster "$cluster" --model "$scratch/score" --name again \
    --export "$scratch/public"
"$trefoil" remove --cluster "$cluster" --name again >/dev/null
expect 1 "the public part is no whole model" "$trefoil" count --model "$scratch/public"
says "is the public part of a model"
"$trefoil" offline --cluster "$cluster" --name scorer --bundles 1 --bucket 16 >/dev/null
expect 0 "it suffices to infer" infer --text "one" --pair "two" --model "$scratch/public" --name scorer --json
says '"probabilities":[]'
printf 'sentence1\tsentence2\tscore\none\ttwo\t1\nthree\tfour five\t2.5\nsix\tseven\t-1\n' >"$scratch/pairs.tsv"
expect 0 "eval knows regressions" "$trefoil" eval --cluster "$cluster" --task tsv --data "$scratch/pairs.tsv" --model \
    "$scratch/score" --name scorer --json
says '"metric":"pearson"'
[ "$(number agree)" -eq 3 ] || wrong "scores too far apart"
expect 0 "a model is removed by name" "$trefoil" remove --cluster "$cluster" --name scorer
"$trefoil" offline --cluster "$cluster" --bundles 1 --bucket 16 >/dev/null
expect 0 "and the other one serves again" infer --text good --json

# ---- two models of one name: a client's folder says which one is its own ----
for which in older newer; do
    "$trefoil" share --cluster "$cluster" --model "$scratch/score" --name twin --export "$scratch/$which" >/dev/null
done
older=$(cut -c 1-12 "$scratch/older/trefoil_model_id") newer=$(cut -c 1-12 "$scratch/newer/trefoil_model_id")
[ "$older" != "$newer" ] || wrong "two models have one id"
"$trefoil" offline --cluster "$cluster" --name "$older" --bundles 1 --bucket 16 >/dev/null
expect 1 "the folder of the newer one does not take bundles of the older one" infer --text one --pair two \
    --model "$scratch/newer"
says "--bundles 10 --name $newer"
expect 0 "the older folder gets the older model" infer --text one --pair two --model "$scratch/older"
sed "s|^model = .*|model = \"$scratch/older\";|" "$cluster/client.conf" >"$cluster/older.conf"
expect 0 "bundles are dealt for the model of the configured folder" "$trefoil" offline --config "$cluster/older.conf" \
    --bundles 2 --bucket 16
expect 0 "and serve it" "$trefoil" infer --config "$cluster/older.conf" --text one --pair two
expect 0 "a name that is given is meant all the same" infer --text one --pair two --model "$scratch/newer" --name "$older"
"$trefoil" remove --cluster "$cluster" --name "$older" >/dev/null
expect 1 "when the older one is gone its folder does not follow the newer one" infer --text one --pair two \
    --model "$scratch/older"
says "$scratch/older was exported for the model $older"
says "take the folder that its owner exported then"
"$trefoil" remove --cluster "$cluster" --name "$newer" >/dev/null
printf 'no id\n' >"$scratch/older/trefoil_model_id"
expect 1 "a folder with a torn id is refused" infer --text one --pair two --model "$scratch/older"
says "$scratch/older/trefoil_model_id: this is no id of a model"

# ---- another model, again in a folder of an odd name ----
ln -s "$source/models" "$odd 2"
"$source/scripts/cluster.sh" stop "$cluster" >/dev/null
expect 0 "a cluster starts with another model" "$source/scripts/cluster.sh" start "$cluster" --model "$odd 2/sst2-tiny" \
    --name second --bundles 1 --bucket 16
cp "$cluster/log/model" "$scratch/shared"
expect 0 "which the client finds" infer --text good --json
"$source/scripts/cluster.sh" stop "$cluster" >/dev/null
expect 0 "and with the same" "$source/scripts/cluster.sh" start "$cluster" --model "$odd 2/sst2-tiny" --bundles 1 --bucket 16
cmp -s "$cluster/log/model" "$scratch/shared" || wrong "the model was shared a second time"
"$source/scripts/cluster.sh" stop "$cluster" >/dev/null
expect 0 "and with what was shared last, and deals" "$source/scripts/cluster.sh" start "$cluster" --bundles 1 \
    --bucket 16
"$trefoil" remove --cluster "$cluster" --name second >/dev/null

# ---- stopping and starting ----
"$trefoil" offline --cluster "$cluster" --bundles 2 --bucket 16 >/dev/null
left=$(ready)
expect 0 "a cluster stops" "$source/scripts/cluster.sh" stop "$cluster"
expect 1 "then nobody answers" "$source/scripts/cluster.sh" status "$cluster"
says "$source/scripts/cluster.sh start '$scratch/the owner'\\''s cluster' starts it again"
expect 0 "and starts again" "$source/scripts/cluster.sh" start "$cluster"
[ "$(ready)" -eq "$left" ] || wrong "a clean stop lost bundles"
expect 0 "with its model" infer --text good --json
"$source/scripts/cluster.sh" stop "$cluster" >/dev/null
for who in P0 P1 P2; do
    sed -i 's/^threads = 1;$/threads = 1; requests_max = 1;/' "$cluster/$who.conf"
done
"$source/scripts/cluster.sh" start "$cluster" >/dev/null
"$trefoil" offline --cluster "$cluster" --bundles 24 --bucket 16 >/dev/null
yes 'it is good' | head -n 24 >"$scratch/many"
expect 0 "lines wait for parties that are busy" infer --file "$scratch/many" --in-flight 24
[ "$(grep -c '^  private' "$scratch/out")" -eq 24 ] || wrong "not every line was answered"

kill -KILL "$(cat "$cluster/P2.pid")"
sed 's/^model/timeout_ms = 2000; model/' "$cluster/client.conf" >"$cluster/hasty.conf"
expect 1 "a dead party is named" "$trefoil" infer --config "$cluster/hasty.conf" --text good
says "P2"
expect 1 "status tells who does not answer" "$trefoil" status --config "$cluster/hasty.conf"
says "P2: no answer"
"$source/scripts/cluster.sh" stop "$cluster" >/dev/null
expect 0 "after a crash it starts again" "$source/scripts/cluster.sh" start "$cluster"
expect 1 "its bundles are burnt" infer --text good
says "no bundle"
expect 0 "new ones are dealt" "$trefoil" offline --cluster "$cluster" --bundles 1 --bucket 16
expect 0 "and spent" infer --text good --json

# ---- a store that is full ----
"$source/scripts/cluster.sh" stop "$cluster" >/dev/null
sed -i 's/^store = "P2";$/store = "P2"; store_size = "24 MiB";/' "$cluster/P2.conf"
"$source/scripts/cluster.sh" start "$cluster" >/dev/null
expect 1 "a full store refuses bundles" "$trefoil" offline --cluster "$cluster" --bundles 60 --bucket 128
says "P2"
sed -i 's/ store_size = "24 MiB";//' "$cluster/P2.conf"
"$source/scripts/cluster.sh" stop "$cluster" >/dev/null
"$source/scripts/cluster.sh" start "$cluster" >/dev/null
expect 0 "with more room it goes on" "$trefoil" offline --cluster "$cluster" --bundles 1 --bucket 16
expect 0 "and the model is still there" infer --text good --json

expect 0 "a model is removed" "$trefoil" remove --cluster "$cluster" --name sst2-tiny
expect 1 "and then it is gone" infer --text good
expect 0 "the cluster stops" "$source/scripts/cluster.sh" stop "$cluster"
! grep -F Sanitizer "$cluster"/log/*.log || wrong "a sanitizer had something to say"
echo "$passed facts"
