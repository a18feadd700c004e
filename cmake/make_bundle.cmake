# Puts programs and the modules they load into a folder, stripped. The shared libraries they need go to lib/ in it. Then packs the folder.
#   cmake -DOUTPUT=<folder> -DPROGRAMS=<files> -DMODULES=<files> -DSCRIPTS=<files> -DPEERS=<files> -DSTRIP=<strip> -P make_bundle.cmake
# Left out: glibc, whose parts belong together and to the machine, and the parts of its GPU: the driver and cuDNN.
file(REMOVE_RECURSE ${OUTPUT})
file(MAKE_DIRECTORY ${OUTPUT}/lib ${OUTPUT}/peers)
file(COPY ${PROGRAMS} ${MODULES} ${SCRIPTS} DESTINATION ${OUTPUT})
file(COPY ${PEERS} DESTINATION ${OUTPUT}/peers)

file(GET_RUNTIME_DEPENDENCIES
  EXECUTABLES ${PROGRAMS}
  MODULES ${MODULES}
  RESOLVED_DEPENDENCIES_VAR found
  UNRESOLVED_DEPENDENCIES_VAR missing
  PRE_EXCLUDE_REGEXES "^ld-linux" "^lib(c|m|dl|pthread|rt|resolv|util|nsl|anl)\\.so" "^libcuda\\.so" "^libnvidia" "^libcudnn" "^libcublas")
if(missing)
  message(FATAL_ERROR "bundle: not found: ${missing}")
endif()
# Some came from the toolkit's folder: the machine's own are to be found.
foreach(file IN LISTS PROGRAMS MODULES)
  get_filename_component(name ${file} NAME)
  file(RPATH_SET FILE ${OUTPUT}/${name} NEW_RPATH "$ORIGIN/lib")
endforeach()
foreach(library IN LISTS found)
  file(COPY ${library} DESTINATION ${OUTPUT}/lib FOLLOW_SYMLINK_CHAIN)
endforeach()

file(GLOB binaries ${OUTPUT}/lib/*.so* ${OUTPUT}/norma*)
foreach(binary IN LISTS binaries)
  if(NOT IS_SYMLINK ${binary})
    execute_process(COMMAND ${STRIP} --strip-unneeded ${binary} COMMAND_ERROR_IS_FATAL ANY)
  endif()
endforeach()

get_filename_component(parent ${OUTPUT} DIRECTORY)
get_filename_component(name ${OUTPUT} NAME)
file(REMOVE ${OUTPUT}.tar.gz)
execute_process(COMMAND ${CMAKE_COMMAND} -E tar czf ${name}.tar.gz ${name} WORKING_DIRECTORY ${parent} COMMAND_ERROR_IS_FATAL ANY)
file(SIZE ${OUTPUT}.tar.gz size)
math(EXPR size "(${size} + 99999) / 100000")
string(REGEX REPLACE "(.)$" ".\\1" size ${size})
message(STATUS "${OUTPUT}.tar.gz: ${size} MB")
