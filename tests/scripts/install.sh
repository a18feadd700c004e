#!/usr/bin/env bash
# norma as an installed package: find_package and pkg-config after the folder was moved, the version in all places, a plugin that holds
# libnorma.a and offers none of its symbols, C++17, and norma within another project. A line a check.
#   tests/scripts/install.sh <build folder>
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
build=$(realpath "${1:?usage: tests/scripts/install.sh BUILD_FOLDER}")
source=$(realpath "$(dirname "$0")/../..")
if ! grep -q '^NORMA_SANITIZE:[A-Z]*=$' "$build/CMakeCache.txt"; then
  echo "skipped: a build with sanitizers is for the machine it is made on"
  exit 77
fi
. "$(dirname "$0")/checks.sh"
compiler=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$build/CMakeCache.txt")
generator=$(sed -n 's/^CMAKE_GENERATOR:[A-Z]*=//p' "$build/CMakeCache.txt")
shared=$(sed -n 's/^BUILD_SHARED_LIBS:[A-Z]*=//p' "$build/CMakeCache.txt")
quiet() { "$@" >out 2>&1; }

quiet cmake --install "$build" --prefix "$work/first" && mv first moved && ok "cmake --install" || bad "cmake --install" "$(tail -n 5 out)"
prefix=$work/moved
pc=$(dirname "$(find moved -name norma.pc)")
check "no empty folder" "$(find moved -type d -empty)" ""
check "the licence" "$(cmp moved/share/doc/norma/LICENSE "$source/LICENSE" 2>&1)" ""
check "every recipe" "$(cd moved/share/norma/recipes && find . -name '*.toml' | sort)" "$(cd "$source/apps/recipes" && find . -name '*.toml' | sort)"
check "no path of the first prefix" "$(grep -rlF "$work/first" moved --include='*.pc' --include='*.cmake')" ""
version=$(sed -n 's/^#define NORMA_VERSION_[A-Z]* \([0-9]*\)$/\1/p' moved/include/norma/version.h | paste -sd .)
check "the version: --version" "$(moved/bin/norma --version)" "norma $version"
check "... the port of vcpkg" "$(sed -n 's/.*"version": "\(.*\)".*/\1/p' "$source/cmake/packaging/vcpkg/norma/vcpkg.json")" "$version"

# ---- pkg-config
cat >use.cpp <<'CODE'
#include <norma/norma.h>

#include <cstdio>
static_assert(NORMA_VERSION == 10000 * NORMA_VERSION_MAJOR + 100 * NORMA_VERSION_MINOR + NORMA_VERSION_PATCH && NORMA_VERSION >= 100);
#ifdef PLUGIN
extern "C" __attribute__((visibility("default")))
#endif
int use() {
  using namespace norma;
  const DatasetPair data = make_digits(64, 16, 0);
  Trainer trainer{nn::Sequential{nn::Flatten{}, nn::Linear{.out = 10}, nn::BatchNorm{}}, {.input = data.train.sample, .batch = 32}};
  trainer.fit(data, {.epochs = 1});
  try {
    load_safetensors("nothing");  // thrown in the library, caught here
  } catch (const Error& e) {
    std::printf("%s %s %d\n", version, trainer.parameters_hash().c_str(), e.exit_code());
  }
  return 0;
}
#ifndef PLUGIN
int main() { return use(); }
#endif
CODE
if command -v pkg-config >/dev/null; then
  export PKG_CONFIG_PATH=$work/$pc
  check "... pkg-config" "$(pkg-config --modversion norma)" "$version"
  # shellcheck disable=SC2046
  quiet "$compiler" -std=c++20 $(pkg-config --cflags norma) use.cpp -o use $(pkg-config --static --libs norma) || bad "compiled with pkg-config" "$(head out)"
  LD_LIBRARY_PATH=$work/$(dirname "$pc") ./use >by_pkg_config 2>&1
  check "a program by pkg-config: trains, and catches an Error" "$? $(sed "s/ [0-9a-f]\{16\} / HASH /" by_pkg_config)" "0 $version HASH 3"
  check "... the folder of recipes" "$(ls "$(pkg-config --variable=recipes norma)" | grep -c mnist-lenet-bn.toml)" 1

  # ---- a plugin
  for visibility in $([ "$shared" = ON ] || echo hidden default); do
    # shellcheck disable=SC2046
    quiet "$compiler" -std=c++20 -DPLUGIN -shared -fPIC -fvisibility=$visibility -fvisibility-inlines-hidden $(pkg-config --cflags norma) use.cpp -o plugin.so $(pkg-config --static --libs norma) || bad "a plugin" "$(head out)"
    nm -DC --defined-only plugin.so >exported
    if [ $visibility = hidden ]; then check "a plugin: its own function, and none of norma's symbols" "$(grep -c ' use$' exported) $(grep -c 'norma::' exported)" "1 0"
    else check "... compiled with all symbols visible: none that the library holds" "$(grep ' [TDBR] ' exported | grep 'norma::')" ""; fi
  done
