// The identity of a run: the conditions of its numbers in addition to its state. They are the recipe's fields that count, the contents of
// its data, and the net. training.safetensors keeps the identity in its metadata. So a run resumes under the same conditions, or an error
// names the difference.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "apps/norma/recipe/recipe.h"
#include "norma/graph.h"

namespace norma::app {

// "train.images" -> the sha256 of the training samples, "test.labels", "train.samples", "train.shape", "classes", ...
using DataIdentity = std::map<std::string, std::string>;

// Reads every sample, except those of a known set: loading compared those with the published sha256.
DataIdentity data_identity(const DataSection& section, const DatasetPair& data);

// Keys on which two flattened recipes differ. Keys of the location and length of a run do not count: they do not change its numbers.
std::vector<std::string> differences(const std::map<std::string, std::string>& a, const std::map<std::string, std::string>& b);

// True for a field of the recipe that locates data, such as "data.dir".
bool says_where_data_lie(const std::string& key);

// A field's value, or "not set".
std::string value_or_unset(const std::map<std::string, std::string>& flat, const std::string& key);

// The metadata of training.safetensors; a recipe of more than 1 MB is left out. net: not fused.
std::map<std::string, std::string> identity_metadata(const Recipe& recipe, const DataIdentity& data, const Graph& net);

// The data part of check_identity alone; nothing where nothing was kept.
void check_data_identity(const std::map<std::string, std::string>& saved, const DataSection& section, const DatasetPair& data,
                         const std::filesystem::path& training);

// Compares the identity a run was saved with and the one it is to resume with. Throws Error(usage) naming each field of the recipe that
// differs. Throws Error(data) naming the file whose samples or labels differ, or the metadata that norma did not write. Logs it where no
// identity was kept, as in runs of the first edition. training: the file. source: the recipe's origin, for the remedy.
void check_identity(const std::map<std::string, std::string>& saved, const Recipe& recipe, const DataIdentity& data, const Graph& net,
                    const std::filesystem::path& training, const std::string& source);

}  // namespace norma::app
