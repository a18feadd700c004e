# The library offers to others what norma/export.h marks, and nothing else.

# Hides the symbols of a target whose objects are part of the library.
#   norma_hide_symbols(<target>)
function(norma_hide_symbols target)
  set_target_properties(${target} PROPERTIES CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  if(NOT BUILD_SHARED_LIBS)
    target_compile_definitions(${target} PRIVATE NORMA_STATIC)
  endif()
endfunction()

# The library is called libnorma.a, or libnorma.so.0.1: before 1.0 a minor version may change the interface.
function(norma_name_library target)
  if(NOT BUILD_SHARED_LIBS)
    target_compile_definitions(${target} INTERFACE NORMA_STATIC)
    # Nor does a plugin offer templates of std:: that the library made, such as those of its own types.
    target_link_options(${target} INTERFACE LINKER:--exclude-libs,libnorma.a)
    return()
  endif()
  set(interface ${PROJECT_VERSION_MAJOR})
  if(PROJECT_VERSION_MAJOR EQUAL 0)
    set(interface 0.${PROJECT_VERSION_MINOR})
  endif()
  set_target_properties(${target} PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${interface})
  target_link_options(${target} PRIVATE LINKER:--exclude-libs,ALL) # nor those of CUDA's runtime, which is in it
endfunction()
