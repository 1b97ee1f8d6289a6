#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Every table, one command. This script is the configuration: each value that is no default stands here, once.
#
#   bash run_all.sh          mini: the embedded collection, offline, no GPU needed
#   bash run_all.sh real     AfriQA, lafand-mt, XQuAD-R, NTREX-128; files from MIRROR, else downloaded
#   bash run_all.sh paper    the paper's setting: mBERT, MS MARCO, seven languages of OPUS; one GPU, days
#   bash run_all.sh test     the test suite
#
#   PLAN=1    print each stage, its command and whether it is done; run nothing
#   SMOKE=1   every stage on a few sentences, under two minutes; the numbers mean nothing
#   LANGS="sw so"   SEEDS="1 2 3"   OUT=folder   DEVICE=cpu|cuda   PRECISION=float32|bf16
#   JOBS=n    processes that share a stage's trainings and searches; default: one a core, at most 4 (real: 2)
#   TABLES="1 2"   only these (1, 2 and 11 are always made); mini: all, real: 1 and 2
#   NMT=none|bitext|name   no translation, one trained from the bitext, or a pre-trained model of that name,
#                  facebook/nllb-200-distilled-600M; mini: bitext, real: none (README says why)
#   CODES="sw=swh_Latn en=eng_Latn"|none   language codes of a translator of another name than NLLB's
#   WIKI=wikiclir|clirmatrix   (not mini) fine-tuning on Wikipedia's titles
#   DICTIONARY=muse|xlent|tico|panlex   (not mini) words for code-switching, where it has any for a language
#   MODELS="64x2"  sizes of table 9, width x layers; real: names or folders of encoders
#   STEPS=n   (real) of every student, default 400
#   FREEZE=1  encoders stay as they are, in half precision, and only projections are trained
#   COMPILE=1 teachers and students are trained with torch.compile: for long ones (results/bench-train.md)
#   CLEF=folder   BITEXT=ccaligned|ccmatrix|paracrawl|europarl   (paper)
#   ENCODER=name or folder (not mini)   MIRROR=folder of files (not mini)   PYTHON=interpreter to use as it is
#
# A stage that is done is skipped: OUT/stamps/<stage> holds its command; the same one skips, another stops.
# After a kill the same command goes on where it was: finished languages and methods are kept, and a training
# resumes from its checkpoint.
set -euo pipefail
cd "$(dirname "$0")"

words() { set -f; set -- ${*//,/ }; set +f; echo "$*"; }        # lists may have commas: "sw, so" is "sw so"
on() { [ "${1:-0}" = 0 ] || echo 1; }                           # SMOKE=0 is as good as none

profile=${1:-mini}
smoke=$(on "${SMOKE:-}")
plan=$(on "${PLAN:-}")
out=${OUT:-out/$profile${smoke:+-smoke}}
seeds=$(words "${SEEDS:-1}")
langs=$(words "${LANGS:-}")

case $profile in
    mini|real|paper|test) ;;
    *) echo "error: no profile '$profile'; one of: mini, real, paper, test" >&2; exit 2 ;;
esac

# -------------------------------------------------------------------------------------- environment

set_up() {   # set_up REQUIREMENTS: a virtual environment with the pinned packages, made once
    if [ -n "${PYTHON:-}" ] || [ -n "$plan" ]; then PYTHON=${PYTHON:-.venv/bin/python}; return; fi
    PYTHON=.venv/bin/python
    local stamp=.venv/installed-$1
    if ! cat "$1" constraints.txt | cmp -s - "$stamp"; then
        echo "== set-up: .venv, $1"
        [ -x "$PYTHON" ] || python3 -m venv .venv
        sed -n 's/ \\$//; /==/p' constraints.txt > .venv/versions.txt      # tests/hashes.py checks the hashes
        "$PYTHON" -m pip install --quiet --disable-pip-version-check -r "$1" -c .venv/versions.txt
        cat "$1" constraints.txt > "$stamp"
    fi
}

