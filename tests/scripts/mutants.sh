#!/bin/sh
# How much the unit tests see: small faults (mutants) are planted one at a time in kernels/cpu, kernels/cuda (on the emulated GPU) and src:
# another operator, comparison or bound, a constant off by one, a statement left out. Each is built in a copy of the tree, then the unit
# tests run: killed where one fails, crashes or does not end.
#   sh tests/scripts/mutants.sh [--count 200] [--seed 1] [--groups cpu,src,cuda] [--files REGEX] [--jobs CORES] [--least 95]
#                               [--scratch FOLDER] [--log FILE] [--list]
# The sample depends on the seed and on the lines themselves: what changes elsewhere does not change it. Survivors are printed as diffs,
# and the score; the exit code is 1 below --least per cent. Those in mutants_equivalent.txt, each with its reason, are not counted, nor are
# those that do not compile. A folder --scratch keeps the copy and its build; a file --log keeps the results, and what it says was killed is
# not run again. A mutant takes about 10 s of one core, of the CUDA kernels 30 s.
set -eu
command -v python3 >/dev/null || { echo "skipped: no python3 here"; exit 77; }
exec python3 "$(dirname -- "$0")/mutants.py" "$@"
