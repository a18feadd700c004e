#!/bin/sh
# The Python package: its wheel is built against the library of the build folder, installed into an empty virtual environment, and tried
# there. The library is not compiled again.
#   sh tests/scripts/python.sh build         $PYTHON: the interpreter, default python3
# Exit code 77 where there is no Python with headers, venv and pip that reaches a package index. $NORMA_PYTHON names an interpreter with
# torch, whose tensors are tried, too.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
build=$(CDPATH='' cd -- "${1:-$root/build}" && pwd)
python=${PYTHON:-python3}
skip() {
  echo "skipped: $1, so the Python package is not built"
  exit 77
}
command -v "$python" >/dev/null || skip "no python3 here"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || skip "$("$python" --version) is older than 3.11"
"$python" -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
  skip "Python.h is missing (python3-dev)"
[ -e "$build/libnorma.a" ] || { echo "python.sh: no library in $build" >&2; exit 2; }

# Kept from run to run, for each version of Python: nanobind, scikit-build-core, mypy, which build wheels, and the module's objects.
kept=$build/python/$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
tools=$kept/tools
mkdir -p "$kept"
if ! "$tools/bin/python" -c 'import nanobind, scikit_build_core, mypy' 2>/dev/null; then
  rm -rf "$tools"
  "$python" -m venv "$tools" >"$kept/log" 2>&1 || skip "python3 makes no virtual environment (python3-venv)"
  "$tools/bin/pip" install -q --disable-pip-version-check nanobind~=3.1 'scikit-build-core>=0.10' mypy >"$kept/log" 2>&1 ||
    skip "pip reaches no package index ($(tail -n 1 "$kept/log"))"
fi
pip() { "$tools/bin/pip" --disable-pip-version-check "$@"; }

work=$(mktemp -d "${TMPDIR:-/tmp}/norma-python.XXXXXX")
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --prefix "$work/prefix" >/dev/null
start=$(date +%s)
PATH=$tools/bin:$PATH pip wheel -q --no-deps --no-build-isolation --wheel-dir "$work/wheels" \
  -C build-dir="$kept/module" -C cmake.define.NORMA_PREFIX="$work/prefix" "$root/apps/python"
echo "wheel: $(cd "$work/wheels" && ls) of $(du -k "$work"/wheels/*.whl | cut -f 1) KB in $(($(date +%s) - start)) s"

# Only the module and the recipes were compiled.
compiled=$(find "$kept/module" -name '*.o' | sed 's|.*/module/||' | grep -c 'kernels' || true)
[ "$compiled" = 0 ] || { echo "FAILED  the library was compiled again"; exit 1; }

# It needs libraries of the system alone, and shows nothing of norma.
if command -v readelf >/dev/null && command -v nm >/dev/null; then
  mkdir "$work/unpacked"
  "$python" -m zipfile -e "$work"/wheels/*.whl "$work/unpacked"
  module=$(echo "$work"/unpacked/norma/_core*.so)
  others=$(readelf -d "$module" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vE '^(lib(z|crypto|stdc\+\+|m|gcc_s|c|pthread)\.so|ld-linux)' || true)
  [ -z "$others" ] || { echo "FAILED  the module needs $others"; exit 1; }
  shown=$(nm -D --defined-only "$module" | grep -c ' _ZNK\{0,1\}5norma' || true)
  [ "$shown" = 0 ] || { echo "FAILED  the module shows $shown symbols of norma"; exit 1; }
fi

"$python" -m venv --without-pip "$work/empty"
pip -q --python "$work/empty/bin/python" install "$work"/wheels/*.whl >"$kept/log" 2>&1 ||
  skip "pip cannot fetch numpy ($(tail -n 1 "$kept/log"))"

cd "$work"
export NORMA_PROGRAM="$build/norma" NORMA_SOURCE_DIR="$root" NORMA_WORK="$work" PYTHONDONTWRITEBYTECODE=1
if [ -z "${NORMA_DATA_DIR-}" ] && [ -d "$root/../shared/data" ]; then
  export NORMA_DATA_DIR="$root/../shared/data"
fi
"$work/empty/bin/python" -m unittest discover -s "$root/apps/python/tests" -t "$root/apps/python/tests" 2>&1
check_types() {
  "$tools/bin/mypy" --strict --config-file "$root/apps/python/pyproject.toml" \
    --python-executable "$work/empty/bin/python" --cache-dir "$kept/mypy" "$@"
}
check_types "$root/apps/python/tests/typed.py"
check_types -p norma
