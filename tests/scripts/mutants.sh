#!/bin/sh
# Mutation testing: small faults (mutants) are planted one at a time in kernels/cpu, kernels/cuda (on the emulated GPU) and src. A mutant is
# another operator, comparison or bound, a constant off by one, a statement left out. Each is built in a copy of the tree, then the unit
# tests run. It is killed if one fails, crashes or does not end.
#   sh tests/scripts/mutants.sh [--count 200] [--seed 1] [--groups cpu,src,cuda] [--files REGEX] [--jobs CORES] [--least 95]
#                               [--scratch FOLDER] [--log FILE] [--list]
# The sample depends on the seed and on the lines themselves: changes elsewhere do not change it. Prints survivors as diffs, and the score;
# the exit code is 1 below --least per cent. Two kinds are not counted: those in mutants_equivalent.txt, each with its reason, and
# those that do not compile. A folder --scratch keeps the copy and its build. A file --log keeps the results; a mutant that it lists as killed is
# not run again. A mutant takes about 10 s of one core, one of the CUDA kernels 30 s.
set -eu
command -v python3 >/dev/null || { echo "skipped: no python3 here"; exit 77; }
exec python3 "$(dirname -- "$0")/mutants.py" "$@"
