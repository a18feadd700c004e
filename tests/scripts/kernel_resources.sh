#!/bin/sh
# Resources that every CUDA kernel of a build takes of a multiprocessor, from ptxas's report (cmake/keep_ptxas_report.sh):
#   sh tests/scripts/kernel_resources.sh <build folder>
# Prints a table with the most of any architecture. Fails if a kernel spills registers or keeps an array in local memory. Fails if two
# kernels of the library's own table have one name, by which norma plan finds them (cmake/kernel_table.cmake).
set -eu
{ find "$1/CMakeFiles" -name '*.o.ptxas' -exec cat {} +; cat "$1/kernel_table.cpp"; } | c++filt | awk '
  function readable(kernel) {  # without namespaces and parameters
    sub(/^void /, "", kernel)
    gsub(/\(anonymous namespace\)::|norma::kernels::cuda::|_GLOBAL__N_[A-Za-z0-9_]*::|norma::kernels::|norma::/, "", kernel)
    gsub(/\(Precision\)1/, "tf32", kernel); gsub(/\(Precision\)2/, "bf16", kernel)
    gsub(/\((int|bool)\)/, "", kernel)
    sub(/\(.*$/, "", kernel); sub(/ >$/, ">", kernel)
    return kernel
  }
  /Compiling entry function/ {
    split($0, quoted, "\047")
    kernel = readable(quoted[2])
    architectures[quoted[4]] = 1
    compiled++
  }
  /bytes stack frame/ { local_memory = $1 + $5 + $9 }
  /ptxas info +: Used [0-9]+ registers/ {
    count = 0; bytes = 0
    for (i = 1; i <= NF; ++i) {
      if ($i == "registers," || $i == "registers") count = $(i - 1)
      if ($i == "smem" || $i == "smem,") bytes = $(i - 2)
    }
    if (!(kernel in registers)) order[++kernels] = kernel
    if (count > registers[kernel]) registers[kernel] = count
    if (bytes > shared[kernel]) shared[kernel] = bytes
    if (local_memory > in_local[kernel]) in_local[kernel] = local_memory
    local_memory = 0
  }
  /^ *\{"/ {  # a row of the table
    split($0, quoted, "\"")
    split(quoted[3], numbers, ", ")
    if (named[readable(quoted[2]), numbers[2]]++) twice = twice "\n  " readable(quoted[2])
  }
  END {
    if (!kernels) { print "kernel_resources: no CUDA kernel was compiled there"; exit 1 }
    for (a in architectures) list = list " " a
    printf "%d CUDA kernels, %d compilations for%s\n", kernels, compiled, list
    printf "%9s %12s %11s  %s\n", "registers", "shared bytes", "local bytes", "kernel"
    for (i = 1; i <= kernels; ++i) {
      k = order[i]
      printf "%9d %12d %11d  %s\n", registers[k], shared[k], in_local[k], k | "sort -k4"
      if (in_local[k] > 0) bad = bad "\n  " k
    }
    close("sort -k4")
    if (twice) print "kernel_resources: names that several kernels have:" twice
    if (bad) print "kernel_resources: local memory is used by" bad
    if (twice || bad) exit 1
  }'
