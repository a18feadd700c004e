# Lets the program write its man page and completions.
#   cmake -DPROGRAM=<norma> [-DEMULATOR=<command>] -DOUTPUT=<folder> -P write_manual.cmake
foreach(variable PROGRAM OUTPUT)
  if(NOT ${variable})
    message(FATAL_ERROR "write_manual.cmake: -D${variable}=... is missing")
  endif()
endforeach()
file(MAKE_DIRECTORY "${OUTPUT}")

function(write file)
  execute_process(COMMAND ${EMULATOR} "${PROGRAM}" ${ARGN} OUTPUT_FILE "${OUTPUT}/${file}" COMMAND_ERROR_IS_FATAL ANY)
endfunction()

write(norma.1 man)
write(norma completions bash)
write(_norma completions zsh)
write(norma.fish completions fish)