child= pipe=
stop() {     # stop STATUS: told to stop, so the stage's command stops too
    trap '' INT TERM
    rm -f "$pipe"
    [ -z "$child" ] || { kill -TERM "$child" 2> /dev/null; wait "$child" || true; }
    echo "error: stopped; the same command goes on from here" >&2
    exit "$1"
}
trap 'stop 130' INT
trap 'stop 143' TERM

declare -A usual=()          # seconds that a stage took, whatever its seed, when results/ was made
if [ -z "$smoke" ] && [ -f "results/$profile/stages.tsv" ]; then
    while IFS=$'\t' read -r name seconds; do usual[$name]=$seconds; done < "results/$profile/stages.tsv"
fi
left=0 known=0 spent=0       # usual seconds of the stages to come, of those that ran, what these took here

stage() {    # stage NAME COMMAND...: run once; its log is OUT/logs/NAME.log
    local name=$1; shift
    local stamp=$out/stamps/$name log=$out/logs/$name.log state=todo
    if [ -f "$stamp" ]; then
        state=done
        if [ "$(cat "$stamp")" != "$*" ]; then state="done with another command"; fi
    fi
    case $name in      # made of whatever is there by now: again when anything ran or other TABLES are asked
        scores|tables|costs|figures|costs-table)
            if [ -n "$ran" ] || [ "$state" != "done" ]; then state=todo; fi ;;
    esac
    [ "$state" = "done" ] || ran=yes
    number=$((number + 1))
    local expected=${usual[${name%-s[0-9]*}]:-0} guess=
    if [ "$mode" = count ]; then
        [ "$state" = "done" ] || left=$((left + expected))
        return
    fi
    if [ -n "$plan" ]; then echo "[$state] $name: $*"; return; fi
    if [ "$state" = "done" ]; then echo "== $number of $total, $name: done"; return; fi
    if [ "$state" != "todo" ]; then
        echo "error: $stamp: stage $name was made by another command: $(cat "$stamp");" \
            "delete $out or set OUT" >&2
        exit 2
    fi
    mkdir -p "$(dirname "$stamp")" "$(dirname "$log")"
    "$PYTHON" data.py audit "$out"      # no bit has flipped since the last stage
    local began=$SECONDS status=0 teller
    if [ $left -gt 0 ]; then         # at the speed of the stages that ran here
        guess=", about $(((known > 60 ? left * spent / known : left) / 60 + 1)) min left"
    fi
    echo "== $number of $total, $name, after $((SECONDS / 60)) min$guess (log: $log)"
    pipe=$log.pipe
    rm -f "$pipe"
    mkfifo "$pipe"
    tee -a "$log" < "$pipe" & teller=$!
    "$@" > "$pipe" & child=$!      # in the background, or a signal would wait until it is done
    wait "$child" || status=$?
    child=
    wait "$teller" || true
    rm -f "$pipe"
    began=$((SECONDS - began))
    printf '%s\t%s\n' "$name" "$began" >> "$out/stages.tsv"
    if [ "$status" -ne 0 ]; then
        echo "error: stage $name ended with status $status; the same command resumes it" >&2
        exit "$status"
    fi
    echo "   $name: $began s"
    left=$((left - expected)) known=$((known + expected)) spent=$((spent + (expected > 0) * began))
    printf '%s\n' "$*" > "$stamp.tmp" && mv "$stamp.tmp" "$stamp"
}

export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-30000}   # a busy machine slows training then, and does not stall it
export TOKENIZERS_PARALLELISM=false   # the tokenizer's threads and torch's would fight for the same cores

if [ "$profile" = test ]; then
    set_up requirements-dev.txt
    workers=()
    if "$PYTHON" -c "import xdist" 2> /dev/null; then
        export OMP_NUM_THREADS=1     # two workers, a core each
        workers=(-n 2 --dist loadfile --no-loadscope-reorder)     # else the longest files come last
    fi
    [ -z "$plan" ] || { echo "[todo] test: $PYTHON -m pytest -q ${workers[*]} tests"; exit; }
    exec "$PYTHON" -m pytest -q "${workers[@]}" tests
