#!/bin/sh
# The CPU kernels are compiled once per instruction-set level. The linker keeps only one of weak symbols with equal names (an inline
# function, a template of std::). It may keep the one of AVX-512 code, which then runs on machines without it.
# So every symbol that a kernel object defines for others must have its level in its name.
#   tests/scripts/isa_symbols.sh BUILD_FOLDER
set -u
[ $# -eq 1 ] || { echo "usage: $0 BUILD_FOLDER" >&2; exit 2; }

# A build without optimisation inlines nothing, and is for the machine it is made on.
if grep -Eq '^CMAKE_BUILD_TYPE:[A-Z]+=Debug$|^NORMA_SANITIZE:[A-Z]+=.+' "$1/CMakeCache.txt" 2>/dev/null; then
  echo "skipped: $1 is a debug or sanitizer build, whose kernels are not shipped"
  exit 77
fi

checked=0
bad=0
for folder in "$1"/CMakeFiles/norma_kernels_*.dir; do
  [ -d "$folder" ] || continue
  isa=${folder##*/norma_kernels_}
  isa=${isa%.dir}
  mangled="3cpu${#isa}$isa" # norma::kernels::cpu::<isa> as the compiler writes it
  objects=$(find -H "$folder" -name '*.o' | sort)
  for object in $objects; do
    symbols=$(nm --defined-only --extern-only "$object") || exit 1
    # DW.ref.__gxx_personality_v0 is an address, not code.
    leaked=$(printf '%s\n' "$symbols" | awk -v level="$mangled" 'NF && $NF !~ /^DW\.ref\./ && index($NF, level) == 0')
    checked=$((checked + 1))
    [ -z "$leaked" ] && continue
    bad=$((bad + 1))
    echo "$object defines symbols without '$isa' in their names:" >&2
    printf '%s\n' "$leaked" | c++filt >&2
  done
done

[ "$checked" -gt 0 ] || { echo "no kernel objects below $1" >&2; exit 1; }
[ "$bad" -eq 0 ] || exit 1
echo "$checked kernel objects: every symbol carries its level"
