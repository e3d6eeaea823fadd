#!/bin/sh
# Three local parties, for trying things out: keys, configurations, stores and processes under one folder.
#
#     scripts/cluster.sh start DIR --model MODEL [--bundles N] [--bucket TOKENS]... [--name NAME]
#                                  [--calibration FILE] [--threads N] [--tune lan|wan]
#     scripts/cluster.sh start DIR          starts again what was stopped
#     scripts/cluster.sh stop DIR
#     scripts/cluster.sh status DIR
#
# start makes the keys, starts P0, P1 and P2 on free ports of the loopback address, shares the model and deals N
# bundles of each bucket. The commands of trefoil then take --cluster DIR (which is --config DIR/client.conf).
#
#     DIR/P0.conf P0.key P0.key.pub P0.pid P0/    configuration, keys, process and store of a party
#     DIR/client.conf client.key                  of somebody who may share, deal and infer
#     DIR/log/P0.log                              what a party had to say
set -eu
. "$(dirname "$0")/program.sh"

# Three parties share the processors here: threads of one that waits must not spin in the way of the others.
OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
export OMP_WAIT_POLICY

# ---- processes ----

# The process of a party if it runs: its command line must name its configuration, for numbers come again.
pid_of() {
    [ -f "$dir/$1.pid" ] || return 1
    pid=$(cat "$dir/$1.pid")
    [ -r "/proc/$pid/cmdline" ] || return 1
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF -- "$dir/$1.conf" || return 1
    echo "$pid"
}

running() {
    for party in P0 P1 P2; do
        if pid_of $party >/dev/null; then
            return 0
        fi
    done
    return 1
}

stop_all() {
    for party in P2 P1 P0; do
        if pid=$(pid_of $party); then
            kill -TERM "$pid" 2>/dev/null || true
        fi
    done
    for party in P2 P1 P0; do
        tries=0
        while pid=$(pid_of $party); do
            tries=$((tries + 1))
            if [ $tries -gt 300 ]; then
                echo "$party does not stop; killing it (its bundles are burnt when it starts again)" >&2
                kill -KILL "$pid" 2>/dev/null || true
                tries=0
            fi
            sleep 0.1
        done
        rm -f "$dir/$party.pid"
    done
}

# Starts a party and waits until it listens; sets $endpoint.
start_party() {
    log=$dir/log/$1.log
    : >>"$log"
    before=$(wc -c <"$log")
    # No process without a pid file, whenever Ctrl-C comes.
    trap '' INT TERM HUP
    setsid "$trefoil" party --config "$dir/$1.conf" >>"$log" 2>&1 </dev/null &
    pid=$!
    echo $pid >"$dir/$1.pid"
    trap - INT TERM HUP
    tries=0
    endpoint=
    while [ -z "$endpoint" ]; do
        endpoint=$(tail -c "+$((before + 1))" "$log" | sed -n "s/^$1 listening on //p" | tail -n 1)
        if [ -z "$endpoint" ] && ! kill -0 "$pid" 2>/dev/null; then
            tail -c "+$((before + 1))" "$log" >&2
            stop_all
            fail "$1 did not start"
        fi
        tries=$((tries + 1))
        if [ $tries -gt 600 ]; then
            stop_all
            fail "$1 is not ready after 60 seconds; see $log"
        fi
        [ -n "$endpoint" ] || sleep 0.1
    done
}

# Waits until the evaluators and the dealer have found each other.
wait_for_links() {
    tries=0
    until "$trefoil" status --config "$dir/client.conf" --json 2>/dev/null >"$dir/log/status.json" &&
        ! grep -q '"name":"P[012]","up":false' "$dir/log/status.json"; do
        tries=$((tries + 1))
        if [ $tries -gt 60 ]; then
            "$trefoil" status --config "$dir/client.conf" >&2 || true
            stop_all
            fail "the parties do not find each other; see $dir/log"
        fi
        sleep 0.2
    done
    rm -f "$dir/log/status.json"
}

