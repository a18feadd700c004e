#include "src/export/c_vectors.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "norma/predictor.h"
#include "src/export/c_text.h"

namespace norma {
namespace {

constexpr std::int64_t most_vectors = 4, most_numbers = 4096;  // of expected outputs, but for one vector's

// Samples by chance, from a generator that the program has too: bytes, or multiples of 2^-22 in -2..2.
class Draw {
 public:
  std::uint8_t byte() { return static_cast<std::uint8_t>(next() >> 24); }
  float number() { return static_cast<float>(next() >> 8) / 4194304.0f - 2.0f; }

 private:
  std::uint32_t next() { return state_ = state_ * 1664525u + 1013904223u; }
  std::uint32_t state_ = 1;
};

std::vector<float> outputs_of(const CSource& source, const Checkpoint& model, std::int64_t vectors) {
  const ModelInput& input = source.model_input;
  const Predictor predictor{
      source.net, model, {.input = input.sample, .sample_type = source.input_type, .transform = input.transform, .fold = false}};
  Draw draw;
  const auto count = static_cast<std::size_t>(vectors * input.sample.elements());
  if (source.input_type == DType::u8) {
    std::vector<std::uint8_t> samples(count);
    for (std::uint8_t& s : samples) s = draw.byte();
    return predictor.predict(samples);
  }
  std::vector<float> samples(count);
  for (float& s : samples) s = draw.number();
  return predictor.predict(samples);
}

// In the text @ stands for the file's prefix, NAME for that of its macros.
constexpr const char* program_text = R"(int main(void) {
  static SAMPLE input[NAME_INPUT];
  static float output[NAME_OUTPUT], scratch[NAME_SCRATCH];
  unsigned long draw = 1;
  double difference = 0, largest = 0;REAL_DECLARED
  for (int n = 0; n < VECTORS; ++n) {
    for (int i = 0; i < NAME_INPUT; ++i) {
      draw = (draw * 1664525ul + 1013904223ul) & 0xfffffffful;
      input[i] = DRAWN;
    }
    @_run(input, output, scratch);
    for (int i = 0; i < NAME_OUTPUT; ++i) {
      const double expected = (double)@_expected[n * NAME_OUTPUT + i], size = expected < 0 ? -expected : expected;
      double d = (double)output[i] - expected;
      d = d < 0 ? -d : d;
      if (!(d <= difference)) difference = d; /* also where it is no number */
      if (size > largest) largest = size;REAL_COMPARED
    }
  }
  printf("outputs %g at most, largest difference from norma %g\n", largest, difference);REAL_PRINTED
  return difference <= 1e-5 + 1e-4 * largest ? 0 : 1;
}
#endif
)";

}  // namespace

std::string test_program(const CSource& source, const CSourceOptions& options, const Checkpoint* exact) {
  const std::int64_t vectors = std::clamp<std::int64_t>(most_numbers / source.output.elements(), 1, most_vectors);
  const std::string name = upper_case(options.name);
  std::string text = program_text;
  const bool bytes = source.input_type == DType::u8;
  for (const auto& [what, by] : std::initializer_list<std::pair<const char*, std::string>>{
           {"REAL_DECLARED", exact ? "\n  double lost = 0;" : ""},
           {"REAL_COMPARED", exact ? "\n      d = (double)output[i] - (double)@_expected_of_floats[n * NAME_OUTPUT + i];\n"
                                     "      d = d < 0 ? -d : d;\n"
                                     "      if (!(d <= lost)) lost = d;"
                                   : ""},
           {"REAL_PRINTED", exact ? "\n  printf(\"largest difference from weights of float %g\\n\", lost);" : ""},
           {"SAMPLE", bytes ? "uint8_t" : "float"},
           {"DRAWN", bytes ? "(uint8_t)(draw >> 24)" : "(float)(draw >> 8) / 4194304.0f - 2.0f"},
           {"VECTORS", std::to_string(vectors)},
           {"NAME", name},
           {"@", options.name}})
    text = replaced(text, what, by);
  std::string arrays = c_array(options.name + "_expected", outputs_of(source, source.model, vectors));
  if (exact) arrays += c_array(options.name + "_expected_of_floats", outputs_of(source, *exact, vectors));
  return "#ifdef " + name + "_TEST\n#include <stdio.h>\n\n/* Outputs of norma for " + std::to_string(vectors) +
         (vectors == 1 ? " sample" : " samples") + " drawn by chance. */\n" + arrays + "\n" + text;
}

}  // namespace norma
