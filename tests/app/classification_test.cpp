// The mistakes and filters of a net in a report, and the pictures that predict reads.
#include "apps/norma/report/classification.h"

#include <gtest/gtest.h>
#include <png.h>

#include <cmath>

#include "apps/norma/draw/picture_input.h"
#include "apps/norma/report/pictures_section.h"
#include "tests/support/expect_error.h"
#include "tests/support/idx_files.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/text_checks.h"

namespace norma::app {
namespace {

using namespace test;

Trainer digits_net(const Dataset& data) {
  return Trainer(nn::Sequential{nn::Flatten{}, nn::BatchNorm{}, nn::Linear{.out = 10}},
                 {.input = data.sample, .batch = 50, .optimizer = Adam{.lr = 1e-2}});
}

TEST(Classification, AgreesWithTheEvaluation) {
  const DatasetPair data = make_digits(400, 130, 0);  // 130: a last batch that is not whole
  Trainer trainer = digits_net(data.train);
  trainer.fit(data, {.epochs = 2});
  const Evaluation e = trainer.evaluate(data.test);
  const Classification c = classification_of(data.test, trainer, true).value();
  std::int64_t all = 0, right = 0, mistakes = 0;
  for (std::size_t label = 0; label < 10; ++label)
    for (std::size_t predicted = 0; predicted < 10; ++predicted) {
      all += c.count(label, predicted);
      (label == predicted ? right : mistakes) += c.count(label, predicted);
    }
  EXPECT_EQ(all, 130);
  EXPECT_DOUBLE_EQ(static_cast<double>(right) / 130, e.accuracy);
  ASSERT_GT(mistakes, 1);
  EXPECT_EQ(c.worst.size(), static_cast<std::size_t>(std::min<std::int64_t>(mistakes, 20)));
  for (std::size_t i = 0; i < c.worst.size(); ++i) {
    EXPECT_NE(c.worst[i].label, c.worst[i].predicted);
    EXPECT_NEAR(c.worst[i].loss, -std::log(c.worst[i].label_score), 1e-9);
    EXPECT_LE(c.worst[i].loss, c.worst[i > 0 ? i - 1 : 0].loss);
  }
  // The loss of one sample is the evaluation's.
  Dataset one = data.test;
  one.bytes.assign(data.test.bytes.begin() + c.worst[0].sample * 784, data.test.bytes.begin() + (c.worst[0].sample + 1) * 784);
  one.labels = {c.worst[0].label};
  EXPECT_NEAR(trainer.evaluate(one).loss, c.worst[0].loss, 1e-4);
  EXPECT_EQ(c.worst[0].image.pixels, one.bytes);

  const std::string matrix = confusion_section(c), samples = samples_section(c);
  EXPECT_EQ(count(matrix, "<tr>"), 12u);
  EXPECT_EQ(count(samples, "<img "), 20 + c.worst.size());
  EXPECT_EQ(count(samples, "src=\""), count(samples, "src=\"data:image/png;base64,"));
  EXPECT_EQ(count(samples, "alt=\"sample "), 20 + c.worst.size());
}

TEST(Classification, ScoresAreProbabilitiesAfterCrossEntropyOnly) {
  const std::vector<float> y = {1000, 1001, 0};
  const std::vector<double> p = class_scores(y, true);
  EXPECT_NEAR(p[1], 1 / (1 + std::exp(-1.0)), 1e-12);
  EXPECT_DOUBLE_EQ(p[2], 0);
  EXPECT_EQ(class_scores(y, false), (std::vector<double>{1000, 1001, 0}));
}

TEST(Filters, AreThoseOfTheFirstConvolution) {
  const std::vector<float> w = {-2, 0, 1, 2, 0, 0, 0, 0};
  Checkpoint model;
  model.tensors = {StoredTensor::from("bn0.weight", {1}, std::span<const float>(w).first(1)),
                   StoredTensor::from("conv1.weight", {2, 1, 2, 2}, std::span<const float>(w))};
  const Filters f = first_filters(model).value();
  EXPECT_EQ(f.layer, "conv1");
  ASSERT_EQ(f.images.size(), 2u);
  EXPECT_EQ(f.images[0].pixels, (std::vector<std::uint8_t>{1, 128, 192, 255}));
  EXPECT_EQ(f.images[1].pixels, std::vector<std::uint8_t>(4, 128));
  EXPECT_EQ(f.largest, (std::vector<double>{2, 0}));
  const std::vector<float> bad(4, NAN);
  model.tensors[1] = StoredTensor::from("conv1.weight", {1, 1, 2, 2}, std::span<const float>(bad));
  EXPECT_FALSE(first_filters(model));
  EXPECT_FALSE(first_filters({}));
}

TEST(DataUri, IsBase64) {
  const std::string uri = png_data_uri({1, 1, 1, {7}});
  expect_contains(uri, "data:image/png;base64,iVBORw0KGgo");  // the signature
  EXPECT_EQ((uri.size() - 22) % 4, 0u);
  EXPECT_EQ((uri.size() - 22) / 4, (encode_png({1, 1, 1, {7}}).size() + 2) / 3);
}

TEST(ImageInput, WhatDataShowDrewComesBackByteForByte) {
  const Dataset data = make_digits(20, 20, 0).test;
  const Image grid = sample_grid(data, 1, 2);
  Image cell{112, 112, 1, {}};  // the second, four times as large
  for (std::int64_t y = 0; y < 112; ++y)
    for (std::int64_t x = 0; x < 112; ++x) cell.pixels.push_back(grid.pixels[static_cast<std::size_t>((8 + y) * grid.width + 8 + 120 + x)]);
  const ImageInput input = image_input(picture_of(cell), {1, 28, 28}, Invert::automatic, true);
  EXPECT_EQ(input.bytes, std::vector<std::uint8_t>(data.bytes.begin() + 784, data.bytes.begin() + 2 * 784));
  EXPECT_EQ(input.done, "112x112 grey -> scaled to 28x28");
}

TEST(ImageInput, KeepsTheAspectInvertsAndSaysSo) {
  Image wide{10, 40, 3, std::vector<std::uint8_t>(1200, 255)};
  const ImageInput input = image_input(picture_of(wide), {1, 8, 8}, Invert::automatic, true);
  EXPECT_EQ(input.done, "40x10 RGB -> grey, inverted, scaled to 8x2, in the middle of 8x8");
  EXPECT_EQ(input.bytes, std::vector<std::uint8_t>(64, 0));
  EXPECT_EQ(image_input(picture_of(wide), {1, 8, 8}, Invert::never, true).bytes, std::vector<std::uint8_t>(64, 255));
  EXPECT_EQ(image_input(picture_of(wide), {1, 8, 8}, Invert::automatic, false).bytes, std::vector<std::uint8_t>(64, 255));
  const Image pair{1, 2, 1, {0, 100}};
  const ImageInput up = image_input(picture_of(pair), {3, 4, 4}, Invert::never, false);
  EXPECT_EQ(up.bytes.size(), 48u);
  EXPECT_EQ((std::vector<std::uint8_t>(up.bytes.begin() + 4, up.bytes.begin() + 8)), (std::vector<std::uint8_t>{0, 25, 75, 100}));
}

TEST(ImageInput, TakesPicturesOnePixelWideOrHigh) {
  const Image tall{4, 1, 1, {10, 20, 30, 40}}, wide{1, 4, 1, {10, 20, 30, 40}};
  EXPECT_EQ(image_input(picture_of(tall), {1, 4, 2}, Invert::never, false).bytes,
            (std::vector<std::uint8_t>{10, 30, 20, 30, 30, 30, 40, 30}));
  EXPECT_EQ(image_input(picture_of(wide), {1, 2, 4}, Invert::always, false).bytes,
            (std::vector<std::uint8_t>{245, 235, 225, 215, 235, 235, 235, 235}));
}

}  // namespace
}  // namespace norma::app
