#!/usr/bin/env bash
# norma export as a user meets it: the C file compiles and gives norma's outputs; what is refused leaves nothing. A line a check.
#   tests/scripts/export.sh [build directory]      or NORMA=<program> tests/scripts/export.sh
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
. "$(dirname "$0")/checks.sh"
unset CC
"$norma" train tiny.toml --device cpu --threads 1 --quiet --out run >/dev/null || { bad "a run to export"; finish; exit; }

# ---- refused
expect "no file to write" 2 "out is required" export run
expect "an ending that is no form" 2 "net.cpp: the ending of its name says what is written: .c (C99 source)" export run net.cpp
expect "no model" 3 "nowhere: no such file" export nowhere net.c
expect "a name that is no identifier" 2 '"a-b" is no name for C' export run net.c --name a-b
expect "weights of an unknown kind" 2 '--weights must be one of float, int8, got "int4"; did you mean "int8"?' export run net.c --weights int4
printf 'no model' >broken.safetensors
expect "a file that is no model" 3 "broken.safetensors" export broken.safetensors net.c
expect "a folder that cannot be made" 1 "/proc/none" export run /proc/none/net.c
check "... nothing of all this was written" "$(ls net.c .norma-files 2>/dev/null | wc -l)" 0

# ---- written
"$norma" export run my-net.c >stdout 2>stderr
check "a C file" "$? $(wc -c <stderr)" "0 0"
check "... its function is called as the file" "$(grep -c '^void my_net_run(const uint8_t \*input, float \*output, float \*scratch);$' my-net.c)" 1
check "... which is said, with its sizes" "$(awk '{ print $1 }' stdout | tr '\n' ' ')" "file function parameters scratch products "
check "... on the list of norma's files" "$(grep -c ' my-net.c$' .norma-files)" 1
expect "a file that is there" 2 "my-net.c exists: --force replaces it, OUT names another" export run my-net.c
expect "... and --force" 0 "" export run my-net.c --force --name other
check "... has the name" "$(grep -c '^void other_run(.*);$' my-net.c)" 1
echo '/* mine */' >>my-net.c
expect "a file that was changed" 2 "is not a file of norma's, or was changed" export run my-net.c --force
check "... stays" "$(tail -n 1 my-net.c)" '/* mine */'
"$norma" export run/model.safetensors floats.c --floats --no-fold --json >floats.json
check "floats, no folding, JSON" "$? $(key floats.json schema) $(key floats.json format) $(key floats.json function | head -c 37)" \
  "0 1 c void floats_run(const float *input"
check "... a batch norm as a scale and a shift" "$(grep -c 'floats_scale_shift(.*floats_bn1_scale, floats_bn1_shift);' floats.c)" 1
expect "a file of an older norma is described by its recipe" 0 "" export run/model.safetensors again.c
without_net() { # the model without what its net is: the key's name is spoilt, its length kept
  sed 's/norma\.net/norma.nex/' run/model.safetensors >"$1"
}
mkdir old alone && without_net old/model.safetensors && without_net alone/model.safetensors && cp run/config.toml old/
expect "a model without its net, with a config.toml" 0 "" export old old.c --name again
check "... gives the same file" "$(sed 's/from old/from run/' old.c | cmp - again.c && echo same)" same
expect "... without one" 2 "has no config.toml in its folder that describes its net: name the recipe with --recipe" export alone alone.c
expect "... and with --recipe" 0 "" export alone alone.c --recipe tiny.toml

# ---- checked
mkdir nothing
CC="$work/nothing/gcc" expect "--check without a compiler" 1 "--check needs a C compiler" export run checked.c --check
check "... leaves nothing" "$(ls checked.c 2>/dev/null | wc -l)" 0
cc=$(command -v gcc || command -v cc || command -v clang)
if [ -z "$cc" ]; then
  skip "--check" "no C compiler is here"
  finish
  exit
fi
export CC=$cc
expect "--check" 0 "" export run checked.c --check
check "... says how near the outputs are" "$(grep -cE "^check .*: outputs of [0-9.e-]+ at most differ from norma's by [0-9.e-]+ at most$" stdout)" 1
expect "--check of int8" 0 "" export run small.c --check --weights int8
check "... says what it costs" "$(grep -cE '^int8 .*by 0\.[0-9]+ at most$' stdout) $(grep -cE '^accuracy .*% with float weights, .*% with int8 .*, 100 samples of digits/test$' stdout)" "1 1"
check "... is smaller" "$(($(wc -c <small.c) < $(wc -c <checked.c)))" 1
"$norma" export run/model.safetensors small.c --check --weights int8 --force --json >small.json
check "... --json has both accuracies" "$? $(grep -cE '"accuracy":\{"data":"digits/test","samples":100,"float":[0-9.]+,"int8":[0-9.]+\}' small.json)" "0 1"
cp run/model.safetensors lone.safetensors
expect "--check of int8 without the data" 0 "the accuracy of int8 weights is not measured" export lone.safetensors small.c --check --weights int8 --force
cat >liar <<'COMPILER'
#!/bin/sh
# A compiler that changes the first bias of the file it is given.
for word; do case $word in *.c) file=$word ;; esac; done
sed -i '/_bias\[/{n;s/^[^,}]*/9.5f/}' "$file"
exec "$REAL" "$@"
COMPILER
chmod +x liar
REAL=$cc CC=$work/liar expect "--check of a file with a wrong weight" 6 "does not give norma's outputs; nothing was written" export run wrong.c --check
CC=false expect "a compiler that refuses the file" 6 "false does not compile the file; nothing was written" export run wrong.c --check
check "... neither was written" "$(ls wrong.c 2>/dev/null | wc -l)" 0

# ---- used in a program of one's own
"$norma" export run lenet.c --force >/dev/null
cat >own.c <<'OWN'
#include "lenet.c"
#include <stdio.h>
int main(void) {
  static uint8_t input[LENET_INPUT];
  static float output[LENET_OUTPUT], scratch[LENET_SCRATCH];
  int best = 0;
  lenet_run(input, output, scratch);
  for (int i = 1; i < LENET_OUTPUT; ++i) best = output[i] > output[best] ? i : best;
  puts(lenet_classes[best]);
  return 0;
}
OWN
check "a program of one's own" "$("$CC" -std=c99 -Wall -Wextra -Werror own.c -lm -o own && ./own | grep -c '^[0-9]$')" 1
rm -f lenet.c
mkdir sealed && chmod 500 sealed
if [ "$(id -u)" = 0 ]; then
  skip "a folder that may not be written" "root may write anywhere"
else
  expect "a folder that may not be written" 1 "sealed" export run sealed/net.c
fi
finish
