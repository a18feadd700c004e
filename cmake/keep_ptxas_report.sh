#!/bin/sh
# Runs a compilation of CUDA. Writes ptxas's report on its kernels (-Xptxas=-v) to <object>.ptxas, not between the build's warnings.
# The compiler's launcher: sh keep_ptxas_report.sh <compiler> <argument>...
set -u
object='' before=''
for argument in "$@"; do
  [ "$before" != -o ] || object=$argument
  before=$argument
done
if [ -z "$object" ]; then exec "$@"; fi
"$@" 2>"$object.stderr"
status=$?
of_ptxas='^ptxas info  *:\|^ *[0-9]* bytes stack frame, '
sed -n "/$of_ptxas/p" "$object.stderr" >"$object.ptxas"
sed "/$of_ptxas/d" "$object.stderr" >&2
rm -f "$object.stderr"
exit $status
