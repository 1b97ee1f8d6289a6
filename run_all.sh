#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Every table, one command. This script is the configuration: each value that is no default stands here, once.
#   bash run_all.sh            mini: the embedded collection, offline, no GPU needed
#   bash run_all.sh quick      mini in two languages, four objectives: a finding in minutes
#   bash run_all.sh real       AfriQA's questions and lafand-mt; XQuAD-R and NTREX-128 where LANGS asks for it
#   bash run_all.sh headlines  of NTREX-128 in the paper's seven languages; TICO-19, SIB-200, HornMT
#   bash run_all.sh own        LANGS=code CORPUS= QUERIES= QRELS= BITEXT= [ENGLISH=] [TRAIN=] of your own
#   bash run_all.sh paper      the paper's setting: mBERT, MS MARCO, seven languages of OPUS; one GPU, a day
#   bash run_all.sh test       the test suite
#   PLAN=1 prints each stage's command, state and time (paper: an A100's);  SMOKE=1: on a few sentences
#   LANGS="sw so"  SEEDS="1 2 3"  OUT=folder  DEVICE=cpu|cuda  PRECISION=float32|bf16  PYTHON=interpreter
#   JOBS=n processes  METHODS="ours mean"  only these students  TABLES="1 2"  only these (mini: all, else 1 2)
#   NMT=none|bitext|name   no translation (real), one trained from bitext (mini), or a pre-trained one (paper)
#   CODES="sw=swh_Latn en=eng_Latn"|none   its language codes   MODELS="64x2"   sizes or encoders of table 9
#   TEACHER=folder of a teacher, or of another run with the same seeds  RATES=folder of another run's tune
#   not mini: ENCODER=name or folder  FREEZE=1 (train its projection alone)  MIRROR=folder  WIKI=wikiclir
#   DICTIONARY=folder with en-sw.txt as MUSE has it   paper: CLEF=folder  BITEXT=ccaligned|ccmatrix|paracrawl
# A stage that is done (OUT/stamps) is skipped. After a kill the same command goes on, to the same bytes.
set -eo pipefail
cd "$(dirname "$0")"
export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-30000}   # a busy machine slows training then, and does not stall it
export TOKENIZERS_PARALLELISM=false   # the tokenizer's threads and torch's would fight for the same cores
words() { set -f; set -- ${*//,/ }; set +f; echo "$*"; }        # lists may have commas: "sw, so" is "sw so"
on() { [ "${1:-0}" = 0 ] || echo 1; }                           # SMOKE=0 is as good as none
fail() { echo "error: $1" >&2; exit "${2:-2}"; }
end() { while kill "${@:2}" 2> /dev/null; do sleep "$1"; done; }   # again: a new process may miss one
wanted() { [[ " $tables " = *" $1 "* ]]; }
profile=${1:-mini} smoke=$(on "$SMOKE") plan=$(on "$PLAN") seeds=$(words ${SEEDS:-1}) langs=$(words "$LANGS")
profiles="mini quick real headlines own paper test" out=${OUT:-out/$profile${smoke:+-smoke}} quick=
[[ $profile != *-h* || $profile = headlines ]] || { sed -n '/^#   /,/^set/s/^#  *//p' "$0"; exit; }
[[ " $profiles " = *" $profile "* ]] || fail "no profile '$profile'; one of: $profiles"
for name in SEED TABLE STEPS; do [ -z "${!name}" ] || fail "$name=${!name}: no setting; see --help"; done
[ "$profile" != quick ] || quick=yes profile=mini langs=${langs:-sw de} RATES=${RATES:-results/mini}

# -------------------------------------------------------------------------------------- environment
need=requirements$([ "$profile" != test ] || echo -dev).txt
if [ -z "$PYTHON$plan" ] && ! cat $need constraints.txt | cmp -s - .venv/installed-$need; then
    echo "== set-up: .venv with $need: torch, 0.2 GB (for CUDA 3 GB), transformers, scipy, tqdm; once"
    [ -x .venv/bin/python ] || python3 -m venv .venv
    sed -n 's/ \\$//; /==/p' constraints.txt > .venv/versions.txt      # tests/hashes.py checks the hashes
    install() { .venv/bin/python -m pip install --disable-pip-version-check -c .venv/versions.txt "$@"; }
    command -v nvidia-smi > /dev/null || install -q "$(grep ^torch= $need)+cpu" &> /dev/null || true
    install -r $need | awk '/^ *(Downloading|Installing)/'
    cat $need constraints.txt > .venv/installed-$need
fi
PYTHON=${PYTHON:-.venv/bin/python}
if [ "$profile" = test ]; then
    how=(-q -o faulthandler_timeout=600 -o faulthandler_exit_on_timeout=true)    # a test that hangs fails
    ! "$PYTHON" -c "import xdist" 2> /dev/null ||
        how+=(-n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0)
    export OMP_NUM_THREADS=1                           # two workers, a core each
    [ -z "$plan" ] || { echo "[todo] test: $PYTHON -m pytest ${how[*]} tests"; exit; }
    exec "$PYTHON" -m pytest "${how[@]}" tests
fi

# ------------------------------------------------------------------------------------ configuration
cores=$(getconf _NPROCESSORS_ONLN) epsilon=0.05 tau=0.05 masks=augment tables="1 2"    # the others: days more
prepare=(prepare "$profile" ${smoke:+--smoke} ${langs:+--langs $langs})
data=$out/data lexicon=("$out/lexicon") machine=(${DEVICE:+--device "$DEVICE"} --precision)
methods=(contrastive optical ours mean greedy code-switch) save=(--save) tuned=(--save)
if [ "$profile" = mini ]; then
    study=${langs:-sw} mix=${langs:-sw so fi de} jobs=4 tables="1 2 3 4 5 6 7 8 9 10 11"
    translator=${NMT:-bitext} PRECISION=${PRECISION:-float32} MODELS=${MODELS:-32x2 64x2} methods+=(wikiclir)
    alone=(--threads 2) shared=(--threads 1)             # the same numbers on any number of cores
    pretrain=(--vocab 6000 --hidden 96 --layers 3 --ffn 2 --steps 1500 --batch 128 --lr 1e-3)
    teacher=(--dim 128 --query-tokens 32 --doc-tokens 96 --steps 600 --batch 32 --negatives 2 --lr 5e-4)
    student=(--batch 32 --max-tokens 48 --negatives 2) tau=0.03      # tau: best on dev of 0.01 to 0.1
    tune_steps=(400 1000) grid=(1e-3 3e-3 1e-2)
    [ -n "$langs" ] || tune="sw mr"                      # two scripts: what one prefers is not all's choice
    nmt=(--batch 32 --max-tokens 48) nmt_grid=(5e-4 1e-3 2e-3) hybrid=(--steps 200 --batch 32 --lr 5e-4)
    by_size=(methods={optical,mean,contrastive},pairs={250,1000,2000})
    switches=(methods=code-switch,switch={0.25,0.5,1},lexicon-size={100,200})
    [ -z "$quick" ] || methods=(mean contrastive optical ours) tables="1 2" translator=none
elif [ "$profile" = paper ]; then
    # The paper's: encoder, data, lengths with mask tokens, dimensions, number of pairs. ColBERT's: the
    # teacher's batch and rate. Ours: all else. mBERT has seen no Somali; FacebookAI/xlm-roberta-base has.
    study=${langs:-sw} mix=${langs:-sw so fi de} jobs=1 masks=no-augment
    translator=${NMT:-facebook/nllb-200-distilled-600M}
    teacher=(--augment --steps 100000 --batch 32 --lr 3e-6) student=(--batch 128)
    steps=20000 tune_steps=2000 grid=(3e-6 1e-5 3e-5 1e-4)       # steps: as many for every method
    save=(--save optical ours) tuned=()                          # 0.7 GB each
    nmt=(--batch 128) nmt_grid=(3e-5 1e-4 3e-4)
    by_size=(methods={optical,mean,contrastive},pairs={1000,10000,100000})
    switches=(methods=code-switch,switch={0.25,0.5,1},lexicon-size={1000,10000})
    bitext=(--pairs 100000) translations=("$data/translations")    # Model 1: memory; mMARCO's German, French
    prepare+=(${BITEXT:+--bitext "$BITEXT"} ${CLEF:+--clef "$CLEF"})
else
    jobs=2 translator=${NMT:-none}
    study=$(cut -d' ' -f1-2 <<< "${langs:-$([ "$profile" = real ] && echo swa hau || echo sw so)}") mix=$study
    teacher=(--epochs 1 --batch 32 --lr 5e-5) student=(--batch 32)
    tune_steps=(100 400) grid=(3e-5 1e-4 3e-4) nmt=(--batch 64 --dropout 0) nmt_grid=(3e-4 1e-3)
    by_size=(methods={optical,contrastive},pairs={250,1000,4000})
    switches=(methods=code-switch,switch={0.25,0.5,1},lexicon-size={1000,4000})
fi
ablation=(questions=0.5 average=0.5 epsilon={0.02,0.1,0.2} init=bare layers=1
          plan={uniform,ipot,exact,unbalanced,greedy} cost=sqeuclidean marginals={idf,norm})
if [ "$profile" != mini ]; then
    encoder=${ENCODER:-google-bert/bert-base-multilingual-uncased}
    prepare+=(${MIRROR:+--mirror "$MIRROR"} ${WIKI:+--wiki "$WIKI"})
    methods+=(${WIKI:+wikiclir}) ablation+=(max-tokens={32,128})
    lexicon=(${DICTIONARY:+"$DICTIONARY"} "${lexicon[@]}")
fi
if [ "$profile" = own ]; then
    prepare=(own ${smoke:+--smoke} --lang "$langs" --corpus "$CORPUS" --queries "$QUERIES" --qrels "$QRELS" \
        --bitext $BITEXT ${ENGLISH:+--english "$ENGLISH"} ${TRAIN:+--train $TRAIN})
    study=$langs mix=$langs                              # without training queries, what needs none
    [ -n "$TRAIN" ] || methods=(contrastive optical mean greedy) ablation=(${ablation[@]/#[qi]*=[0b]*/})
fi
first=${study%% *} tune=${tune:-$(cut -d' ' -f1-2 <<< "$study")} models=$(words $MODELS)
few=${METHODS:+1 2} tables=$(words ${TABLES:-${few:-$tables}})      # others take methods that may be missing
for name in $tables; do [[ $name =~ ^([1-9]|1[01])$ ]] || fail "TABLES: no table $name; of 1 to 11"; done
jobs=${JOBS:-$((cores < jobs ? cores : jobs))}
machine+=("${PRECISION:-auto}") student+=(--epsilon "$epsilon" --tau "$tau")
[ "$translator" = none ] || methods+=(translate-train)
every=" ${methods[*]} " methods=($(words ${METHODS:-${methods[*]}}))
for name in "${methods[@]}"; do [[ $every = *" $name "* ]] || fail "METHODS: no $name; of$every"; done
if [ -n "$smoke" ]; then
    pretrain=(--vocab 1000 --hidden 32 --layers 2 --steps 20 --batch 32 --lr 1e-3) study=$first tune=$first
    teacher=(--dim 32 --doc-tokens 64 --steps 8 --batch 8 --lr 5e-4) student+=(--batch 8 --max-tokens 48)
    nmt=(--batch 8 --max-tokens 48 --beams 2) hybrid=(--steps 4 --batch 8 --lr 5e-4)
    tune_steps=(4 6) steps=$steps$RATES steps=${steps:+6}
    by_size=(methods={optical,mean},pairs=20) switches=(methods=code-switch,switch={0.25,1},lexicon-size=20)
    [ "$profile" != mini ] || models=16x1
    [[ $mix != *" "* ]] || mix="${mix%% *} ${mix##* }"
fi
switches+=(methods=code-switch,switch={0.25,1},lexicon-size=0)      # all words; half of them: in table 2
[ -z "$(on "$FREEZE")" ] || teacher+=(--freeze) ablation=(${ablation[@]/layers=1/})
[ -z "$TEACHER" ] || ablation=(${ablation[@]/init=bare/})          # it need not tell what it began as

# ------------------------------------------------------------------------------------------- running
stopped="stopped; the same command goes on from here"      # and what runs stops too
trap 'trap "" INT TERM; end 1 $(jobs -p); fail "$stopped" 130' INT TERM
stage() {    # stage NAME MODULE ...: study.MODULE, once; JOBS processes share the `items`, where {} is given
    local name=$1 stamp=$out/stamps/$1 log=$out/logs/$1.log began=$SECONDS state=todo status=0 usual size
    local item arg command lists=() i=0 pids=() own="${*:2}"
    if [[ " $own " = *" {} "* ]]; then own+=" <- $items"; else items=-; fi
    [ ! -f "$stamp" ] || { state=done; [ "$(cat "$stamp")" = "$own" ] || state="done with another command"; }
    # Made of whatever is there by now: again when anything ran or other TABLES are asked.
    [[ $name =~ -s[0-9]|^(data|bm25|lexicon|psq|tune|table) || $state$ran = "done" ]] || state=todo
    [ "$state" = "done" ] || ran=yes
    number=$((number + 1))
    read -r usual size <<< "$(awk -v name="${name%-s[0-9]*}" '$1 == name { print $2, $3 }' <<< "$times")"
    [ -z "$langs" ] || [ "$items" != "$all" ] || usual=${usual:+$((usual * asked / known))}    # times of more
    if [ "$mode" = count ]; then [ "$state" = "done" ] || left=$((left + ${usual:-0})); return; fi
    [ -z "$plan" ] ||
        echo "[$state] $name: $PYTHON -m study.$own" ${usual:+" # $((usual / 60)) min${size:+, $size GB}"}
    [ -z "$plan" ] && [ "$state" != "done" ] || return 0
    [ "$state" = "todo" ] || fail "$stamp: made by another command: $(cat "$stamp"); delete $out or set OUT"
    minutes=$([ -z "$times" ] || [ "$profile" = paper ] || echo ", about $((left / 60 + 1)) min left")
    echo "== $number of $total, $name$minutes (log: $log)"
    for item in $items; do lists[i % jobs]+="$item "; i=$((i + 1)); done
    for item in "${lists[@]}"; do
        command=("$PYTHON" -m "study.$2")
        for arg in "${@:3}"; do if [ "$arg" = "{}" ]; then command+=($item); else command+=("$arg"); fi; done
        OMP_NUM_THREADS=$((cores > ${#lists[@]} ? cores / ${#lists[@]} : 1)) \
            "${command[@]}" >> "$log" 2>&1 & pids+=($!)        # in the background, or a signal would wait
    done
    while sleep 30 > /dev/null 2>&1 9>&-; do tail -n 1 "$log"; done & i=$!
    for item in "${pids[@]}"; do wait "$item" || status=$?; done
    end 0.01 "$i"
    printf '%s\t%s\n' "$name" "$((SECONDS - began))" >> "$out/stages.tsv"
    [ "$status" -eq 0 ] || { tail -n 5 "$log" >&2; fail "stage $name (log: $log) $stopped" "$status"; }
    left=$((left - ${usual:-0}))
    printf '%s\n' "$own" > "$stamp.tmp" && mv "$stamp.tmp" "$stamp"
}

# ------------------------------------------------------------------------------------------- stages
all_stages() {
    local s first_seed='' scored=(--data "$data" --runs "$out/runs")
    stage data collections "${prepare[@]}" --out "$data"
    all=$(basename -a -s .train.tsv "$data"/bitext/*.train.tsv | tr '\n' ' ')     # the languages
    [[ $all != "* " ]] || all=LANG
    stage bm25 baselines bm25 --data "$data" --out "$out/runs"
    stage lexicon baselines lexicon --data "$data" --out "$out/lexicon" "${bitext[@]}"
    stage bm25-lexicon baselines bm25-lexicon --data "$data" --lexicon "$out/lexicon" --out "$out/runs"
    stage psq baselines psq --data "$data" --lexicon "$out/lexicon" --out "$out/runs"
    for s in $seeds; do seed "$s"; first_seed=${first_seed:-$s}; done
    stage scores tables score "${scored[@]}" --root "$out" --out "$out/scores.json" \
        --markdown "$out/tables.md"
    stage costs sweeps cost --data "$data" --root "$out" --out "$out/costs.json"
    stage costs-table tables tables "$out/costs.json" --out "$out/costs.md"
    stage figures figures --scores "$out/scores.json" --plan "$out/s${seeds%% *}/plan.json" \
        --out "$out/figures"
}

run() { stage "$1-s$s" "${@:2}"; }             # a stage of this seed
teach() {    # teach SUFFIX FOLDER ENCODER ...: a teacher; mini pre-trains its encoder, with the options given
    local from=$3
    if [ "$profile" = mini ]; then
        from=$2/encoder
        run "pretrain$1" students pretrain "${solo[@]}" "${pretrain[@]}" "${@:4}" --out "$from"
    fi
    run "teacher$1" students teacher "${solo[@]}" "${teacher[@]}" --encoder "$from" --out "$2/teacher"
}
sweep() {    # sweep TABLE NAME ITEMS ...
    wanted "$1" || return 0
    items=$3
    run "$2" students train "${train[@]}" "${@:4}" --runs "$out/runs-$1" --out "$dir/$2"
}
seed() {     # seed N: everything that a seed changes
    local s=$1 dir=$out/s$1 own=${TEACHER:-$out/s$1/teacher} base solo made=() train with from teachers model
    base=(--data "$data" --seed "$s" "${machine[@]}") solo=("${base[@]}" "${alone[@]}")
    [ "$profile" != mini ] || encoder=$dir/encoder
    [ ! -d "$own/s$s/teacher" ] || own=$own/s$s/teacher
    [ -n "$TEACHER" ] || teach "" "$dir" "$encoder"
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
        --langs $tune --lr "${grid[@]}" --steps "${tune_steps[@]}" "${tuned[@]}" --out "$out/tune"
    train+=(--rates "${RATES:-$out/tune}" ${steps:+--steps "$steps"}) items=$all
    run students students train "${train[@]}" "${with[@]}" --tuned "$out/tune" --langs {} "${save[@]}" \
        --methods "${methods[@]}" --runs "$out/runs" --out "$dir/students"
    [[ " ${methods[*]} " != *" ours "* ]] || run interpolate baselines hybrid --data "$data" \
        --lexicon "$out/lexicon" --students "$dir/students" --seed-tag "$s" --out "$out/runs"
    if [ -z "$first_seed" ] && [[ $tables =~ [3-9]|10 ]]; then       # table 2, while the others are made
        stage table-2 tables score "${scored[@]}" --out "$out/table-2.json" --markdown "$out/table-2.md"
        [ "$mode$plan$smoke" != run ] || cat "$out/table-2.md"
    fi
    sweep 3 ablation "${ablation[*]}" "${with[@]}" --langs $study --variants {}
    if wanted 3 && [ -z "$TEACHER" ]; then     # a teacher that never saw mask tokens would be asked with them
        from=$dir/masks
        run teacher-masks students teacher "${solo[@]}" "${teacher[@]}" --encoder "$encoder" \
            --out "$from/teacher" "--$masks"
        sweep 3 masks - --langs $study --variants "$masks" --teacher "$from/teacher" --cache "$from/vectors"
    fi
    sweep 4 size "${by_size[*]}" --langs $study --variants {}
    sweep 5 mix "$mix" "${with[@]}" --langs {} --variants mix=0.25 mix=0.5 mix=0.75 mix=1
    sweep 6 switch "${switches[*]}" "${with[@]}" --langs $study --variants {}
    if wanted 7 && [[ " $mix" =~ " "(sw|so|tl|mr) && " $mix" =~ " "(fi|de|fr) ]]; then    # low and high
        sweep 7 share "share=0 share=0.25 share=0.5 share=0.75 share=1" "${with[@]}" --langs "${mix// /+}" \
            --methods code-switch --variants {}
        run answers sweeps answers "${base[@]}" --runs "$out/runs-7" --out "$dir/answers.json"
    fi
    if wanted 8 && [ "$profile" = mini ]; then      # it has training documents in every language
        items="0 0.25 0.5 0.75 1"
        run hybrid sweeps hybrid "${base[@]}" "${shared[@]}" "${hybrid[@]}" --teacher "$own" \
            --langs $mix --cross {} --runs "$out/runs-8" --out "$dir/hybrid"
    fi
    if wanted 9 && [ -n "$models" ]; then
        teachers=("$own")
        for model in $models; do
            from=$dir/size-${model##*/}
            teach "-${model##*/}" "$from" "$model" --hidden "${model%x*}" --layers "${model#*x}"
            teachers+=("$from/teacher")
        done
        items=$mix train+=(--teachers "${teachers[@]}" --runs "$out/runs-9" --out "$dir/scale")
        run scale sweeps scale "${train[@]}" --langs {} --rows "$dir/scale-part.json"
        run scale-rows sweeps scale "${train[@]}" --langs $mix --rows "$dir/scale.json"
    fi
    items=$first
    ! wanted 10 || [ "$profile" != mini ] || items="$first ${all/"$first "/}"   # its plan is drawn
    run align sweeps align "${solo[@]}" --teacher "$own" --students "$dir/students" --langs $items \
        --epsilon "$epsilon" --plan "$dir/plan.json" --out "$dir/alignment.json"
}
left=0 times=$([ -n "$smoke" ] || cat "results/$profile/stages.tsv" 2> /dev/null) || true
asked=$(wc -w <<< "$langs") known=$(awk '$1 == "languages" { print $2 }' <<< "$times") known=${known:-$asked}
if [ -z "$plan" ]; then      # one run at a time; a killed one's processes, soon gone, hold the lock till then
    mkdir -p "$out/stamps" "$out/logs" && exec 9> "$out/.lock" || fail "OUT=$out: cannot be written"
    "$PYTHON" -c 'import fcntl, signal
signal.signal(signal.SIGALRM, lambda *_: exit(1)), signal.alarm(5), fcntl.flock(9, fcntl.LOCK_EX)' ||
        fail "OUT=$out: another run is at work there; wait for it or set another folder"
    find "$out" -name '*.tmp' -prune -exec rm -rf {} +      # what a killed process was writing
fi
for mode in count run; do total=$number number=0 ran=; all_stages; done
[ -n "$plan" ] || head -q -n $([ -n "$smoke" ] && echo 25 || echo 9999) "$out/tables.md" "$out/costs.md"
[ -n "$plan" ] || echo "tables: $out/tables.md  scores: $out/scores.json"
if [ -n "$quick" ] && [ -z "$plan" ]; then
    lang=${langs%% *} made=("$out/s1/teacher" --student "$out/s1/students/$lang/ours")
    head -n 1 "$data/bitext/$lang.dev.tsv" > "$out/pair.tsv"
    "$PYTHON" optical.py align --teacher "${made[@]}" --pairs "$out/pair.tsv" --heat
    made+=(--docs "$data/docs/mini.tsv")
    sed -n 's/^t001\t//p' "$data/test/$lang/queries.tsv" | "$PYTHON" optical.py ask "${made[@]}" -k 2
    echo "next: $PYTHON optical.py ask ${made[*]}   asks your own; bash run_all.sh makes every table"
fi
