# Compiles the files of a folder together, at most 14 of them: each alone spends most of its time on the same headers. So names in unnamed
# namespaces are unique in their folder, and the compiler says where they are not. -DCMAKE_UNITY_BUILD=OFF compiles each file alone, as
# the job `alone` of tests/run.sh does; while one works on a few files, that is faster. Targets that do not ask for it compile each file
# alone in any case.
#   norma_compile_rooms(<target>)
set(norma_rooms ${CMAKE_UNITY_BUILD})
set(CMAKE_UNITY_BUILD OFF)
function(norma_compile_rooms target)
  if(NOT norma_rooms)
    return()
  endif()
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>) # it takes the files for headers
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  get_target_property(sources ${target} SOURCES)
  foreach(source IN LISTS sources)
    cmake_path(GET source PARENT_PATH folder)
    if(NOT source MATCHES "\\.cpp$" OR folder STREQUAL PROJECT_BINARY_DIR)
      continue()
    endif()
    string(REPLACE "${PROJECT_SOURCE_DIR}/" "" room "${folder}")
    string(MAKE_C_IDENTIFIER "${target}_${room}" room)
    if(NOT DEFINED count_${room})
      set(count_${room} 0)
    endif()
    math(EXPR part "${count_${room}} / 14")
    math(EXPR count_${room} "${count_${room}} + 1")
    set_source_files_properties(${source} PROPERTIES UNITY_GROUP ${room}_${part})
  endforeach()
endfunction()

# Headers that most of a target's rooms read are compiled once. Not where each file is compiled alone, which shows the headers that it lacks.
#   norma_precompile_headers(<target> <header>...)
function(norma_precompile_headers target)
  if(norma_rooms)
    target_precompile_headers(${target} PRIVATE ${ARGN})
  endif()
endfunction()
