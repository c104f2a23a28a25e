#!/usr/bin/env bash
# All that needs a GPU, once, on a bare Linux machine with CUDA torch and ten minutes, without a network.
#
#   scripts/on_gpu.sh OUT
#
# (a) every line that only a GPU runs, with a pass or a fail; (b) a base of Stable Diffusion's full layout with random
# weights: memory, seconds a step, a translation beside stock diffusers; (c) what a click takes; (d) pre-training for
# the rest of the time, which goes on where it stopped when the folder OUT/pretraining is brought back.
# OUT/parts holds everything in pieces below 16 MiB; OUT/parts/README says how they are joined.
#
# Environment: ALL_SECONDS (600) for everything; DEVICE (cuda); SMALL=1 for a rehearsal on a CPU, with small sizes;
# PYTHON (python3); WHEELS, a folder of packages to install what is missing from; PRETRAIN, further arguments for it.
set -u
out=$(mkdir -p "${1:?give a folder for the results}" && cd "$1" && pwd)
top=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
device=${DEVICE:-cuda}
all=${ALL_SECONDS:-600}
small=${SMALL:-}
pack=30  # seconds for packing at the end
export PYTHONPATH="$top/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 PHENOLENS_OFFLINE=1
export PHENOLENS_CACHE="$out/cache"
began=$SECONDS
failed=0
left() { echo $((all - pack - (SECONDS - began))); }

# step NAME SECONDS COMMAND...: runs a command within its time and the time that is left, and notes how it ended.
step() {
  local name=$1 most=$2 rest start=$SECONDS
  shift 2
  rest=$(left)
  if [ "$rest" -lt 5 ]; then
    echo "skip  $name  (no time left)" | tee -a "$out/summary.txt"
    return
  fi
  [ "$most" -gt "$rest" ] && most=$rest
  timeout -s INT -k 20 "$most" "$@" > "$out/$name.txt" 2>&1
  local rc=$?
  if [ $rc = 0 ]; then
    echo "pass  $name  ($((SECONDS - start)) s)" | tee -a "$out/summary.txt"
  elif [ "$name" = pretraining ] && { [ $rc = 124 ] || [ $rc = 130 ]; }; then
    echo "pass  $name  (stopped after $((SECONDS - start)) s; the same command goes on)" | tee -a "$out/summary.txt"
  else
    echo "FAIL  $name  (status $rc; the end of $name.txt follows)" | tee -a "$out/summary.txt"
    tail -n 5 "$out/$name.txt"
    failed=$((failed + 1))
  fi
}

: > "$out/summary.txt"
if [ -n "${WHEELS:-}" ]; then
  step packages 120 "$python" -m pip install --no-index --find-links "$WHEELS" -c "$top/constraints.txt" \
    diffusers peft safetensors scikit-image pandas pyarrow tifffile typer rich platformdirs psutil lazy-loader superqt
fi
step machine 60 "$python" -c "
import platform, torch
print(platform.platform(), 'torch', torch.__version__, 'CUDA', torch.version.cuda)
for i in range(torch.cuda.device_count()):
    print(torch.cuda.get_device_properties(i))
import diffusers, peft, phenolens
assert '$device' == 'cpu' or torch.cuda.is_available(), 'torch sees no GPU'
"
if [ -n "$small" ]; then
  lines="--steps 2 --cells 4" base="--tiny --steps 6 --batch 1 --crop 64 --repeats 1" click="--turns 1 --reference 4"
  pretrain=${PRETRAIN:---styles 2 --unet-steps 100000}
else
  lines="--steps 40" base="--steps 20 --batch 16 --crop 256" click="--turns 6"
  pretrain=${PRETRAIN:---styles 160}
fi
# shellcheck disable=SC2086
{
  step lines 150 "$python" "$top/scripts/gpu_lines.py" --device "$device" $lines
  step sd_base 150 "$python" "$top/benchmarks/sd_base.py" --device "$device" $base
  step click 90 "$python" "$top/benchmarks/speed.py" --device "$device" $click
  step pretraining 100000 "$python" -m phenolens pretrain --from compact --out "$out/pretraining" --device "$device" $pretrain
}

rm -rf "$out/parts"
mkdir -p "$out/parts"
(cd "$out" && tar -cf - --exclude=./parts --exclude=./cache .) | split -b 15M -d -a 3 - "$out/parts/results.tar."
(cd "$out/parts" && sha256sum results.tar.* > SHA256SUMS)
echo "sha256sum -c SHA256SUMS && cat results.tar.* | tar -xf -" > "$out/parts/README"
cat "$out/summary.txt"
echo "$failed failed; $(ls "$out/parts" | grep -c results) parts in $out/parts, after $((SECONDS - began)) s"
exit "$failed"
