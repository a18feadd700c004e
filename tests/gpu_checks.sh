#!/bin/sh
# The steps of gpu.sh that ask whether all is right. It sources this file and has the helpers.
# shellcheck disable=SC2154 # variables that gpu.sh sets

step_nvidia_smi() {
  command -v nvidia-smi >/dev/null || skip "no nvidia-smi here"
  nvidia-smi
  nvidia-smi -q -d CLOCK,POWER,ECC,COMPUTE 2>&1 | head -n 80
  figure "$(nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv,noheader | head -n 1)"
}

step_doctor() {
  "$bundle/norma" doctor
  figure "$("$bundle/norma" doctor | sed -n 's/^gpu 0  *//p') (cuDNN $(of_json "$work/doctor.json" cudnn))"
  grep -q '"usable": true' "$work/doctor.json"
}

# Runs the tests of a program of GoogleTest in this number of parallel processes; their counts are the figure.
google_tests() { # <processes> <filter> <program> <command before it>...
  shards=$1 pids='' status=0
  "$3" --gtest_list_tests --gtest_filter="$2" >"$work/$step.listed" || return
  for i in $(seq 0 $((shards - 1))); do : >"$work/$step.list.$i" && : >"$work/$step.progress.$i"; done
  awk -v shards="$shards" -v list="$work/$step.list." '
    /^[^ ]/ { suite = $1 }
    /^  / { print suite $1 >(list (n++ % shards)) }
    END { exit !n }' "$work/$step.listed" || { figure "no test matches $2"; return 1; }
  shift 2
  for i in $(seq 0 $((shards - 1))); do
    google_shard "$i" "$@" >"$work/$step.tests.$i" 2>&1 &
    pids="$pids $!"
  done
  for pid in $pids; do
    code=0
    wait "$pid" || code=$?
    if [ $code != 0 ] && { [ $status = 0 ] || [ $code != 77 ]; }; then status=$code; fi
  done
  for i in $(seq 0 $((shards - 1))); do cat "$work/$step.tests.$i"; done | tee "$work/$step.tests"
  if [ $status = 77 ] && [ "$(count began)" = 0 ]; then skip "$(tail -n 1 "$work/$step.tests")"; fi
  figure "$(test_counts)$([ "$status" -le 128 ] || echo "; $(ending "$status") outside a test")"
  if [ $status = 77 ] || [ "$(not_run)" != 0 ]; then return 1; fi
  [ $status != 0 ] || [ "$(count passed)" != 0 ] || exit 77
  return $status
}

# A part of google_tests. Where a test ends the process, a new one runs the rest, at most 5 times.
google_shard() { # <its number> <program> <command before it>...
  list=$work/$step.list.$1 rest=$work/$step.rest.$1 flags=$work/$step.flags.$1 progress=$work/$step.progress.$1 program=$2 died=0
  shift 2
  cp "$list" "$rest"
  while [ -s "$rest" ] && [ $died -le 5 ]; do
    code=0
    echo "--gtest_filter=$(paste -s -d : "$rest")" >"$flags" # in a file, which may be longer than an argument
    NORMA_TEST_PROGRESS=$progress "$@" "$program" --gtest_brief=1 --gtest_flagfile="$flags" || code=$?
    name=$(sed -n '$s/^began //p' "$progress") # it began last, and did not end
    [ -n "$name" ] || break
    died=$((died + 1))
    echo "[  FAILED  ] $name ended its process: $(ending "$code")"
    echo "lost $name" >>"$progress"
    awk 'NR == FNR { done[$2]; next } !($1 in done)' "$progress" "$list" >"$rest"
  done
  [ $died = 0 ] || return 1
  [ ! -s "$rest" ] || return "$code"
}
ending() { if [ "$1" -gt 128 ]; then echo "signal $(($1 - 128))"; else echo "exit code $1"; fi; }

# The tests of a step that passed, failed, were skipped or lost, counted. A lost one ended its process.
count() { cat "$work/$step".progress.* | grep -c "^$1 "; }
not_run() { echo $(($(cat "$work/$step".list.* | wc -l) - $(count began))); }
test_counts() {
  text="$(count passed) passed, $(($(count failed) + $(count lost))) failed, $(count skipped) skipped"
  [ "$(not_run)" = 0 ] || text="$text, $(not_run) not run"
  cat "$work/$step".progress.* | awk -v text="$text" '
    $1 == "lost" && ++n <= 4 { text = text (n > 1 ? ", " : "; ended their process: ") $2 }
    END { print text (n > 4 ? " and " n - 4 " more" : "") }'
}

# Most of their time is the reference's, on the CPU.
step_kernels() { RC_PARAMS=seed=20261122 google_tests 4 '-*Beyond31Bits*' "$bundle/norma_cuda_tests"; }
step_large() { google_tests 1 '*Beyond31Bits*' "$bundle/norma_cuda_tests"; }

