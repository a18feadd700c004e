#!/usr/bin/env bash
# Common parts of the scripts that test the norma program as a user meets it. Each script has a folder of its own, a tiny recipe, and a line
# a check. Source it with the build directory or NORMA=<program>; call finish at the end.
norma=$(realpath "${NORMA:-${1:-build}/norma}")
[ -x "$norma" ] || { echo "$0: no program $norma" >&2; exit 2; }
work=$(mktemp -d "${TMPDIR:-/tmp}/norma-cli.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2
unset NORMA_RECIPE_DIR NORMA_DATA_DIR NO_COLOR
export TERM=xterm HOME="$work/home"
passed=0 failed=0

ok() { passed=$((passed + 1)); echo "ok      $1"; }
bad() {
  failed=$((failed + 1))
  echo "FAILED  $1"
  [ $# -lt 2 ] || printf '%s\n' "$2" | head -n 15 | sed 's/^/        /'
}
skip() { echo "skipped $1: $2"; }
check() { if [ "$2" = "$3" ]; then ok "$1"; else bad "$1" "expected: $3"$'\n'"got: $2"; fi; }

# expect <name> <exit code> <text on stderr, may be empty> <arguments of norma>: also that stdout is empty on failure
expect() {
  local name=$1 code=$2 text=$3 rc=0
  shift 3
  "$norma" "$@" >stdout 2>stderr || rc=$?
  if [ $rc -ne "$code" ]; then bad "$name" "exit code $rc, expected $code: $(cat stderr)"
  elif [ -n "$text" ] && ! grep -qF -- "$text" stderr; then bad "$name" "stderr lacks '$text': $(cat stderr)"
  elif [ $rc -ne 0 ] && [ -s stdout ]; then bad "$name" "something on stdout: $(cat stdout)"
  else ok "$name"; fi
}
key() { sed -n 's/.*"'"$2"'":"\{0,1\}\([^",}]*\).*/\1/p' "$1" | tail -n 1; } # key <file> <name>: last value in JSON lines

# python_with <folder> <modules> <packages>: prints an interpreter that has the modules: $NORMA_PYTHON, python3, or one in a virtual
# environment in the folder, into which pip installs the packages once. Prints nothing where pip reaches no package index.
python_with() {
  local venv=$1/venv-judges python
  (
    flock 9
    for python in "${NORMA_PYTHON-}" python3 "$venv/bin/python"; do
      [ -n "$python" ] && "$python" -c "import $2" 2>/dev/null && echo "$python" && exit
    done
    [ -x "$venv/bin/pip" ] || python3 -m venv "$venv" || exit
    timeout 300 "$venv/bin/pip" install --quiet --disable-pip-version-check $3 || exit
    "$venv/bin/python" -c "import $2" && echo "$venv/bin/python"
  ) 9>"$venv.lock" 2>>"$venv.log"
}

cat >tiny.toml <<'RECIPE'
[data]
name = "digits"
train_samples = 200
test_samples = 100
resize = 12
[model]
layers = [
  { type = "conv2d", out = 4, kernel = 3 }, { type = "norm" }, { type = "activation" }, { type = "max_pool2d", kernel = 2 },
  { type = "flatten" }, { type = "linear", out = 8 }, { type = "norm" }, { type = "activation" }, { type = "dropout", p = 0.1 },
  { type = "linear", out = 10 },
]
[optimizer]
kind = "adam"
[train]
epochs = 3
batch_size = 32
RECIPE

finish() {
  echo "$passed passed, $failed failed"
  [ $failed -eq 0 ]
}
