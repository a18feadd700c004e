# NORMA_CUDA: AUTO takes CUDA where a compiler for it is found, ON fails without one, OFF leaves it out. norma_cuda is true if CUDA is in.
# Defines norma_add_cuda(<library>).
#   -DCMAKE_CUDA_ARCHITECTURES=90   code for one GPU only, for developers: a sixth of the time
#   CUDAARCHS=90 in the environment  the same, where the option is not given; a build folder keeps the last one it was configured with
set(NORMA_CUDA AUTO CACHE STRING "CUDA kernels: AUTO (where the CUDA toolkit is found), ON, OFF")
set_property(CACHE NORMA_CUDA PROPERTY STRINGS AUTO ON OFF)
if(NOT NORMA_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "NORMA_CUDA must be AUTO, ON or OFF, not \"${NORMA_CUDA}\"")
endif()
set(norma_cuda OFF)
if(NORMA_CUDA STREQUAL "OFF" OR (NORMA_CUDA STREQUAL "AUTO" AND NORMA_SANITIZE))
  return()
endif()

# The compiler that an earlier configuration found may have gone, or have come where none was found.
set(found_before ${CMAKE_BINARY_DIR}/CMakeFiles/${CMAKE_VERSION}/CMakeCUDACompiler.cmake)
set(compiler_before "$CACHE{CMAKE_CUDA_COMPILER}")
if(EXISTS ${found_before})
  file(STRINGS ${found_before} compiler_before REGEX "^set\\(CMAKE_CUDA_COMPILER \"" LIMIT_COUNT 1)
  string(REGEX REPLACE "^[^\"]*\"([^\"]*)\".*" "\\1" compiler_before "${compiler_before}")
endif()
if(compiler_before MATCHES "/" AND NOT EXISTS "${compiler_before}" OR compiler_before MATCHES "NOTFOUND$")
  file(REMOVE ${found_before})
  unset(CMAKE_CUDA_COMPILER CACHE)
endif()
# The toolkit is rarely on the PATH of a machine that just got it.
find_program(nvcc nvcc PATHS /usr/local/cuda/bin NO_CACHE)
if(nvcc AND NOT CMAKE_CUDA_COMPILER AND "$ENV{CUDACXX}" STREQUAL "")
  set(ENV{CUDACXX} ${nvcc}) # which check_language tries
endif()
# CMake reads CUDAARCHS in a new folder only, and keeps it like a given option. So CMake must not see it. Its "native" would fail without a
# GPU.
if(NOT "$ENV{CUDAARCHS}" STREQUAL "")
  set(norma_cuda_architectures "$ENV{CUDAARCHS}" CACHE INTERNAL "CUDAARCHS of the last configuration that had it")
  unset(ENV{CUDAARCHS})
endif()
if(NOT CMAKE_CUDA_ARCHITECTURES AND norma_cuda_architectures)
  set(CMAKE_CUDA_ARCHITECTURES "${norma_cuda_architectures}")
elseif(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES all-major)
endif()
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  if(NORMA_CUDA STREQUAL "ON")
    message(FATAL_ERROR "NORMA_CUDA=ON, but no CUDA compiler works here: put nvcc on the PATH, or set CMAKE_CUDA_COMPILER or CUDACXX; "
                        "or leave NORMA_CUDA at AUTO to build without")
  endif()
  message(STATUS "norma: no CUDA compiler here, so the CPU's kernels only")
  return()
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
if(CMAKE_VERSION VERSION_LESS 3.25.2) # which does not know that nvcc 12 and later take C++20
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  list(APPEND CMAKE_CUDA_COMPILE_FEATURES cuda_std_20)
endif()
# CUB: headers that come with the toolkit. Its own package may be missing, or too old for what apps/yardsticks/cub.cu uses of it.
find_path(NORMA_CUB_INCLUDE cub/device/device_transform.cuh HINTS ${CUDAToolkit_INCLUDE_DIRS} PATH_SUFFIXES cccl)
mark_as_advanced(NORMA_CUB_INCLUDE)
set(norma_cuda ON)
message(STATUS "norma: CUDA ${CUDAToolkit_VERSION}, architectures ${CMAKE_CUDA_ARCHITECTURES}")

