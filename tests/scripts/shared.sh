#!/usr/bin/env bash
# libnorma.so: built apart from the tests, which call what it hides. Its name, its symbols, the installed package and the examples with it.
#   tests/scripts/shared.sh [folder for its build; default build-shared]
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -eu
cd "$(dirname "$0")/../.."
build=$(realpath -m "${1:-build-shared}")
cmake ${CMAKE_GENERATOR:+-G "$CMAKE_GENERATOR"} --preset release -B "$build" -DBUILD_SHARED_LIBS=ON -DNORMA_CUDA=OFF -DNORMA_QUICK_KERNELS=ON >"$build.log" 2>&1 &&
  cmake --build "$build" --parallel "$(nproc)" >>"$build.log" 2>&1 || { tail -n 30 "$build.log"; exit 1; }
rm "$build.log"
set +e
failed=0
check() { # <what> <result> <wanted>
  if [ "$2" = "$3" ]; then echo "ok      $1"; else echo "FAILED  $1"; printf '%s\n' "$2" | head -n 12 | sed 's/^/        /'; failed=1; fi
}
library=$build/libnorma.so
version=$(sed -n 's/^#define NORMA_VERSION_[A-Z]* \([0-9]*\)$/\1/p' include/norma/version.h | paste -sd .)
check "the tests refuse it" "$(cmake -S . -B "$build" -DNORMA_BUILD_TESTS=ON 2>&1 | grep -c 'The tests call what libnorma.so hides'; cmake -S . -B "$build" -DNORMA_BUILD_TESTS=OFF >/dev/null)" 1
check "its soname has the minor version" "$(readelf -d "$library" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p') $(basename "$(realpath "$library")")" "libnorma.so.${version%.*} libnorma.so.$version"

# Every name that it exports is in a public header: the qualified name before parameters and arguments of templates. What is only declared
# there has no functions. Templates of std:: may be of norma's own types.
nm -DC --defined-only "$library" | cut -c 20- | sed 's/[(<].*//' | grep -oE 'norma::[A-Za-z_0-9:~]*' | tr -s ':' '\n' | sort -u >"$build/names"
check "it exports some" "$(wc -l <"$build/names" | awk '{ print ($1 > 100) }')" 1
cat include/norma/*.h | grep -oE '[A-Za-z_0-9]+' | sort -u >"$build/public"
check "... and only names of public headers" "$(sed 's/^~//' "$build/names" | grep . | sort -u | comm -23 - "$build/public")" ""
check "... of nothing that they only declare" "$(grep -xE 'State|PlanCall|Plan' "$build/names")" ""
check "... nothing of other libraries" "$(nm -DC --defined-only "$library" | cut -c 20- | grep -vE '(norma|std|__gnu_cxx)::')" ""
check "the program needs it, and has none of it" "$(readelf -d "$build/norma" | grep -c "NEEDED.*libnorma.so.${version%.*}") $(nm -C "$build/norma" | grep -c ' [Tt] norma::Trainer::fit')" "1 0"
bash tests/scripts/install.sh "$build" || failed=1

# An installed program finds the library after both were moved; the examples.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --prefix "$work/first" >/dev/null && mv "$work/first" "$work/moved"
check "the moved program" "$("$work/moved/bin/norma" --version 2>&1)" "norma $version"
cmake -S apps/examples -B "$work/examples" -DCMAKE_PREFIX_PATH="$work/moved" >"$work/log" 2>&1 && cmake --build "$work/examples" >>"$work/log" 2>&1 || tail -n 20 "$work/log"
for example in module_alone own_step serve train_lenet; do
  (cd "$work" && "examples/$example" >"$example.out" 2>&1)
  check "example $example" "$? $(ldd "$work/examples/$example" | grep -c libnorma.so)" "0 1"
done
exit $failed
