#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Every table, one command. This script is the configuration: each value that is no default stands here, once.
#
#   bash run_all.sh          mini: the embedded collection, offline, no GPU needed
#   bash run_all.sh real     AfriQA, lafand-mt, XQuAD-R, NTREX-128; files from MIRROR, else downloaded
#   bash run_all.sh test     the test suite
#
#   PLAN=1    print each stage, its command and whether it is done; run nothing
#   SMOKE=1   every stage on a few sentences, under two minutes; the numbers mean nothing
#   LANGS="sw so"   SEEDS="1 2 3"   OUT=folder   DEVICE=cpu|cuda   PRECISION=float32|bf16
#   ENCODER=name or folder (real)   MIRROR=folder of files (real)   PYTHON=interpreter to use as it is
#
# A stage that is done is skipped: OUT/stamps/<stage> holds its command; the same one skips, another stops.
# After a kill the same command goes on where it was: finished languages and methods are kept, and a training
# resumes from its checkpoint.
set -euo pipefail
cd "$(dirname "$0")"

profile=${1:-mini}
smoke=${SMOKE:-}
plan=${PLAN:-}
out=${OUT:-out/$profile${smoke:+-smoke}}
seeds=${SEEDS:-1}
langs=${LANGS:-}
langs=${langs//,/ }

case $profile in
    mini|real|test) ;;
    *) echo "error: no profile '$profile'; one of: mini, real, test" >&2; exit 2 ;;
esac

# -------------------------------------------------------------------------------------- environment

set_up() {   # set_up REQUIREMENTS: a virtual environment with the pinned packages, made once
    if [ -n "${PYTHON:-}" ] || [ -n "$plan" ]; then PYTHON=${PYTHON:-.venv/bin/python}; return; fi
    PYTHON=.venv/bin/python
    local stamp=.venv/installed-$1
    if ! cmp -s "$1" "$stamp"; then
        echo "== set-up: .venv, $1"
        [ -x "$PYTHON" ] || python3 -m venv .venv
        "$PYTHON" -m pip install --quiet --disable-pip-version-check -r "$1"
        cp "$1" "$stamp"
    fi
}

stage() {    # stage NAME COMMAND...: run once; its log is OUT/logs/NAME.log
    local name=$1; shift
    local stamp=$out/stamps/$name log=$out/logs/$name.log state=todo
    if [ -f "$stamp" ]; then
        state=done
        if [ "$(cat "$stamp")" != "$*" ]; then state="done with another command"; fi
    fi
    if [ -n "$plan" ]; then echo "[$state] $name: $*"; return; fi
    if [ "$state" = "done" ]; then echo "== $name: done"; return; fi
    if [ "$state" != "todo" ]; then
        echo "error: $stamp: stage $name was made by another command: $(cat "$stamp");" \
            "delete $out or set OUT" >&2
        exit 2
    fi
    mkdir -p "$(dirname "$stamp")" "$(dirname "$log")"
    echo "== $name (log: $log)"
    local began=$SECONDS status=0
    "$@" | tee -a "$log" || status=${PIPESTATUS[0]}
    if [ "$status" -ne 0 ]; then
        echo "error: stage $name ended with status $status; the same command resumes it" >&2
        exit "$status"
    fi
    echo "   $((SECONDS - began)) s"
    printf '%s\n' "$*" > "$stamp.tmp" && mv "$stamp.tmp" "$stamp"
}

export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-30000}   # a busy machine slows training then, and does not stall it
export TOKENIZERS_PARALLELISM=false   # the tokenizer's threads and torch's would fight for the same cores

if [ "$profile" = test ]; then
    set_up requirements-dev.txt
    exec "$PYTHON" -m pytest -q tests
fi
set_up requirements.txt

# ------------------------------------------------------------------------------------ configuration

