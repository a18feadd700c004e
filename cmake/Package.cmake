# cpack, in the build folder: a package of what cmake --install installs. Where dpkg-shlibdeps is, norma_<version>_<architecture>.deb, which
# depends on the packages of the libraries that the program is linked with. Else an archive.
find_program(NORMA_SHLIBDEPS dpkg-shlibdeps)
mark_as_advanced(NORMA_SHLIBDEPS)
set(CPACK_GENERATOR TGZ)
if(NORMA_SHLIBDEPS)
  set(CPACK_GENERATOR DEB)
endif()
set(CPACK_PACKAGE_NAME norma)
set(CPACK_PACKAGE_VENDOR "the norma authors")
set(CPACK_PACKAGE_CONTACT "the norma authors <norma@example.invalid>")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "g++ (>= 12), cmake (>= 3.25), pkgconf")
if(BUILD_SHARED_LIBS)
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR})
else()
  string(APPEND CPACK_DEBIAN_PACKAGE_SUGGESTS ", zlib1g-dev, libssl-dev") # which programs that hold libnorma.a are linked with
endif()
if(TARGET norma_onnx_writer)
  string(APPEND CPACK_DEBIAN_PACKAGE_SUGGESTS ", libonnx-dev, libprotobuf-dev")
endif()
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "${PROJECT_DESCRIPTION}
A command line and a C++20 library that train networks with batch norm and
other norms. They need no Python, and every run gives the same bits.")
# Debian's place of the licence.
install(CODE "
  if(CMAKE_INSTALL_PREFIX STREQUAL \"/usr\" AND EXISTS /etc/debian_version)
    file(INSTALL DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}/doc/norma\" TYPE FILE FILES \"${PROJECT_SOURCE_DIR}/LICENSE\"
         RENAME copyright)
  endif()")
include(CPack)
