# Writes the C++ source that holds the shipped recipes and comparisons, so that the norma binary works alone.
#   cmake -DRECIPE_DIR=<apps/recipes> -DOUTPUT=<embedded_recipes.cpp> -P embed_recipes.cmake
# It defines norma::app::embedded_recipes(), declared in apps/norma/recipe/recipe.h, and embedded_comparisons(), in comparison.h.
foreach(variable RECIPE_DIR OUTPUT)
  if(NOT ${variable})
    message(FATAL_ERROR "embed_recipes.cmake: -D${variable}=... is missing")
  endif()
endforeach()

# "entries": {"<name>", <text>}, of every *.toml in the folder.
function(embed folder entries)
  file(GLOB files "${folder}/*.toml")
  list(SORT files)
  if(NOT files)
    message(FATAL_ERROR "embed_recipes.cmake: no *.toml in ${folder}")
  endif()
  set(all "")
  foreach(file IN LISTS files)
    get_filename_component(name "${file}" NAME_WE)
    # Bytes as numbers: text with ';', '[' or quotes does not survive a CMake string unharmed.
    file(READ "${file}" hex HEX)
    string(LENGTH "${hex}" digits)
    math(EXPR bytes "${digits} / 2")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1" escaped "${hex}")
    string(APPEND all "    {\"${name}\", std::string_view{\"${escaped}\", ${bytes}}},\n")
  endforeach()
  set(${entries} "${all}" PARENT_SCOPE)
endfunction()

embed("${RECIPE_DIR}" recipes)
embed("${RECIPE_DIR}/comparisons" comparisons)

file(WRITE "${OUTPUT}.part"
"// Made by cmake/embed_recipes.cmake from apps/recipes/*.toml and apps/recipes/comparisons/*.toml.
#include <array>
#include <span>

#include \"apps/norma/compare/comparison.h\"
#include \"apps/norma/recipe/recipe.h\"

namespace norma::app {

std::span<const EmbeddedRecipe> embedded_recipes() {
  static constexpr auto all = std::to_array<EmbeddedRecipe>({
${recipes}  });
  return all;
}

std::span<const EmbeddedRecipe> embedded_comparisons() {
  static constexpr auto all = std::to_array<EmbeddedRecipe>({
${comparisons}  });
  return all;
}

}  // namespace norma::app
")
file(RENAME "${OUTPUT}.part" "${OUTPUT}")
