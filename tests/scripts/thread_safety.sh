#!/bin/sh
# Every public class says which threads may use it: in the comment above it, or with all types or structs in the comment that begins its
# header. It speaks of threads, or of plain values.
#   tests/scripts/thread_safety.sh
cd "$(dirname -- "$0")/../.." || exit
awk '
  FNR == 1 { head = own = ""; begun = 0 }
  /^#pragma once/ { begun = 1 }
  /^\/\// { own = own $0 " "; if (!begun) head = head $0 " "; next }
  /^(class|struct) [A-Za-z]+.*\{/ {
    ++types
    said = own ~ /thread|plain value/ || head ~ /types (here )?are plain values/ || ($1 == "struct" && head ~ /structs are plain values/)
    if (!said) { printf "FAILED  %s:%d: %s %s does not say which threads may use it\n", FILENAME, FNR, $1, $2; ++faults }
  }
  { own = "" }
  END { printf "%d classes and structs, %d faults\n", types, faults; exit faults > 0 || types < 60 }
' include/norma/*.h
