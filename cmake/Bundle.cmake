# Target bundle: all that another machine needs to run norma and its tests on a GPU, without compiler, packages and checkout.
#   cmake --build build --target bundle     makes build/bundle/ and build/bundle.tar.gz
#   sh bundle/gpu.sh bundle                 there; tests/gpu.sh says what it does
set(bundled norma_tests norma_cuda_tests)
if(TARGET norma_cudnn_tests)
  list(APPEND bundled norma_cudnn_tests)
endif()
# The program once more: what is installed shall look for libraries nowhere but where the system has them.
add_executable(norma_bundled EXCLUDE_FROM_ALL apps/norma/main.cpp)
set_target_properties(norma_bundled PROPERTIES OUTPUT_NAME norma RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bundled)
norma_compile_options(norma_bundled)
norma_include_view(norma_bundled apps)
target_link_libraries(norma_bundled PRIVATE norma_app)
list(APPEND bundled norma_bundled)
# Modules that norma loads from its own folder.
set(bundled_modules "")
foreach(module IN ITEMS norma_cudnn norma_cub)
  if(TARGET ${module})
    list(APPEND bundled_modules ${module})
  endif()
endforeach()
set(bundled_files "")
set(module_files "")
foreach(target IN LISTS bundled bundled_modules)
  # An RPATH, which unlike a RUNPATH also serves the libraries' own needs.
  set_property(TARGET ${target} APPEND PROPERTY BUILD_RPATH "$ORIGIN/lib")
  target_link_options(${target} PRIVATE -Wl,--disable-new-dtags)
  if(target IN_LIST bundled_modules)
    list(APPEND module_files $<TARGET_FILE:${target}>)
  else()
    list(APPEND bundled_files $<TARGET_FILE:${target}>)
  endif()
endforeach()
file(GLOB bundled_scripts CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/gpu*.sh)
list(APPEND bundled_scripts ${PROJECT_SOURCE_DIR}/tests/scripts/accuracy.sh ${PROJECT_SOURCE_DIR}/apps/yardsticks/wide.toml)
file(GLOB peers ${PROJECT_SOURCE_DIR}/apps/yardsticks/peers/*.py ${PROJECT_SOURCE_DIR}/apps/yardsticks/peers/*.txt)
add_custom_target(
  bundle
  COMMAND ${CMAKE_COMMAND} "-DOUTPUT=${PROJECT_BINARY_DIR}/bundle" "-DPROGRAMS=${bundled_files}" "-DMODULES=${module_files}"
          "-DSTRIP=${CMAKE_STRIP}" "-DSCRIPTS=${bundled_scripts}" "-DPEERS=${peers}" -P ${PROJECT_SOURCE_DIR}/cmake/make_bundle.cmake
  DEPENDS ${bundled} ${bundled_modules}
  VERBATIM)
