#!/usr/bin/env bash
# How fast is this card? Benchmarks it, runs the tests that need one, calibrates on it, and leaves
# the raw output in a folder. A part that fails does not keep the others from running.
#   scripts/measure_card.sh [FOLDER [PART...]]    parts: bench tests calibrate
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
export PYTHONPATH=src${PYTHONPATH:+:$PYTHONPATH}

card=$("$python" -c 'import torch; print(torch.cuda.get_device_name())' 2>/dev/null) \
  || { echo "no CUDA device that $python can use; set PYTHON" >&2; exit 2; }
slug=$(tr 'A-Z ' 'a-z-' <<<"$card" | tr -cd 'a-z0-9-')
folder=${1:-docs/measurements/$(date -u +%Y-%m-%d)-$slug}
shift || true
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(bench tests calibrate)
mkdir -p "$folder"
failed=0

part() {  # name, command...: keep what it prints, and say how it ended
  local name=$1; shift
  local began=$SECONDS
  "$@" 2>&1 | tee "$folder/$name.txt"
  local status=${PIPESTATUS[0]}
  echo "$name: exit status $status after $((SECONDS - began)) s, $(date -u +%FT%TZ)" | tee -a "$folder/$name.txt"
  [ "$status" -eq 0 ] || failed=1
}

for name in "${parts[@]}"; do
  case $name in
    bench) part bench "$python" -m streamtwin.cli bench --all --device cuda --out "$folder/bench.json" ;;
    tests) part tests "$python" -m pytest -m gpu tests ;;
    calibrate)
      part calibrate "$python" -m streamtwin.cli calibrate --device cuda --out "$folder/profile" ;;
    *) echo "unknown part $name: choose bench, tests or calibrate" >&2; exit 2 ;;
  esac
done
exit $failed
