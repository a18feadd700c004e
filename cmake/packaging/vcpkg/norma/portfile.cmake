# The checkout that this port lies in. Not run here: no vcpkg was at hand (README.md).
get_filename_component(SOURCE_PATH "${CURRENT_PORT_DIR}/../../../.." ABSOLUTE)

vcpkg_cmake_configure(
  SOURCE_PATH "${SOURCE_PATH}"
  OPTIONS -DNORMA_BUILD_APPS=OFF -DNORMA_BUILD_TESTS=OFF -DNORMA_CUDA=OFF -DCMAKE_UNITY_BUILD=ON -DCMAKE_DISABLE_FIND_PACKAGE_Protobuf=ON)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(PACKAGE_NAME norma CONFIG_PATH lib/cmake/norma)
vcpkg_fixup_pkgconfig()
file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/debug/include" "${CURRENT_PACKAGES_DIR}/debug/share")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
