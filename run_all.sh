#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Every table, one command. This script is the configuration: each value that is no default stands here, once.
#   bash run_all.sh          mini: the embedded collection, offline, no GPU needed
#   bash run_all.sh real     AfriQA and lafand-mt, XQuAD-R and NTREX-128; files from MIRROR, else downloaded
#   bash run_all.sh headlines  of NTREX-128 in the paper's seven languages; TICO-19, SIB-200, HornMT
#   bash run_all.sh paper    the paper's setting: mBERT, MS MARCO, seven languages of OPUS; one GPU, days
#   bash run_all.sh test     the test suite
#   PLAN=1   print each stage, its command and whether it is done; run nothing
#   SMOKE=1  every stage on a few sentences, a few minutes; the numbers mean nothing
#   LANGS="sw so"  SEEDS="1 2 3"  OUT=folder  DEVICE=cpu|cuda  PRECISION=float32|bf16  PYTHON=interpreter
#   JOBS=n   processes side by side; default: one a core, at most 4 (real: 2, paper: 1)
#   TABLES="1 2"   only these (1, 2 and 11 are always made); default: mini all, real and paper 1 and 2
#   NMT=none|bitext|name   no translation (real), one trained from bitext (mini), or a pre-trained one (paper)
#   CODES="sw=swh_Latn en=eng_Latn"|none   language codes of a translator of another name than NLLB's
#   MODELS="64x2"   sizes of table 9, width x layers; not mini: names or folders of encoders
#   not mini: ENCODER=name or folder  FREEZE=1 (train its projection alone)  MIRROR=folder  WIKI=wikiclir
#   TEACHER=folder of a teacher, or of another run with the same seeds  RATES=folder of another run's tune
#   DICTIONARY=folder with en-sw.txt as MUSE has it   paper: CLEF=folder  BITEXT=ccaligned|ccmatrix|paracrawl
# A stage that is done (OUT/stamps) is skipped. After a kill the same command goes on, to the same bytes.
set -eo pipefail
cd "$(dirname "$0")"
export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-30000}   # a busy machine slows training then, and does not stall it
export TOKENIZERS_PARALLELISM=false   # the tokenizer's threads and torch's would fight for the same cores
words() { set -f; set -- ${*//,/ }; set +f; echo "$*"; }        # lists may have commas: "sw, so" is "sw so"
on() { [ "${1:-0}" = 0 ] || echo 1; }                           # SMOKE=0 is as good as none
fail() { echo "error: $1" >&2; exit "${2:-2}"; }
wanted() { [[ " $tables " = *" $1 "* ]]; }
profile=${1:-mini} smoke=$(on "$SMOKE") plan=$(on "$PLAN") seeds=$(words ${SEEDS:-1}) langs=$(words "$LANGS")
profiles="mini real headlines paper test" out=${OUT:-out/$profile${smoke:+-smoke}}
[[ " $profiles " = *" $profile "* ]] || fail "no profile '$profile'; one of: $profiles"

# -------------------------------------------------------------------------------------- environment
need=requirements$([ "$profile" != test ] || echo -dev).txt
if [ -z "$PYTHON$plan" ] && ! cat $need constraints.txt | cmp -s - .venv/installed-$need; then
    echo "== set-up: .venv, $need"         # a virtual environment with the pinned packages, made once
    [ -x .venv/bin/python ] || python3 -m venv .venv
    sed -n 's/ \\$//; /==/p' constraints.txt > .venv/versions.txt      # tests/hashes.py checks the hashes
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r $need -c .venv/versions.txt
    cat $need constraints.txt > .venv/installed-$need
fi
PYTHON=${PYTHON:-.venv/bin/python}
if [ "$profile" = test ]; then
    ! "$PYTHON" -c "import xdist" 2> /dev/null || workers=(-n 2 --dist loadfile --no-loadscope-reorder)
    [ -z "${workers[*]}" ] || export OMP_NUM_THREADS=1     # two workers, a core each
    [ -z "$plan" ] || { echo "[todo] test: $PYTHON -m pytest -q ${workers[*]} tests"; exit; }
    exec "$PYTHON" -m pytest -q "${workers[@]}" tests
fi

# ------------------------------------------------------------------------------------ configuration
cores=$(getconf _NPROCESSORS_ONLN) epsilon=0.05 tau=0.05 masks=augment tables="1 2"    # the others: days more
data=$out/data lexicon=("$out/lexicon") prepare=(${smoke:+--smoke} ${langs:+--langs $langs})
machine=(${DEVICE:+--device "$DEVICE"} --precision) methods=(contrastive optical ours mean greedy code-switch)
if [ "$profile" = mini ]; then
    low="sw so tl mr" study=${langs:-sw} mix=${langs:-sw so fi de} jobs=4 tables="1 2 3 4 5 6 7 8 9 10 11"
    translator=${NMT:-bitext} PRECISION=${PRECISION:-float32} MODELS=${MODELS:-32x2 64x2} methods+=(wikiclir)
    alone=(--threads 2) shared=(--threads 1)             # the same numbers on any number of cores
    pretrain=(--vocab 6000 --hidden 96 --layers 3 --ffn 2 --steps 1500 --batch 128 --lr 1e-3)
    teacher=(--dim 128 --query-tokens 32 --doc-tokens 96 --steps 600 --batch 32 --negatives 2 --lr 5e-4)
    student=(--batch 32 --max-tokens 48 --negatives 2)
    tune_steps=(400 1000) tau=0.03 grid=(1e-3 3e-3 1e-2)         # tau: best on dev of 0.01 to 0.1
    [ -n "$langs" ] || tune="sw mr"                      # two scripts: what one prefers is not all's choice
    nmt=(--batch 32 --max-tokens 48) nmt_grid=(5e-4 1e-3 2e-3)
    hybrid=(--steps 200 --batch 32 --lr 5e-4)
    by_size=(methods={optical,mean,contrastive},pairs={250,1000,2000})
    switches=(methods=code-switch,switch={0.25,0.5,1},lexicon-size={100,200})
elif [ "$profile" = paper ]; then
    # The paper's: encoder, data, lengths with mask tokens, dimensions, number of pairs. ColBERT's: the
    # teacher's batch and rate. Ours: all else. mBERT has seen no Somali; FacebookAI/xlm-roberta-base has.
    low="sw so tl mr" study=${langs:-sw} mix=${langs:-sw so fi de} jobs=1 masks=no-augment
    translator=${NMT:-facebook/nllb-200-distilled-600M}
    teacher=(--augment --steps 100000 --batch 32 --lr 3e-6) student=(--batch 128)
    steps=20000 tune_steps=1000 grid=(3e-6 1e-5 3e-5 1e-4)       # steps: as many for every method
    nmt=(--batch 128) nmt_grid=(3e-5 1e-4 3e-4)
    by_size=(methods={optical,mean,contrastive},pairs={1000,10000,100000})
    switches=(methods=code-switch,switch={0.25,0.5,1},lexicon-size={1000,10000})
    bitext=(--pairs 100000) translations=("$data/translations")    # Model 1: memory; mMARCO's German, French
    prepare+=(${BITEXT:+--bitext "$BITEXT"} ${CLEF:+--clef "$CLEF"})
else
    low="swa hau ibo twi yor zul sw so tl mr" jobs=2 translator=${NMT:-none}
    study=$(cut -d' ' -f1-2 <<< "${langs:-$([ "$profile" = real ] && echo swa hau || echo so mr)}") mix=$study
    teacher=(--epochs 1 --batch 32 --lr 5e-5) student=(--batch 32)
    tune_steps=(100 400) grid=(3e-5 1e-4 3e-4)
    nmt=(--batch 64 --dropout 0) nmt_grid=(3e-4 1e-3)
    by_size=(methods={optical,contrastive},pairs={250,1000,4000})
    switches=(methods=code-switch,switch={0.25,0.5,1},lexicon-size={1000,4000})
fi
ablation=(questions=0.5 average=0.5 epsilon={0.02,0.05,0.1,0.2} init=bare layers=1
          plan={uniform,ipot,exact,unbalanced,greedy} cost=sqeuclidean marginals={idf,norm})
ablation=(${ablation[@]/#epsilon=$epsilon/})             # it stands in table 2
if [ "$profile" != mini ]; then
    encoder=${ENCODER:-google-bert/bert-base-multilingual-uncased}
    prepare+=(${MIRROR:+--mirror "$MIRROR"} ${WIKI:+--wiki "$WIKI"})
    methods+=(${WIKI:+wikiclir}) ablation=(max-tokens=32 steps=1200 "${ablation[@]}" max-tokens=128)
    lexicon=(${DICTIONARY:+"$DICTIONARY"} "${lexicon[@]}")
fi
first=${study%% *} tune=${tune:-$(cut -d' ' -f1-2 <<< "$study")} models=$(words $MODELS)
tables=$(words ${TABLES:-$tables}) jobs=${JOBS:-$((cores < jobs ? cores : jobs))}
machine+=("${PRECISION:-auto}") student+=(--epsilon "$epsilon" --tau "$tau")
[ "$translator" = none ] || methods+=(translate-train)
if [ -n "$smoke" ]; then
    pretrain=(--vocab 1000 --hidden 32 --layers 2 --steps 20 --batch 32 --lr 1e-3) study=$first
    teacher=(--dim 32 --doc-tokens 64 --steps 8 --batch 8 --lr 5e-4) student+=(--batch 8 --max-tokens 48)
    nmt=(--batch 8 --max-tokens 48 --beams 2) ablation=("${ablation[@]/1200/8}")
    tune_steps=(4 6) steps=${steps:+6} hybrid=(--steps 4 --batch 8 --lr 5e-4)
    by_size=(methods={optical,mean},pairs=20) switches=(methods=code-switch,switch={0.25,1},lexicon-size=20)
    [ "$profile" != mini ] || models=16x1
    [[ $mix != *" "* ]] || mix="${mix%% *} ${mix##* }"
fi
switches+=(methods=code-switch,switch={0.25,1},lexicon-size=0)      # all words; half of them: in table 2
[ -z "$(on "$FREEZE")" ] || teacher+=(--freeze) ablation=(${ablation[@]/layers=1/})
[ -z "$TEACHER" ] || ablation=(${ablation[@]/init=bare/})          # it need not tell what it began as
classes=$(for lang in $mix; do [[ " $low " = *" $lang "* ]] && echo low || echo high; done | sort -u | wc -l)

# ------------------------------------------------------------------------------------------- running
stop() {     # told to stop, so what runs stops too
    trap '' INT TERM
    kill $(jobs -p) 2> /dev/null || true
    wait
    fail "stopped; the same command goes on from here" 130
}
trap stop INT TERM
stage() {    # stage NAME MODULE ...: study.MODULE, once; JOBS processes share the `items`, where {} is given
    local name=$1 stamp=$out/stamps/$1 log=$out/logs/$1.log began=$SECONDS state=todo status=0 usual
    local item arg command lists=() i=0 pids=() own="${*:2}"
    if [[ " $own " = *" {} "* ]]; then own+=" <- $items"; else items=-; fi
    [ ! -f "$stamp" ] || { state=done; [ "$(cat "$stamp")" = "$own" ] || state="done with another command"; }
    # Made of whatever is there by now: again when anything ran or other TABLES are asked.
    [[ $name =~ -s[0-9] || $name =~ ^(data|bm25|lexicon|psq|tune) || $state$ran = "done" ]] || state=todo
    [ "$state" = "done" ] || ran=yes
    number=$((number + 1)) usual=$(awk -v name="${name%-s[0-9]*}" '$1 == name { print $2 }' <<< "$times")
    if [ "$mode" = count ]; then [ "$state" = "done" ] || left=$((left + ${usual:-0})); return; fi
    if [ -n "$plan" ]; then echo "[$state] $name: $PYTHON -m study.$own"; return; fi
    [ "$state" != "done" ] || return 0
    [ "$state" = "todo" ] || fail "$stamp: made by another command: $(cat "$stamp"); delete $out or set OUT"
    minutes=$([ -n "$smoke" ] || echo ", about $((left / 60 + 1)) min left")
    echo "== $number of $total, $name$minutes (log: $log)"
    for item in $items; do lists[i % jobs]+="$item "; i=$((i + 1)); done
    for item in "${lists[@]}"; do
        command=("$PYTHON" -m "study.$2")
        for arg in "${@:3}"; do if [ "$arg" = "{}" ]; then command+=($item); else command+=("$arg"); fi; done
        OMP_NUM_THREADS=$((cores > ${#lists[@]} ? cores / ${#lists[@]} : 1)) \
            "${command[@]}" >> "$log" 2>&1 & pids+=($!)        # in the background, or a signal would wait
    done
    for item in "${pids[@]}"; do wait "$item" || status=$?; done
    printf '%s\t%s\n' "$name" "$((SECONDS - began))" >> "$out/stages.tsv"
    [ "$status" -eq 0 ] || tail -n 5 "$log" >&2
    [ "$status" -eq 0 ] || fail "stage $name failed; the same command goes on from here (log: $log)" "$status"
    left=$((left - ${usual:-0}))
    printf '%s\n' "$own" > "$stamp.tmp" && mv "$stamp.tmp" "$stamp"
}

# ------------------------------------------------------------------------------------------- stages
all_stages() {
    local s extra=() first_seed='' first_dir=$out/s${seeds%% *}
    stage data collections prepare "$profile" --out "$data" "${prepare[@]}"
    all=$(basename -a -s .train.tsv "$data"/bitext/*.train.tsv | tr '\n' ' ')     # the languages
    [[ $all != "* " ]] || all=LANG
    stage bm25 baselines bm25 --data "$data" --out "$out/runs"
    stage lexicon baselines lexicon --data "$data" --out "$out/lexicon" "${bitext[@]}"
    stage bm25-lexicon baselines bm25-lexicon --data "$data" --lexicon "$out/lexicon" --out "$out/runs"
    stage psq baselines psq --data "$data" --lexicon "$out/lexicon" --out "$out/runs"
    for s in $seeds; do seed "$s"; first_seed=${first_seed:-$s}; done
    stage scores tables score --data "$data" --runs "$out/runs" --study 3 4 5 6 8 9 --extra "${extra[@]}" \
        --subwords "$first_dir/search/subwords.json" --out "$out/scores.json"
    stage tables tables tables "$out/scores.json" --out "$out/tables.md"
    stage costs sweeps cost --data "$data" --root "$out" --out "$out/costs.json"
    stage costs-table tables tables "$out/costs.json" --out "$out/costs.md"
    stage figures figures --scores "$out/scores.json" --plan "$first_dir/plan.json" --out "$out/figures"
}

run() { stage "$1-s$s" "${@:2}"; }             # a stage of this seed; a teacher; students of other settings
teach() { run "$1" students teacher "${solo[@]}" "${teacher[@]}" --encoder "$2" --out "$3" "${@:4}"; }
sweep() { run "$1" students train "${train[@]}" "${@:3}" --runs "$out/runs-$2" --out "$dir/$1"; }
seed() {     # seed N: everything that a seed changes
    local s=$1 dir=$out/s$1 own=${TEACHER:-$out/s$1/teacher} base solo made=() train with from teachers size
    base=(--data "$data" --seed "$s" "${machine[@]}") solo=("${base[@]}" "${alone[@]}")
    [ "$profile" != mini ] || encoder=$dir/encoder
    [ "$profile" != mini ] || run pretrain students pretrain "${solo[@]}" "${pretrain[@]}" --out "$encoder"
    [ ! -d "$own/s$s/teacher" ] || own=$own/s$s/teacher
    [ -n "$TEACHER" ] || teach teacher "$encoder" "$own"
    train=("${base[@]}" "${shared[@]}" --teacher "$own" --cache "$dir/vectors")
    if [ "$translator" = bitext ]; then
        from=("${base[@]}" "${shared[@]}" "${nmt[@]}" --encoder "$encoder")
        [ -n "$first_seed" ] || run nmt-tune nmt tune "${from[@]}" --langs $tune --lr "${nmt_grid[@]}" \
            --steps "${tune_steps[@]}" --out "$out/tune-nmt"
        from+=(${steps:+--steps "$steps"} --rates "$out/tune-nmt") items=$all
        run nmt nmt train "${from[@]}" --langs {} --out "$dir/nmt"
    elif [ "$translator" != none ]; then
        from=(--name "$translator" ${CODES:+--codes $(words $CODES)})
        run nmt nmt pretrained "${base[@]}" "${from[@]}" --out "$dir/nmt"
    fi
    [ "$translator" = none ] || made=(--translations "$dir/nmt")
    run search students search "${train[@]}" "${made[@]}" --runs "$out/runs" --out "$dir/search"
    [ "$translator" = none ] || run bm25-nmt baselines bm25 --data "$data" "${made[@]}" --seed-tag "$s" \
        --out "$out/runs"
    train+=("${student[@]}")
    with=(--lexicon "${lexicon[@]}" --translations "${translations[@]}" "$dir/nmt") items=${methods[*]}
    [ -n "$first_seed$RATES" ] || stage tune students tune "${train[@]}" "${with[@]}" --methods {} \
        --langs $tune --lr "${grid[@]}" --steps "${tune_steps[@]}" --save --out "$out/tune"
    train+=(--rates "${RATES:-$out/tune}" ${steps:+--steps "$steps"}) items=$all
    run students students train "${train[@]}" "${with[@]}" --tuned "$out/tune" --langs {} --save \
        --methods "${methods[@]}" --runs "$out/runs" --out "$dir/students"
    run interpolate baselines hybrid --data "$data" --lexicon "$out/lexicon" --students "$dir/students" \
        --seed-tag "$s" --out "$out/runs"
    if wanted 3; then     # mask tokens, on or off: a teacher that never saw any would be asked with them
        items=${ablation[*]} from=$dir/masks size=(--teacher "$from/teacher" --cache "$from/vectors")
        sweep ablation 3 "${with[@]}" --langs $study --variants {}
        [ -n "$TEACHER" ] || teach teacher-masks "$encoder" "$from/teacher" "--$masks"
        [ -n "$TEACHER" ] || sweep masks 3 --langs $study --variants "$masks" "${size[@]}"
    fi
    items=${by_size[*]}
    ! wanted 4 || sweep size 4 --langs $study --variants {}
    items=$mix
    ! wanted 5 || sweep mix 5 "${with[@]}" --langs {} --variants mix=0.25 mix=0.5 mix=0.75 mix=1
    items=${switches[*]}
    ! wanted 6 || sweep switch 6 "${with[@]}" --langs $study --variants {}
    if wanted 7 && [ "$classes" = 2 ]; then
        items="share=0 share=0.25 share=0.5 share=0.75 share=1"
        sweep share 7 "${with[@]}" --langs "${mix// /+}" --methods code-switch --variants {}
        run answers sweeps answers "${base[@]}" --runs "$out/runs-7" --out "$dir/answers.json"
        extra+=("$dir/answers.json")
    fi
    if wanted 8 && [ "$profile" = mini ]; then      # it has training documents in every language
        items="0 0.25 0.5 0.75 1"
        run hybrid sweeps hybrid "${base[@]}" "${shared[@]}" "${hybrid[@]}" --teacher "$own" \
            --langs $mix --cross {} --runs "$out/runs-8" --out "$dir/hybrid"
    fi
    if wanted 9 && [ -n "$models" ]; then
        teachers=("$own")
        for model in $models; do
            from=$model size=$dir/size-${model##*/}
            [ "$profile" != mini ] || from=$size/encoder
            [ "$profile" != mini ] || run "pretrain-$model" students pretrain "${solo[@]}" "${pretrain[@]}" \
                --hidden "${model%x*}" --layers "${model#*x}" --out "$from"
            teach "teacher-${model##*/}" "$from" "$size/teacher"
            teachers+=("$size/teacher")
        done
        items=$mix train+=(--teachers "${teachers[@]}" --runs "$out/runs-9" --out "$dir/scale")
        run scale sweeps scale "${train[@]}" --langs {} --rows "$dir/scale-part.json"
        run scale-rows sweeps scale "${train[@]}" --langs $mix --rows "$dir/scale.json"
        extra+=("$dir/scale.json")
    fi
    items=$first
    if wanted 10 && [ "$profile" = mini ]; then items=$all extra+=("$dir/alignment.json"); fi
    run align sweeps align "${solo[@]}" --teacher "$own" --students "$dir/students" --langs $items \
        --epsilon "$epsilon" --plan "$dir/plan.json" --out "$dir/alignment.json"
}
times=$(cat "results/$profile/stages.tsv" 2> /dev/null) || true
if [ -z "$plan" ]; then      # one run at a time; a killed one's processes, soon gone, hold the lock till then
    mkdir -p "$out/stamps" "$out/logs" && exec 9> "$out/.lock" || fail "OUT=$out: cannot be written"
    timeout --foreground 5 "$PYTHON" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)' 2> /dev/null ||
        fail "OUT=$out: another run is at work there; wait for it or set another folder"
    find "$out" -name '*.tmp' -prune -exec rm -rf {} +      # what a killed process was writing
fi
left=0 number=0 mode=count ran=
all_stages
total=$number number=0 mode=run ran=
all_stages
[ -n "$plan" ] || cat "$out/tables.md" "$out/costs.md" - <<< "scores: $out/scores.json"
