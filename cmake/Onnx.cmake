# The component norma::onnx, which writes ONNX models: built where libonnx-dev and libprotobuf-dev are installed. The library norma and the
# program are linked against neither.
# Not find_package(ONNX): Debian's names files that the package does not bring.
find_path(NORMA_ONNX_INCLUDE onnx/checker.h)
find_library(NORMA_ONNX_LIBRARY onnx)
find_library(NORMA_ONNX_PROTO_LIBRARY onnx_proto)
mark_as_advanced(NORMA_ONNX_INCLUDE NORMA_ONNX_LIBRARY NORMA_ONNX_PROTO_LIBRARY)
find_package(Protobuf QUIET)
if(NOT NORMA_ONNX_INCLUDE OR NOT NORMA_ONNX_LIBRARY OR NOT NORMA_ONNX_PROTO_LIBRARY OR NOT Protobuf_FOUND)
  message(STATUS "norma: no ONNX export; it needs libonnx-dev and libprotobuf-dev")
  return()
endif()

#   norma_onnx_includes(<target>)   for what includes ONNX's headers
function(norma_onnx_includes target)
  target_include_directories(${target} SYSTEM PRIVATE ${NORMA_ONNX_INCLUDE} ${Protobuf_INCLUDE_DIRS})
  target_compile_definitions(${target} PRIVATE ONNX_NAMESPACE=onnx ONNX_ML=1)
endfunction()

file(GLOB onnx_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/onnx/*.cpp)
add_library(norma_onnx_writer STATIC ${onnx_sources})
add_library(norma::onnx ALIAS norma_onnx_writer)
set_target_properties(norma_onnx_writer PROPERTIES EXPORT_NAME onnx VERIFY_INTERFACE_HEADER_SETS ON)
target_sources(norma_onnx_writer PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${PROJECT_SOURCE_DIR}/include/norma/onnx.h)
norma_compile_options(norma_onnx_writer)
norma_include_view(norma_onnx_writer src kernels)
norma_compile_rooms(norma_onnx_writer)
norma_onnx_includes(norma_onnx_writer)
target_compile_options(norma_onnx_writer PRIVATE ${norma_optimise_a_little})
target_link_libraries(norma_onnx_writer PUBLIC norma PRIVATE ${NORMA_ONNX_LIBRARY} ${NORMA_ONNX_PROTO_LIBRARY} protobuf::libprotobuf)
