# Writes the C++ source that holds the shipped recipes, so that the norma binary works alone.
#   cmake -DRECIPE_DIR=<apps/recipes> -DOUTPUT=<embedded_recipes.cpp> -P embed_recipes.cmake
# It defines norma::app::embedded_recipes(), declared in apps/norma/recipe.h.
foreach(variable RECIPE_DIR OUTPUT)
  if(NOT ${variable})
    message(FATAL_ERROR "embed_recipes.cmake: -D${variable}=... is missing")
  endif()
endforeach()

file(GLOB recipes "${RECIPE_DIR}/*.toml")
list(SORT recipes)
if(NOT recipes)
  message(FATAL_ERROR "embed_recipes.cmake: no *.toml in ${RECIPE_DIR}")
endif()

set(entries "")
foreach(recipe IN LISTS recipes)
  get_filename_component(name "${recipe}" NAME_WE)
  # Bytes as numbers: text with ';', '[' or quotes does not survive a CMake string unharmed.
  file(READ "${recipe}" hex HEX)
  string(LENGTH "${hex}" digits)
  math(EXPR bytes "${digits} / 2")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1" escaped "${hex}")
  string(APPEND entries "    {\"${name}\", std::string_view{\"${escaped}\", ${bytes}}},\n")
endforeach()

file(WRITE "${OUTPUT}.part"
"// Made by cmake/embed_recipes.cmake from apps/recipes/*.toml.
#include <array>
#include <span>

#include \"apps/norma/recipe.h\"

namespace norma::app {

std::span<const EmbeddedRecipe> embedded_recipes() {
  static constexpr auto recipes = std::to_array<EmbeddedRecipe>({
${entries}  });
  return recipes;
}

}  // namespace norma::app
")
file(RENAME "${OUTPUT}.part" "${OUTPUT}")
