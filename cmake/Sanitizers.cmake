# -DNORMA_SANITIZE=address,undefined instruments everything that is built here; a finding ends the program.
set(NORMA_SANITIZE "" CACHE STRING "Sanitizers, comma-separated: address, undefined, leak, thread")

if(NORMA_SANITIZE)
  set(sanitizer_flags -fsanitize=${NORMA_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_compile_options(${sanitizer_flags})
  add_link_options(${sanitizer_flags})
endif()