machine=(); prepare=()
[ -z "${DEVICE:-}" ] || machine+=(--device "$DEVICE")
[ -z "$smoke" ] || prepare+=(--smoke)
[ -z "$langs" ] || prepare+=(--langs $langs)
if [ "$profile" = mini ]; then
    first_lang=${langs:-sw}
    machine+=(--precision "${PRECISION:-float32}")
    pretrain=(--vocab 6000 --hidden 128 --layers 4 --steps 1500 --batch 128 --lr 1e-3)
    teacher=(--dim 128 --query-tokens 32 --doc-tokens 96 --steps 600 --batch 32 --negatives 2 --lr 5e-4)
    student=(--batch 32 --max-tokens 48)
    steps=600 tune_steps=600 grid=(3e-4 1e-3 3e-3 1e-2)
else
    first_lang=${langs:-swa}
    machine+=(--precision "${PRECISION:-auto}")
    encoder=${ENCODER:-google-bert/bert-base-multilingual-uncased}
    teacher=(--dim 128 --query-tokens 32 --doc-tokens 180 --epochs 1 --batch 32 --mine 8 --negatives 1
             --lr 5e-5)
    student=(--batch 64 --max-tokens 64)
    steps=600 tune_steps=100 grid=(1e-4 3e-4 1e-3 3e-3)
    prepare+=(--strict)   # no passage of a test question is a training passage
    [ -z "${MIRROR:-}" ] || prepare+=(--mirror "$MIRROR")
fi
if [ -n "$smoke" ]; then
    pretrain=(--vocab 1000 --hidden 32 --layers 2 --steps 20 --batch 32 --lr 1e-3)
    teacher=(--dim 32 --query-tokens 32 --doc-tokens 64 --steps 8 --batch 8 --negatives 1 --lr 5e-4)
    student=(--batch 8 --max-tokens 48)
    steps=6 tune_steps=3
fi

# ------------------------------------------------------------------------------------------- stages

data=$out/data
python=$PYTHON
stage data "$python" data.py prepare "$profile" --out "$data" "${prepare[@]}"
stage bm25 "$python" baselines.py bm25 --data "$data" --out "$out/runs"
stage lexicon "$python" baselines.py lexicon --data "$data" --out "$out/lexicon"
stage bm25-lexicon "$python" baselines.py bm25-lexicon --data "$data" --lexicon "$out/lexicon" \
    --out "$out/runs"
stage psq "$python" baselines.py psq --data "$data" --lexicon "$out/lexicon" --out "$out/runs"
first_seed=
for s in $seeds; do
    dir=$out/s$s
    if [ "$profile" = mini ]; then
        encoder=$dir/encoder
        stage "pretrain-s$s" "$python" optical.py pretrain --data "$data" --out "$encoder" --seed "$s" \
            "${pretrain[@]}" "${machine[@]}"
    fi
    stage "teacher-s$s" "$python" optical.py teacher --data "$data" --encoder "$encoder" \
        --out "$dir/teacher" --seed "$s" "${teacher[@]}" "${machine[@]}"
    common=(--data "$data" --teacher "$dir/teacher" --cache "$dir/vectors" --seed "$s" "${machine[@]}")
    if [ -z "$first_seed" ]; then   # learning rates are chosen once: on dev bitext, by the first seed
        first_seed=$s
        stage tune "$python" optical.py tune "${common[@]}" --out "$out/tune" --langs ${first_lang%% *} \
            --lr "${grid[@]}" --steps $tune_steps "${student[@]}"
        stage subwords "$python" optical.py subwords --data "$data" --teacher "$dir/teacher" \
            --out "$out/subwords.json"
    fi
    stage "distil-s$s" "$python" optical.py distil "${common[@]}" --out "$dir/students" \
        --lr-file "$out/tune/lr.json" --steps $steps "${student[@]}"
    stage "search-s$s" "$python" optical.py search "${common[@]}" --students "$dir/students" --out "$out/runs"
done
stage scores "$python" evaluate.py score --data "$data" --runs "$out/runs" --subwords "$out/subwords.json" \
    --out "$out/scores.json"
stage tables "$python" evaluate.py tables "$out/scores.json" --out "$out/tables.md"
if [ -z "$plan" ]; then
    cat "$out/tables.md"
    echo "tables: $out/tables.md   scores: $out/scores.json"
fi