fi
set_up requirements.txt

# ------------------------------------------------------------------------------------ configuration

machine=() epsilon=0.1 tau=0.05 tune_langs= masks=augment size_methods="optical mean contrastive"
prepare=() lexicon=("$out/lexicon") translations=() bitext=()
cores=$(getconf _NPROCESSORS_ONLN)
most=$((cores < 4 ? cores : 4))
[ -z "${DEVICE:-}" ] || machine+=(--device "$DEVICE")
[ -z "$smoke" ] || prepare+=(--smoke)
[ -z "$langs" ] || prepare+=(--langs $langs)
objectives=(contrastive optical mean greedy)             # from bitext alone; the longest training first,
supervised=(code-switch)                                 # these from judged queries: none idles at the end
if [ "$profile" = mini ]; then
    first_lang=${langs:-sw} low_resource="sw so tl mr"
    export JOBS=${JOBS:-$most}
    translator=${NMT:-bitext}
    machine+=(--precision "${PRECISION:-float32}")
    alone=(--threads 2) shared=(--threads 1)    # the same numbers on any number of cores
    supervised+=(wikiclir)
    pretrain=(--vocab 6000 --hidden 128 --layers 4 --ffn 2 --steps 1500 --batch 128 --lr 1e-3)
    teacher=(--dim 128 --query-tokens 32 --doc-tokens 96 --steps 600 --batch 32 --negatives 2 --lr 5e-4)
    student=(--batch 32 --max-tokens 48 --negatives 2)
    steps=400 tune_steps=400 grid=(3e-4 1e-3 3e-3)       # 1e-2 was tried: no objective learns
    epsilon=0.05     # best on dev; at 0.1 Marathi, a script of its own, takes 600 steps
    tau=0.03         # best on dev of 0.01, 0.02, 0.03, 0.05, 0.1
    [ -n "$langs" ] || tune_langs="sw mr"                # two scripts: what one prefers is not all's choice
    nmt=(--steps 1000 --batch 32 --max-tokens 48 --dropout 0.1)
    nmt_grid=(5e-4 1e-3 2e-3)                            # chosen after as many steps: after 300 it is 2e-3
    study_langs=${langs:-sw} mix_langs=${langs:-sw so fi de}
    tables=${TABLES:-1 2 3 4 5 6 7 8 9 10 11}
    hybrid=(--steps 200 --batch 32 --negatives 1 --lr 5e-4)
    models=${MODELS:-32x2 64x2}                          # width x layers, beside the study's own
    sizes=(250 1000 2000) lexicon_sizes=(100 200)
elif [ "$profile" = paper ]; then
    # The paper's: encoder, data, lengths with mask tokens, dimensions, number of pairs. ColBERT's: the
    # teacher's batch and rate. Ours: all else. mBERT has seen no Somali; FacebookAI/xlm-roberta-base has.
    first_lang=${langs:-sw} low_resource="sw so tl mr" masks=no-augment
    export JOBS=${JOBS:-1}
    translator=${NMT:-facebook/nllb-200-distilled-600M}
    teacher=(--dim 128 --query-tokens 32 --doc-tokens 180 --augment --steps 100000 --batch 32 --negatives 1
             --lr 3e-6)
    student=(--batch 128 --max-tokens 64 --negatives 1)
    steps=20000 tune_steps=1000 grid=(3e-6 1e-5 3e-5 1e-4)
    nmt=(--steps 20000 --tune-steps 1000 --batch 128 --max-tokens 64 --dropout 0.1)
    nmt_grid=(3e-5 1e-4 3e-4)
    study_langs=${langs:-sw} mix_langs=${langs:-sw so fi de}
    tables=${TABLES:-1 2}      # the others: days more
    sizes=(1000 10000 100000) lexicon_sizes=(1000 10000)
    bitext=(--pairs 100000)    # of IBM Model 1: memory
    prepare+=(--bitext "${BITEXT:-ccaligned}")
    [ -z "${CLEF:-}" ] || prepare+=(--clef "$CLEF")
