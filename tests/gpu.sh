#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What a GPU alone can show, in nine minutes, the most telling first. Each part writes to OUT as it goes.
#   bash tests/gpu.sh OUT           on a GPU; with MIRROR=files ENCODER=folder the real profile comes last, too
#   bash tests/gpu.sh --tiny OUT    on a CPU, in three minutes: whether it runs
#   PYTHON=interpreter  LANGS="swa hau"  of real  PEERS=folder that POT lies in
set -uo pipefail
tiny= && [ "${1:-}" != --tiny ] || { tiny=yes && shift; }
[ -n "${1:-}" ] || { sed -n '/^#   /s/^#  *//p' "$0" >&2; exit 2; }
mkdir -p "$1" && out=$(realpath "$1") && cd "$(dirname "$0")/.." || exit 2
export PYTHON=${PYTHON:-$PWD/.venv/bin/python} DEVICE=$([ -n "$tiny" ] && echo cpu || echo cuda)
began=$SECONDS wrong=0

part() {     # part NAME SECONDS COMMAND ...: at most so long, to OUT/NAME.log; the time left is the last one's
    local name=$1 most=$2 from=$SECONDS status=0
    timeout -k 10 ${tiny:+9}"$most" "${@:3}" > "$out/$name.log" 2>&1 || status=$?
    [ "$status" = 0 ] || [ "$status$tiny" = 124 ] || wrong=1
    printf '%s\t%s\t%s\n' "$name" "$((SECONDS - from))" "$status" | tee -a "$out/parts.tsv"
}

bench=(tests/bench_train.py --device "$DEVICE" --out "$out/bench-train.md")
if [ -n "$tiny" ]; then
    tests=(-k gpu) bench+=(--sizes 2x64 --rounds 2 --batch 8 --docs 100) own=(SMOKE=1 LANGS=sw TABLES=1)
else
    tests=(tests/test_ot.py tests/test_optical.py) own=(RATES=results/mini 'TABLES=1 2' JOBS=4)
    bench+=(--sizes 6x384 12x384 12x768 --batch 128 --docs 20000)
fi
: > "$out/parts.tsv"
"$PYTHON" -c 'import platform, torch, transformers; print("Python", platform.python_version(), "torch",
    torch.__version__, "transformers", transformers.__version__, *map(torch.cuda.get_device_name, range(
    torch.cuda.device_count())))' | tee "$out/device.txt"
part tests 90 "$PYTHON" -m pytest -q -p no:cacheprovider tests/test_gpu.py "${tests[@]}"
[ -n "$tiny" ] || part smoke 60 env SMOKE=1 TABLES="1 2" OUT="$out/smoke" bash run_all.sh
part bench-train 60 "$PYTHON" "${bench[@]}"
! "$PYTHON" -c 'import sys; sys.path.insert(0, sys.argv[1]); import ot.batch' "${PEERS:-/none}" 2> /dev/null ||
    part bench-ot 60 "$PYTHON" tests/bench_ot.py --peers "$PEERS" --device "$DEVICE" --rounds 3 --out "$out/bench-ot.md"
part mini 180 env "${own[@]}" OUT="$out/mini" bash run_all.sh
if [ -n "${MIRROR:-}" ] && [ -n "${ENCODER:-}" ]; then
    part real $((530 - SECONDS + began)) env ${tiny:+SMOKE=1} OUT="$out/real" bash run_all.sh real
fi
for file in {mini,real}/{stages.tsv,tables.md,scores.json}; do
    [ ! -f "$out/$file" ] || cp "$out/$file" "$out/${file/\//-}"
done
exit $wrong
