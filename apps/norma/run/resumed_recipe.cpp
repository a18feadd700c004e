#include "apps/norma/run/resumed_recipe.h"

#include <fmt/format.h>

#include "apps/norma/run/run_identity.h"
#include "apps/norma/system/log.h"
#include "norma/error.h"

namespace norma::app {

void compare_with_named(const std::string& named, const Recipe& stored, const std::filesystem::path& out) {
  const Recipe recipe = parse_recipe(find_recipe(named));
  if (recipe.name != stored.name)
    throw Error(ErrorKind::usage,
                fmt::format("--resume: {} holds a run of recipe \"{}\", not of \"{}\"", out.string(), stored.name, recipe.name));
  const auto mine = flatten(stored), theirs = flatten(recipe);
  for (const std::string& key : differences(mine, theirs))
    log_info(fmt::format("{} is {} in this run ({} in recipe {}): the run keeps it", key, value_or_unset(mine, key),
                         value_or_unset(theirs, key), named));
}

Recipe resumed_recipe(const RecipeSource& stored, const std::vector<Override>& overrides) {
  const auto before = flatten(parse_recipe(stored));
  Recipe recipe = parse_recipe(stored, overrides);
  const auto after = flatten(recipe);
  std::vector<std::string> changed = differences(before, after);
  if (value_or_unset(before, "init.file") != value_or_unset(after, "init.file")) changed.insert(changed.begin(), "init.file");
  for (const std::string& key : changed) {
    std::string flag = key;
    for (const Override& o : overrides)
      if (key.substr(0, key.find('.')) == o.key.substr(0, o.key.find('.'))) flag = o.flag;
    for (const Override& o : overrides)
      if (key == o.key || key.starts_with(o.key + ".")) flag = o.flag;
    throw Error(
        ErrorKind::usage,
        fmt::format("--resume with {}: {} is {} in this run ({}) and cannot become {}; only --epochs, --save-every, where the data lie "
                    "(--data-dir, data.train_images and so on), --device, --threads and the other flags of [device] but --fuse may differ",
                    flag, key, value_or_unset(before, key), stored.origin, value_or_unset(after, key)));
  }
  if (before.at("train.epochs") != after.at("train.epochs") && recipe.schedule.kind != Schedule::Kind::constant &&
      recipe.schedule.kind != Schedule::Kind::step)
    log_warning(
        fmt::format("the schedule is spread over all epochs: with {} instead of {} its learning rates differ from those of an "
                    "uninterrupted run",
                    after.at("train.epochs"), before.at("train.epochs")));
  return recipe;
}

}  // namespace norma::app