else
    first_lang=${langs:-swa} low_resource="swa hau ibo twi yor zul"
    export JOBS=${JOBS:-$((most < 2 ? most : 2))}
    translator=${NMT:-none}
    teacher=(--dim 128 --query-tokens 32 --doc-tokens 180 --epochs 1 --batch 32 --mine 8 --negatives 1
             --lr 5e-5)
    student=(--batch 32 --max-tokens 64 --mine 8)
    steps=${STEPS:-400} tune_steps=100 grid=(3e-5 1e-4 3e-4 1e-3)  # 3e-3 was tried: no objective learns
    epsilon=0.05               # best on dev
    nmt=(--steps 600 --tune-steps 100 --batch 64 --max-tokens 64 --dropout 0)
    nmt_grid=(3e-4 1e-3)
    study_langs=${langs:-swa} mix_langs=${langs:-swa} size_methods="optical contrastive"
    tables=${TABLES:-1 2}      # the others: half an hour a language on a CPU; 8 and 10 lack their data
    sizes=(250 1000 4000) lexicon_sizes=(1000 4000)
    prepare+=(--strict)   # no passage of a test question is a training passage
fi
if [ "$profile" != mini ]; then
    encoder=${ENCODER:-google-bert/bert-base-multilingual-uncased}
    models=${MODELS:-}         # encoders of table 9, beside ENCODER
    machine+=(--precision "${PRECISION:-auto}")
    alone=() shared=()
    [ -z "${MIRROR:-}" ] || prepare+=(--mirror "$MIRROR")
    if [ -n "${WIKI:-}" ]; then prepare+=(--wiki "$WIKI") supervised+=(wikiclir); fi
    if [ -n "${DICTIONARY:-}" ]; then
        prepare+=(--dictionary "$DICTIONARY") lexicon=("$out/data/dictionary" "${lexicon[@]}")
    fi
fi
[ "$profile" != paper ] || translations=("$out/data/translations")     # mMARCO's own, German and French
first_lang=${first_lang%% *}
tune_langs=${tune_langs:-$first_lang}
tables=$(words "$tables") models=$(words "${models:-}")
translated=()
if [ "$translator" != none ]; then translated=(nmt) supervised+=(translate-train); fi
student+=(--epsilon "$epsilon" --tau "$tau")
ablation=(init=bare layers=1 marginals=idf plan=uniform plan=ipot plan=exact plan=unbalanced
          plan=greedy cost=sqeuclidean marginals=norm)
for value in 0.02 0.2 0.1 0.05; do
    [ "$value" = "$epsilon" ] || ablation=("epsilon=$value" "${ablation[@]}")
done
[ "$profile" = mini ] || ablation=(max-tokens=32 steps=1200 "${ablation[@]}" max-tokens=128)
if [ -n "$smoke" ]; then
    pretrain=(--vocab 1000 --hidden 32 --layers 2 --steps 20 --batch 32 --lr 1e-3)
    teacher=(--dim 32 --query-tokens 32 --doc-tokens 64 --steps 8 --batch 8 --negatives 1 --lr 5e-4)
    student+=(--batch 8 --max-tokens 48)
    nmt=(--steps 4 --tune-steps 2 --batch 8 --max-tokens 48 --beams 2)
    ablation=("${ablation[@]/1200/8}")
    steps=6 tune_steps=6 sizes=(20) lexicon_sizes=(20) hybrid=(--steps 4 --batch 8 --lr 5e-4)
    [ "$profile" != mini ] || models=16x1
    study_langs=${study_langs%% *}
    [ "${mix_langs#* }" = "$mix_langs" ] || mix_langs="${mix_langs%% *} ${mix_langs##* }"
