# norma(1) and the completions of three shells, in manual/ of the build folder: the program writes them whenever it is linked, so they have
# its flags. Without them where the program cannot run here.
set(norma_manual ${PROJECT_BINARY_DIR}/manual)
set(norma_has_manual OFF)
if(CMAKE_CROSSCOMPILING AND NOT CMAKE_CROSSCOMPILING_EMULATOR)
  message(STATUS "norma: cross-compiled, so without its man page and completions; norma man and norma completions print them")
  return()
endif()
set(norma_has_manual ON)
add_custom_command(
  TARGET norma_cli POST_BUILD
  COMMAND ${CMAKE_COMMAND} "-DPROGRAM=$<TARGET_FILE:norma_cli>" "-DEMULATOR=${CMAKE_CROSSCOMPILING_EMULATOR}" "-DOUTPUT=${norma_manual}" -P
          ${PROJECT_SOURCE_DIR}/cmake/write_manual.cmake
  VERBATIM)