# ---- configurations ----

peer() {
    printf '    { name = "%s"; role = "%s"; key_file = "%s.key.pub";%s }' "$1" "$2" "$1" "${3:+ endpoint = \"$3\";}"
}

# party_conf NAME LISTEN PEERS: rewritten with the port once it is known, so that a restart finds the same one.
party_conf() {
    cat >"$dir/$1.conf.new" <<TXT
name = "$1";
role = "$1";
key_file = "$1.key";
listen = "$2";
store = "$1";
threads = $threads;
peers = (
$3
);
TXT
    mv "$dir/$1.conf.new" "$dir/$1.conf"
}

# Text as it stands between the quotation marks of libconfig; and back again.
escape() {
    printf '%s' "$1" | sed 's/[\\"]/\\&/g'
}

unescape() {
    sed 's/\\\(.\)/\1/g'
}

client_conf() {
    cat >"$dir/client.conf" <<TXT
name = "client";
role = "owner"; # may share models, deal bundles and infer
key_file = "client.key";
model = "$(escape "$model")";
tune = "$tune";
peers = (
$(peer P0 P0 "$endpoint0"),
$(peer P1 P1 "$endpoint1"),
$(peer P2 P2 "$endpoint2")
);
TXT
}

# Each party calls those before it, so that three ports suffice and none is guessed.
create() {
    mkdir -p "$dir/log"
    chmod 700 "$dir"
    for who in P0 P1 P2 client; do
        [ -f "$dir/$who.key" ] || "$trefoil" keygen "$dir/$who.key" >/dev/null
    done
    any='tcp://127.0.0.1:*'
    peers0="$(peer P1 P1),
$(peer P2 P2),
$(peer client owner)"
    party_conf P0 "$any" "$peers0"
    start_party P0
    endpoint0=$endpoint
    party_conf P0 "$endpoint0" "$peers0"
    peers1="$(peer P0 P0 "$endpoint0"),
$(peer P2 P2),
$(peer client owner)"
    party_conf P1 "$any" "$peers1"
    start_party P1
    endpoint1=$endpoint
    party_conf P1 "$endpoint1" "$peers1"
    peers2="$(peer P0 P0 "$endpoint0"),
$(peer P1 P1 "$endpoint1"),
$(peer client owner)"
    party_conf P2 "$any" "$peers2"
    start_party P2
    endpoint2=$endpoint
    party_conf P2 "$endpoint2" "$peers2"
    client_conf
}

# ---- what a user asks for ----

newline='
'
read_options() {
    model='' bundles='' buckets='' name='' calibration='' threads=1 tune=wan
    while [ $# -gt 0 ]; do
        [ $# -gt 1 ] || usage_error "$1 needs a value, or is no option"
        case $1 in
        --model) model=$2 ;;
        --bundles) [ "$2" = 0 ] || check_number "$1" "$2" && bundles=$2 ;;
        --bucket) check_number "$1" "$2" && buckets="$buckets $2" ;;
        --name) name=$2 ;;
        --calibration) calibration=$2 ;;
        --threads) check_number "$1" "$2" && threads=$2 ;;
        --tune) tune=$2 ;;
        *) usage_error "there is no option $1" ;;
        esac
        shift 2
    done
    if [ -n "$model" ]; then
        [ -d "$model" ] || fail "$model is no folder"
        model=$(cd "$model" && pwd)
        case $model in *"$newline"*) fail "the name of the folder $model has more than one line" ;; esac
    fi
}

positions() {
    sed -n 's/.*"max_position_embeddings": *\([0-9]*\).*/\1/p' "$model/config.json" | head -n 1
}

