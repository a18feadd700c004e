# Dependencies point one way (apps -> include; src -> include and kernels; kernels -> kernels and the plain types of include). The include
# path enforces it. Files are named from the checkout's root ("kernels/calls.h"). So a target gets a folder with links to the folders it may
# see.
#   norma_include_view(<target> <folder>...)
function(norma_include_view target)
  set(view ${PROJECT_BINARY_DIR}/views/${target})
  file(MAKE_DIRECTORY ${view})
  foreach(folder IN LISTS ARGN)
    file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${folder} ${view}/${folder} SYMBOLIC)
  endforeach()
  target_include_directories(${target} PRIVATE ${view})
endfunction()
