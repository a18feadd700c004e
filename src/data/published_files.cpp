// The published files of MNIST (Y. LeCun, C. Cortes, C. Burges) and Fashion-MNIST (Zalando Research, 2017).
#include "src/data/published_files.h"

namespace norma {
namespace {

constexpr std::uint64_t train_images = 47040016, train_labels = 60008, test_images = 7840016, test_labels = 10008;

constexpr std::array<KnownSet, 2> sets = {
    {{"fashion-mnist",
      "FashionMNIST",
      {{{idx_files[0], train_images, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"},
        {idx_files[1], train_labels, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"},
        {idx_files[2], test_images, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"},
        {idx_files[3], test_labels, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"}}},
      {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"}},
     {"mnist",
      "MNIST",
      {{{idx_files[0], train_images, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"},
        {idx_files[1], train_labels, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"},
        {idx_files[2], test_images, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"},
        {idx_files[3], test_labels, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"}}},
      {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}}}};

}  // namespace

std::span<const KnownSet> known_sets() { return sets; }

const KnownSet* find_known_set(std::string_view name) {
  for (const KnownSet& set : sets)
    if (set.name == name) return &set;
  return nullptr;
}

}  // namespace norma