# A few bundles for the usual lengths; fewer of a large model, whose bundles take hundreds of megabytes.
usual() {
    size=$(wc -c <"$model/model.safetensors")
    if [ -z "$bundles" ]; then
        bundles=8
        [ "$size" -lt 100000000 ] || bundles=2
    fi
    if [ -z "$buckets" ]; then
        most=$(positions)
        for bucket in 16 32 64 128; do
            [ "$bucket" -gt "${most:-512}" ] || buckets="$buckets $bucket"
        done
        [ -n "$buckets" ] || buckets=$most
    fi
}

share_and_deal() {
    "$trefoil" share --config "$dir/client.conf" --model "$model" ${name:+--name "$name"} \
        ${calibration:+--calibration "$calibration"} >"$dir/log/model.new" || {
        rm -f "$dir/log/model.new"
        fail "the parties run, but the model was not shared; $(quote "$0") stop $(quote "$dir") stops them"
    }
    mv "$dir/log/model.new" "$dir/log/model"
    deal
}

deal() {
    usual
    [ "$bundles" -gt 0 ] || return 0
    for bucket in $buckets; do
        "$trefoil" offline --config "$dir/client.conf" --bundles "$bundles" --bucket "$bucket" ||
            fail "the parties run and hold the model, but no bundles of $bucket tokens were dealt"
    done
}

next_steps() {
    shown=$(quote "$dir")
    cat <<TXT
three parties run, their logs are in $dir/log

    trefoil infer --cluster $shown --text "..."
    trefoil offline --cluster $shown --bucket 32 --bundles 10
    trefoil status --cluster $shown
    $(quote "$0") stop $shown
TXT
}

start() {
    [ ! -e "$dir" ] || [ -f "$dir/P0.key" ] || [ -z "$(ls -A "$dir")" ] ||
        fail "$dir is there already, and it is no cluster"
    if running; then
        fail "$dir is running already; stop it first"
    fi
    if [ -f "$dir/client.conf" ]; then
        known=$(sed -n 's/^model = "\(.*\)";$/\1/p' "$dir/client.conf" | unescape)
        for party in P0 P1 P2; do
            start_party $party
        done
        wait_for_links
        if [ -n "$model" ] && { [ "$model" != "$known" ] || [ ! -f "$dir/log/model" ]; }; then
            line="model = \"$(escape "$model")\";" awk '/^model = / { print ENVIRON["line"]; next } { print }' \
                "$dir/client.conf" >"$dir/client.conf.new"
            mv "$dir/client.conf.new" "$dir/client.conf"
            share_and_deal
        elif [ -n "$bundles$buckets" ]; then
            model=$known
            deal
        fi
    else
        [ -n "$model" ] || usage_error "--model MODEL is missing"
        [ -f "$model/config.json" ] || fail "$model has no config.json; a model is a Hugging Face folder"
        create
        wait_for_links
        share_and_deal
    fi
    next_steps
}

show_status() {
    [ -f "$dir/client.conf" ] || fail "$dir is no cluster"
    for party in P0 P1 P2; do
        if pid=$(pid_of $party); then
            echo "$party runs as process $pid"
        else
            echo "$party does not run"
        fi
    done
    running || fail "$dir does not run; $(quote "$0") start $(quote "$dir") starts it again"
    "$trefoil" status --config "$dir/client.conf"
}

command=${1:-}
case $command in
start | stop | status) ;;
--help | -h) show_help ;;
'') usage_error "start, stop or status?" ;;
*) usage_error "there is no command $command" ;;
esac
[ $# -ge 2 ] || usage_error "which folder?"
case $2 in -*) usage_error "which folder?" ;; esac
dir=$2
shift 2
read_options "$@"
if [ "$command" = start ]; then
    mkdir -p "$(dirname "$dir")"
    [ -d "$dir" ] || mkdir "$dir"
fi
[ -d "$dir" ] || fail "$dir is no cluster"
dir=$(cd "$dir" && pwd)
[ "$command" = stop ] || find_trefoil
case $command in
start) start ;;
stop)
    [ -f "$dir/P0.key" ] || fail "$dir is no cluster"
    running || echo "$dir is not running"
    stop_all
    ;;
status) show_status ;;
esac