fi
if [ -n "$(on "${FREEZE:-}")" ]; then teacher+=(--freeze) ablation=(${ablation[@]/layers=1/}); fi
[ -z "$(on "${COMPILE:-}")" ] || teacher+=(--compile) student+=(--compile)

# ------------------------------------------------------------------------------------------- stages

data=$out/data
python=$PYTHON

all_stages() {
    stage data "$python" data.py prepare "$profile" --out "$data" "${prepare[@]}"
    stage bm25 "$python" baselines.py bm25 --data "$data" --out "$out/runs"
    stage lexicon "$python" baselines.py lexicon --data "$data" --out "$out/lexicon" "${bitext[@]}"
    stage bm25-lexicon "$python" baselines.py bm25-lexicon --data "$data" --lexicon "$out/lexicon" \
        --out "$out/runs"
    stage psq "$python" baselines.py psq --data "$data" --lexicon "$out/lexicon" --out "$out/runs"
    local first_seed= extra=() s
    for s in $seeds; do seed "$s"; first_seed=${first_seed:-$s}; done
    stage scores "$python" evaluate.py score --data "$data" --runs "$out/runs" \
        --subwords "$out/subwords.json" --study 3="$out/runs-3" 4="$out/runs-4" \
        5="$out/runs-5" 6="$out/runs-6" 8="$out/runs-8" 9="$out/runs-9" \
        --extra "${extra[@]}" --out "$out/scores.json"
    stage tables "$python" evaluate.py tables "$out/scores.json" --out "$out/tables.md"
    stage costs "$python" studies.py cost --data "$data" --root "$out" --out "$out/costs.json"
    stage figures "$python" studies.py figures --data "$data" --scores "$out/scores.json" \
        --teacher "$out/s$first_seed/teacher" --students "$out/s$first_seed/students" --lang "$first_lang" \
        --epsilon "$epsilon" --out "$out/figures" "${machine[@]}"
    stage costs-table "$python" evaluate.py tables "$out/costs.json" --out "$out/costs.md"
}