# Options of every target of CUDA sources. nvcc's warnings are errors in builds with tests: no other job compiles these. constexpr functions
# of the shapes are for device code, too.
#   norma_cuda_options(<target> [<option>...])
function(norma_cuda_options target)
  set_target_properties(${target} PROPERTIES CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON CUDA_EXTENSIONS OFF)
  target_compile_options(${target} PRIVATE --expt-relaxed-constexpr --compress-mode=size -Xcompiler=-Wall,-Wextra ${ARGN}
                                        $<$<BOOL:${NORMA_BUILD_TESTS}>:-Werror=all-warnings>)
endfunction()

# An object library of kernels. No fused multiply-adds but those written.
function(norma_add_kernels target)
  add_library(${target} OBJECT ${ARGN})
  norma_hide_symbols(${target})
  norma_include_view(${target} kernels)
  target_include_directories(${target} PRIVATE include kernels/cuda/nvcc)
  target_compile_options(${target} PRIVATE -fmad=false)
  norma_cuda_options(${target} -Xptxas=-v)
  # ptxas reports every kernel's registers, shared memory and spills. The report becomes a table of the library, for norma plan. cuobjdump
  # would report it, too, but is a package of its own.
  # tests/scripts/kernel_resources.sh reads the report, too.
  set(launcher sh ${PROJECT_SOURCE_DIR}/cmake/keep_ptxas_report.sh ${CMAKE_CUDA_COMPILER_LAUNCHER}) # before another one, if there is
  set_target_properties(${target} PROPERTIES CUDA_COMPILER_LAUNCHER "${launcher}")
endfunction()

# The kernels, and the executor that runs them, into a library. The CUDA runtime is linked in: the program needs only the driver.
function(norma_add_cuda library)
  file(GLOB sources CONFIGURE_DEPENDS kernels/cuda/*.cu)
  norma_add_kernels(norma_cuda_kernels ${sources})
  # Kernels that earlier GPUs cannot run have code for compute capability 9. Later drivers translate it for later GPUs.
  file(GLOB sources CONFIGURE_DEPENDS kernels/cuda/hopper/*.cu)
  norma_add_kernels(norma_cuda_kernels_hopper ${sources})
  set_target_properties(norma_cuda_kernels_hopper PROPERTIES CUDA_ARCHITECTURES 90)
  set(kernel_table ${PROJECT_BINARY_DIR}/kernel_table.cpp)
  add_custom_command(
    OUTPUT ${kernel_table}
    COMMAND ${CMAKE_COMMAND} "-DOBJECTS=$<TARGET_OBJECTS:norma_cuda_kernels>" -DOUTPUT=${kernel_table} -P
            ${PROJECT_SOURCE_DIR}/cmake/kernel_table.cmake
    DEPENDS norma_cuda_kernels $<TARGET_OBJECTS:norma_cuda_kernels> ${PROJECT_SOURCE_DIR}/cmake/kernel_table.cmake
    VERBATIM)
  set(host_sources src/execute/cuda_executor.cpp src/execute/cuda_launches.cpp src/execute/cuda_probes.cpp src/execute/cuda_report.cpp)
  target_sources(${library} PRIVATE ${host_sources} ${kernel_table} $<TARGET_OBJECTS:norma_cuda_kernels>
                                    $<TARGET_OBJECTS:norma_cuda_kernels_hopper>)
  string(REPLACE ";" "," architectures "${CMAKE_CUDA_ARCHITECTURES}")
  # Only these see CUDA's headers: the other objects are the same with and without CUDA.
  list(TRANSFORM CUDAToolkit_INCLUDE_DIRS PREPEND "-isystem" OUTPUT_VARIABLE cuda_headers)
  set_source_files_properties(${host_sources} PROPERTIES COMPILE_DEFINITIONS "NORMA_CUDA_ARCHITECTURES=\"${architectures}\""
                                                         COMPILE_OPTIONS "${cuda_headers}")
  target_link_libraries(${library} PRIVATE $<LINK_ONLY:CUDA::cudart_static>)
endfunction()