step_cudnn() {
  [ -x "$bundle/norma_cudnn_tests" ] || skip "not in this bundle"
  grep -q '"cudnn": "' "$work/doctor.json" || skip "no libcudnn.so.9 here"
  NORMA_CUDNN_JSON=$out/cudnn.json google_tests 1 '*' "$bundle/norma_cudnn_tests"
}

# Compares every Call of both recipes, and of one in each precision, with double: on the CPU, the GPU and, if found, by cuDNN. One table
# each.
step_verify() {
  status=0 figures=
  for recipe in mnist-lenet-bn fashion-lenet-bn-sigmoid 'mnist-lenet-bn --precision tf32' 'mnist-lenet-bn --precision bf16'; do
    echo "norma verify $recipe --device cuda"
    # shellcheck disable=SC2086 # a recipe and a flag
    "$bundle/norma" verify $recipe --device cuda >"$work/verify.txt" 2>&1 || status=1
    cat "$work/verify.txt"
    result=$(sed -n 's/^passed: /passed, /p; s/^FAILED *\([^:]*: [^:]*\):.*/FAILED \1/p' "$work/verify.txt" | head -n 1)
    figures="${figures:+$figures; }$recipe $result"
  done
  figure "$figures"
  return $status
}

# The sanitizers slow kernels down by up to a hundred times. So they run only some of the table's cases. These are LeNet's layers, 15 and 17
# samples, which end in a partial group, and one of each Call that these leave out. Values lie in allocations of their own.
sanitized='*lenet* *_mnist* *_n15* *_n17* fill_17 batch_norm_rstd_c17 batch_norm_running_update_first check_finite_nan_last
  mean_squared_error_n37_mean advance_training *_advance_momentum_layers2 *_adam_advance resize_28_to_32'
sanitize() {
  tool=$1
  shift
  for sanitizer in "$(command -v compute-sanitizer)" /usr/local/cuda*/bin/compute-sanitizer /opt/nvidia/*/*/compute-sanitizer; do
    [ ! -x "$sanitizer" ] || break
  done
  [ -x "$sanitizer" ] || skip "no compute-sanitizer here"
  set -f
  filter=
  for each in $sanitized; do filter=$filter:Cases/CudaKernels.GiveTheSameBitsEveryTime/$each; done
  set +f
  filter=${filter#:}
  echo "compute-sanitizer --tool $tool, --gtest_filter=$filter"
  status=0
  (google_tests 1 "$filter" "$bundle/norma_cuda_tests" "$sanitizer" --tool "$tool" --error-exitcode 86 --print-limit 20 "$@") || status=$?
  [ -e "$work/$step.tests" ] || return $status
  # gVisor, for example, lets no sanitizer near its GPU.
  refused=$(sed -n 's/^=========.*\([Dd]evice not supported\).*/\1/p; s/^========= Error: \(.*[Nn]ot supported.*\)/\1/p' \
    "$work/$step.tests" | head -n 1)
  [ -z "$refused" ] || skip "compute-sanitizer says: $refused"
  [ $status != 77 ] || exit 77
  found=$(sed -n 's/^========= ERROR SUMMARY: //p; s/^========= RACECHECK SUMMARY: //p' "$work/$step.tests" | paste -s -d ';' -)
  figure "${found:-no summary}; LeNet's and ragged shapes: $(test_counts)"
  return $status
}
step_memcheck() { sanitize memcheck --leak-check full; }
step_racecheck() { sanitize racecheck; }
step_initcheck() { sanitize initcheck; }
step_synccheck() { sanitize synccheck; }

step_repeats() {
  "$bundle/norma" data path mnist || skip "no MNIST here"
  for i in 1 2 3 4 5 6 7 8 9 10; do
    train "repeat$i" mnist-lenet-bn --epochs 1 || return 1
    of_json "$work/repeat$i.json" parameters_hash
  done | tee "$work/hashes"
  different=$(sort -u "$work/hashes" | wc -l)
  figure "$(wc -l <"$work/hashes" | tr -d ' ') runs, $different hash$([ "$different" = 1 ] || echo es): $(head -n 1 "$work/hashes")"
  [ "$different" = 1 ] && [ "$(wc -l <"$work/hashes")" -eq 10 ]
}

# accuracy <its file> <flags>: the means over five seeds, in $means
accuracy() {
  file=$1 status=0
  shift
  sh "$bundle/accuracy.sh" "$bundle" --device cuda "$@" >"$file" 2>&1 || status=$?
  cat "$file"
  means=$(sed -n \
    's/^\([^:]*\): mean \([0-9.]*\) .* must reach \([0-9.]*\): .*/\1 \2 (>= \3)/p; s/^skipped: \([^:]*\):.*/\1 skipped/p' "$file" |
    paste -s -d ';' - | sed 's/;/; /g')
  return $status
}
step_accuracy() {
  result=0
  accuracy "$work/accuracy.txt" || result=1
  figure "$means"
  return $result
}
step_precision() {
  result=0 text=
  for precision in tf32 bf16; do
    accuracy "$work/accuracy.$precision.txt" --precision $precision || result=1
    text="${text:+$text; }$precision: $means"
  done
  figure "$text"
  return $result
}