seed() {     # seed N: everything that a seed changes
    local s=$1 dir=$out/s$1 rates=$out/tune/lr.json common student_of nmt_rate method size share
    if [ "$profile" = mini ]; then
        encoder=$dir/encoder
        stage "pretrain-s$s" "$python" optical.py pretrain --data "$data" --out "$encoder" --seed "$s" \
            "${pretrain[@]}" "${machine[@]}" "${alone[@]}"
    fi
    stage "teacher-s$s" "$python" optical.py teacher --data "$data" --encoder "$encoder" \
        --out "$dir/teacher" --seed "$s" "${teacher[@]}" "${machine[@]}" "${alone[@]}"
    common=(--data "$data" --teacher "$dir/teacher" --cache "$dir/vectors" --seed "$s" "${machine[@]}"
            "${shared[@]}")
    student_of=("${student[@]}" --lexicon "${lexicon[@]}" --translations "${translations[@]}" "$dir/nmt")
    if [ "$translator" = bitext ]; then
        nmt_rate=(--lr-file "$out/s$first_seed/nmt/lr.json")
        [ -n "$first_seed" ] || nmt_rate=(--tune-langs $tune_langs --lr "${nmt_grid[@]}")
        stage "nmt-s$s" "$python" nmt.py train --data "$data" --encoder "$encoder" --out "$dir/nmt" \
            --seed "$s" "${nmt[@]}" "${machine[@]}" "${shared[@]}" "${nmt_rate[@]}"
    elif [ "$translator" != none ]; then
        stage "nmt-s$s" "$python" nmt.py pretrained --data "$data" --name "$translator" --reverse \
            ${CODES:+--codes $(words "$CODES")} --out "$dir/nmt" --seed "$s" "${machine[@]}" "${shared[@]}"
    fi
    if [ -z "$first_seed" ]; then   # learning rates are chosen once: on dev bitext, by the first seed
        local kept=()
        [ "$tune_steps" != "$steps" ] || kept=(--students "$dir/students")
        stage tune "$python" optical.py tune "${common[@]}" --out "$out/tune" --langs $tune_langs \
            --methods "${supervised[@]}" "${objectives[@]}" --lr "${grid[@]}" --steps $tune_steps \
            "${student_of[@]}" "${kept[@]}"
        stage subwords "$python" optical.py subwords --data "$data" --teacher "$dir/teacher" \
            --out "$out/subwords.json" "${machine[@]}"
    fi
    if [ "$translator" != none ]; then
        stage "bm25-nmt-s$s" "$python" baselines.py bm25 --data "$data" --translations "$dir/nmt" \
            --seed-tag "$s" --out "$out/runs"
    fi
    stage "distil-s$s" "$python" optical.py distil "${common[@]}" --out "$dir/students" \
        --methods "${supervised[@]}" "${objectives[@]}" --lr-file "$rates" --steps $steps "${student_of[@]}"
    stage "search-s$s" "$python" optical.py search "${common[@]}" --students "$dir/students" \
        --out "$out/runs" --translations "$dir/nmt" \
        --methods zero-shot "${translated[@]}" "${objectives[@]}" "${supervised[@]}" english
    local variants
    if wanted 3; then
        stage "ablation-s$s" "$python" studies.py sweep "${common[@]}" --out "$dir/ablation" \
            --runs "$out/runs-3" --langs $study_langs --lr-file "$rates" --steps $steps "${student[@]}" \
            --variants "${ablation[@]}"
        # Mask tokens in queries, on or off: a teacher that never saw any would be asked with them.
        stage "teacher-masks-s$s" "$python" optical.py teacher --data "$data" --encoder "$encoder" \
            --out "$dir/masks/teacher" --seed "$s" "${teacher[@]}" "--$masks" "${machine[@]}" "${alone[@]}"
        stage "masks-s$s" "$python" studies.py sweep --data "$data" --teacher "$dir/masks/teacher" \
            --cache "$dir/masks/vectors" --seed "$s" "${machine[@]}" "${shared[@]}" \
            --out "$dir/masks/students" --runs "$out/runs-3" --langs $study_langs --lr-file "$rates" \
            --steps $steps "${student[@]}" --variants "$masks"
    fi
    if wanted 4; then
        variants=()
        for method in $size_methods; do
            for size in "${sizes[@]}"; do variants+=("methods=$method,pairs=$size"); done
        done
        stage "size-s$s" "$python" studies.py sweep "${common[@]}" --out "$dir/size" --runs "$out/runs-4" \
            --langs $study_langs --lr-file "$rates" --steps $steps "${student[@]}" --variants "${variants[@]}"
    fi
    if wanted 5; then
        stage "mix-s$s" "$python" studies.py sweep "${common[@]}" --out "$dir/mix" --runs "$out/runs-5" \
            --langs $mix_langs --lr-file "$rates" --steps $steps "${student_of[@]}" \
            --variants mix=0.25 mix=0.5 mix=0.75 mix=1
    fi
    if wanted 6; then
        variants=()
        for share in 0.25 0.5 1; do
            for size in "${lexicon_sizes[@]}" 0; do
                [ "$share $size" != "0.5 0" ] || continue   # stands in table 2
                variants+=("methods=code-switch,switch=$share,lexicon-size=$size")
            done
        done
        stage "switch-s$s" "$python" studies.py sweep "${common[@]}" --out "$dir/switch" \
            --runs "$out/runs-6" --langs $study_langs --lr-file "$rates" --steps $steps \
            "${student_of[@]}" --variants "${variants[@]}"
    fi
    if wanted 7 && both_classes $mix_langs; then
        stage "share-s$s" "$python" studies.py sweep "${common[@]}" --out "$dir/share" --runs "$out/runs-7" \
            --langs "${mix_langs// /+}" --methods code-switch --lr-file "$rates" --steps $steps \
            "${student_of[@]}" --variants share=0 share=0.25 share=0.5 share=0.75 share=1 switch-by=word
        stage "answers-s$s" "$python" studies.py answers --data "$data" --runs "$out/runs-7" --seed "$s" \
            --out "$dir/answers.json"
        extra+=("$dir/answers.json")
    fi
    if wanted 8 && [ "$profile" = mini ]; then   # it has training documents in every language
        stage "hybrid-s$s" "$python" studies.py hybrid --data "$data" --teacher "$dir/teacher" --seed "$s" \
            "${machine[@]}" "${shared[@]}" --out "$dir/hybrid" --runs "$out/runs-8" --langs $mix_langs \
            --cross 0 0.25 0.5 0.75 1 "${hybrid[@]}"
    fi
    if wanted 9 && [ -n "$models" ]; then
        local model name from teachers=("$dir/teacher")
        for model in $models; do
            name=${model##*/} from=$model
            if [ "$profile" = mini ]; then
                from=$dir/size-$name/encoder
                stage "pretrain-$name-s$s" "$python" optical.py pretrain --data "$data" --out "$from" \
                    --seed "$s" "${pretrain[@]}" --hidden "${model%x*}" --layers "${model#*x}" \
                    "${machine[@]}" "${alone[@]}"
            fi
            stage "teacher-$name-s$s" "$python" optical.py teacher --data "$data" --encoder "$from" \
                --out "$dir/size-$name/teacher" --seed "$s" "${teacher[@]}" "${machine[@]}" "${alone[@]}"
            teachers+=("$dir/size-$name/teacher")
        done
        stage "scale-s$s" "$python" studies.py scale "${common[@]}" --out "$dir/scale" --runs "$out/runs-9" \
            --rows "$dir/scale.json" --langs $mix_langs --lr-file "$rates" --steps $steps "${student[@]}" \
            --teachers "${teachers[@]}"
        extra+=("$dir/scale.json")
    fi
    if wanted 10 && [ "$profile" = mini ]; then   # its gold links are known
        stage "align-s$s" "$python" studies.py align --data "$data" --teacher "$dir/teacher" --seed "$s" \
            "${machine[@]}" "${alone[@]}" --students "$dir/students" --epsilon "$epsilon" \
            --out "$dir/alignment.json"
        extra+=("$dir/alignment.json")
    fi
}

wanted() { [[ " $tables " = *" $1 "* ]]; }

both_classes() {   # both_classes LANG...: whether low- and high-resource languages are among these
    local lang kinds=
    for lang in "$@"; do if [[ " $low_resource " = *" $lang "* ]]; then kinds+=l; else kinds+=h; fi; done
    [[ $kinds = *l* && $kinds = *h* ]]
}

if [ -z "$plan" ]; then      # one run at a time: the system drops the lock when all its processes are gone
    if ! mkdir -p "$out" || ! exec 9> "$out/.lock"; then
        echo "error: $out: cannot be written; set OUT to another folder" >&2
        exit 2
    fi
    "$PYTHON" -c 'import fcntl, sys, time
for _ in range(50):                  # a process that was just killed takes a moment to be gone
    try:
        sys.exit(fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB))
    except BlockingIOError:
        time.sleep(0.1)
sys.exit(f"error: {sys.argv[1]}: another run is at work there; wait for it or set OUT to another folder")
' "$out" || exit 2
fi
number=0 mode=count ran=
all_stages
total=$number number=0 mode=run ran=
[ -n "$plan" ] || "$PYTHON" data.py audit "$out"      # nor since the last run, where all is done
all_stages
if [ -z "$plan" ]; then
    "$PYTHON" data.py audit "$out"
    cat "$out/tables.md"
    cat "$out/costs.md"
    echo "tables: $out/tables.md, $out/costs.md   scores: $out/scores.json"
fi