else
  skip "pkg-config" "it is not installed"
fi

# ---- find_package
mkdir project && mv use.cpp project && cat >project/CMakeLists.txt <<CODE
cmake_minimum_required(VERSION 3.25)
project(user LANGUAGES CXX)
find_package(norma $version REQUIRED)
if(NOT EXISTS "\${norma_RECIPES}/mnist-lenet-bn.toml")
  message(FATAL_ERROR "no recipes in \${norma_RECIPES}")
endif()
message(STATUS "found norma \${norma_VERSION}")
add_executable(use use.cpp)
target_link_libraries(use PRIVATE norma::norma)
CODE
quiet cmake -G "$generator" -S project -B found -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_CXX_COMPILER="$compiler" || bad "find_package" "$(tail -n 9 out)"
check "find_package: the same version" "$(grep -o 'found norma .*' out)" "found norma $version"
quiet cmake --build found || bad "the project is built" "$(tail -n 9 out)"
check "... the program prints the same" "$(found/use 2>&1)" "$(cat by_pkg_config 2>/dev/null || found/use)"
sed "s/find_package(norma $version/find_package(norma 0.0/" project/CMakeLists.txt >other && mkdir other_project && cp project/use.cpp other_project && mv other other_project/CMakeLists.txt
quiet cmake -G "$generator" -S other_project -B other_found -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_CXX_COMPILER="$compiler"
check "... refuses another minor version" "$? $(grep -c 'with requested version "0.0"' out)" "1 1"

# ---- C++17
for header in moved/include/norma/*.h; do
  case $header in */export.h | */file_kind.h | */norma.h | */instruments.h | */shape.h) ;; *) continue ;; esac
  quiet "$compiler" -std=c++17 -fsyntax-only -fmax-errors=1 -ferror-limit=1 -I moved/include -x c++ "$header" || true
  quiet "$compiler" -std=c++17 -fsyntax-only -I moved/include -x c++ "$header"
  check "$(basename "$header") as C++17: the first error says what is needed" "$(grep -m 1 'error:' out | grep -c 'norma needs C++20: compile with -std=c++20')" 1
done
# Forgotten, it would be missing from libnorma.so. OtherLibrary has a member of a type that is only declared.
check "every class and function of public headers is marked" \
  "$(grep -hE '^(struct|class) [A-Za-z]+.*\{' moved/include/norma/*.h | grep -vE 'NORMA_API|struct OtherLibrary'; grep -hE '^[A-Za-z].*\(' moved/include/norma/*.h |
    grep -vE '^(NORMA_API|auto|inline|constexpr|template|using|namespace|enum|static_assert|requires|struct|class|\[\[)')" ""
check "every public header begins with that check" "$(grep -L '#include "norma/export.h"' moved/include/norma/*.h | grep -v /export.h)" ""

# ---- within another project
mkdir outer && cat >outer/CMakeLists.txt <<CODE
cmake_minimum_required(VERSION 3.25)
project(outer LANGUAGES CXX)
add_subdirectory("$source" norma EXCLUDE_FROM_ALL)
file(WRITE \${CMAKE_BINARY_DIR}/own.txt "own")
install(FILES \${CMAKE_BINARY_DIR}/own.txt DESTINATION .)
CODE
quiet cmake -G "$generator" -S outer -B outer_build -DNORMA_CUDA=OFF -DCMAKE_CXX_COMPILER="$compiler" && quiet cmake --install outer_build --prefix outer_prefix
check "within another project norma installs nothing" "$? $(find outer_prefix -type f)" "0 outer_prefix/own.txt"

finish
