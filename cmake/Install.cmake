# cmake --install: library, headers, find_package(norma), the norma program and its recipes.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/norma)

install(TARGETS norma EXPORT normaTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT normaTargets NAMESPACE norma:: DESTINATION ${package_dir})
configure_package_config_file(cmake/normaConfig.cmake.in normaConfig.cmake INSTALL_DESTINATION ${package_dir} PATH_VARS CMAKE_INSTALL_DATADIR)
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(normaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/normaConfig.cmake ${PROJECT_BINARY_DIR}/normaConfigVersion.cmake DESTINATION ${package_dir})

install(DIRECTORY apps/recipes/ DESTINATION ${CMAKE_INSTALL_DATADIR}/norma/recipes FILES_MATCHING PATTERN "*.toml")
if(TARGET norma_onnx_writer)
  install(TARGETS norma_onnx_writer EXPORT normaOnnxTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(EXPORT normaOnnxTargets NAMESPACE norma:: DESTINATION ${package_dir})
endif()
if(TARGET norma_onnx)
  install(TARGETS norma_onnx LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/norma)
endif()
if(TARGET norma_cli)
  install(TARGETS norma_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
