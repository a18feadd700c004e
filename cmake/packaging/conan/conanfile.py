"""norma's library for Conan 2, from the checkout that this file lies in: README.md, one folder up."""

import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load


class Norma(ConanFile):
    name = "norma"
    description = "Trains batch-normalised networks"
    license = "MIT"
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"shared": [True, False], "fPIC": [True, False]}
    default_options = {"shared": False, "fPIC": True}
    implements = ["auto_shared_fpic"]

    @property
    def checkout(self):
        return os.path.join(self.recipe_folder, "..", "..", "..")

    def set_version(self):
        header = load(self, os.path.join(self.checkout, "include", "norma", "version.h"))
        self.version = ".".join(re.findall(r"^#define NORMA_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)$", header, re.M))

    def export_sources(self):
        for pattern in ("CMakeLists.txt", "LICENSE", "README.md", ".github/CHANGELOG.md", "cmake/*", "include/*", "src/*", "kernels/*", "apps/*"):
            copy(self, pattern, self.checkout, self.export_sources_folder)

    def layout(self):
        cmake_layout(self)

    def validate(self):
        check_min_cppstd(self, 20)

    def requirements(self):
        self.requires("zlib/[>=1.2.11 <2]")
        self.requires("openssl/[>=3 <4]")
        self.requires("nlohmann_json/[>=3.11 <4]", visible=False)

    def generate(self):
        toolchain = CMakeToolchain(self)
        for name, value in {"NORMA_BUILD_APPS": False, "NORMA_CUDA": "OFF", "CMAKE_UNITY_BUILD": True, "CMAKE_DISABLE_FIND_PACKAGE_Protobuf": True}.items():
            toolchain.cache_variables[name] = value
        toolchain.generate()
        CMakeDeps(self).generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))

    def package_info(self):
        self.cpp_info.libs = ["norma"]
        self.cpp_info.set_property("cmake_target_name", "norma::norma")
        self.cpp_info.requires = ["zlib::zlib", "openssl::crypto"] if not self.options.shared else []
        if not self.options.shared:
            self.cpp_info.defines = ["NORMA_STATIC"]
            self.cpp_info.system_libs = ["pthread"]
