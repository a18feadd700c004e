# Writes the C++ source with the resources that each CUDA kernel of this build takes of a multiprocessor, from ptxas's report.
#   cmake "-DOBJECTS=<object>;..." -DOUTPUT=<kernel_table.cpp> -P kernel_table.cmake
# Reads <object>.ptxas (keep_ptxas_report.sh); defines norma::compiled_kernels(), declared in src/execute/compiled_kernels.h.
if(NOT OBJECTS OR NOT OUTPUT)
  message(FATAL_ERROR "kernel_table.cmake: -DOBJECTS=... and -DOUTPUT=... are needed")
endif()

set(rows "")
foreach(object IN LISTS OBJECTS)
  if(NOT EXISTS "${object}.ptxas")
    continue()
  endif()
  set(kernel "")
  file(STRINGS "${object}.ptxas" lines)
  foreach(line IN LISTS lines)
    if(line MATCHES "Compiling entry function '([^']+)' for 'sm_([0-9]+)")
      set(kernel "${CMAKE_MATCH_1}")
      set(architecture "${CMAKE_MATCH_2}")
      set(in_local 0)
    elseif(line MATCHES "([0-9]+) bytes stack frame, ([0-9]+) bytes spill stores, ([0-9]+) bytes spill loads")
      math(EXPR in_local "${CMAKE_MATCH_1} + ${CMAKE_MATCH_2} + ${CMAKE_MATCH_3}")
    elseif(kernel AND line MATCHES "Used ([0-9]+) registers")
      set(registers "${CMAKE_MATCH_1}")
      set(shared 0)
      if(line MATCHES "([0-9]+)(\\+[0-9]+)? bytes smem")
        set(shared "${CMAKE_MATCH_1}")
      endif()
      string(APPEND rows "    {\"${kernel}\", ${architecture}, ${registers}, ${shared}, ${in_local}},\n")
      set(kernel "")
    endif()
  endforeach()
endforeach()

file(WRITE "${OUTPUT}.part"
"// Made by cmake/kernel_table.cmake from the output of ptxas.
#include \"src/execute/compiled_kernels.h\"

namespace norma {

std::span<const CompiledKernel> compiled_kernels() {
  static constexpr CompiledKernel kernels[] = {
${rows}    {},
  };
  return std::span(kernels).first(std::size(kernels) - 1);
}

}  // namespace norma
")
file(RENAME "${OUTPUT}.part" "${OUTPUT}")
