# -DNORMA_SANITIZE=address,undefined instruments everything that is built here; a finding ends the program.
set(NORMA_SANITIZE "" CACHE STRING "Sanitizers, comma-separated: address, undefined, leak, thread")

# The program and the tests have no check of UndefinedBehaviorSanitizer before every access through a pointer: it is a third of their
# compilation. AddressSanitizer stops at a null pointer, too. They make no pointers of other alignment, nor of derived classes.
set(norma_sanitize_less "")
if(NORMA_SANITIZE)
  set(sanitizer_flags -fsanitize=${NORMA_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  if(NORMA_SANITIZE MATCHES "address" AND NORMA_SANITIZE MATCHES "undefined")
    # Addresses that wrap around 2^64: AddressSanitizer stops at what lies outside, and the check takes four fifths of a kernel's compilation.
    list(APPEND sanitizer_flags -fno-sanitize=pointer-overflow)
  endif()
  add_compile_options(${sanitizer_flags})
  add_compile_definitions(NORMA_SANITIZED)
  add_link_options(${sanitizer_flags})
  if(NORMA_SANITIZE MATCHES "address" AND NORMA_SANITIZE MATCHES "undefined")
    set(norma_sanitize_less -fno-sanitize=null,alignment,vptr)
  endif()
endif()
