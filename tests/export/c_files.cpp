#include "tests/export/c_files.h"

#include <sys/wait.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "src/export/c_text.h"

namespace norma::test {

Ran run_in(const TemporaryFolder& folder, const std::string& command) {
  const int status = std::system(("cd '" + folder.path().string() + "' && { " + command + "; } >printed.txt 2>&1").c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128, contents(folder / "printed.txt")};
}

std::string c_compiler() {
  static const std::string found = [] {
    const char* const said = std::getenv("CC");
    const std::string compiler = said && *said ? said : "cc";
    const TemporaryFolder folder;
    std::ofstream(folder / "a.c") << "#include <math.h>\nint main(void) { return 0; }\n";
    return run_in(folder, compiler + " -std=c99 a.c -lm -o a && ./a").code == 0 ? compiler : std::string();
  }();
  return found;
}

std::string c_sanitizers() {
  static const std::string found = [] {
    const std::string flags = "-fsanitize=address,undefined -fno-sanitize-recover=all";
    const TemporaryFolder folder;
    std::ofstream(folder / "a.c") << "int main(void) { return 0; }\n";
    return run_in(folder, c_compiler() + " " + flags + " a.c -o a && ./a").code == 0 ? flags : std::string();
  }();
  return found;
}

void CFunctions::add(const CSource& source, const std::string& name, std::vector<std::uint8_t> samples) {
  const auto each = static_cast<std::size_t>(source.input.elements()) * size_of(source.input_type);
  functions_.push_back({source, name, std::move(samples), 0});
  functions_.back().samples = functions_.back().bytes.size() / each;
}

void CFunctions::add(const CSource& source, const std::string& name, const std::vector<float>& samples) {
  std::vector<std::uint8_t> bytes(samples.size() * sizeof(float));
  std::memcpy(bytes.data(), samples.data(), bytes.size());
  add(source, name, std::move(bytes));
}

std::vector<std::vector<float>> CFunctions::run(const std::string& flags) const {
  const TemporaryFolder folder;
  std::ofstream source(folder / "all.c");
  std::ofstream samples(folder / "samples", std::ios::binary);
  std::string calls;
  for (const Function& f : functions_) {
    const std::string macro = upper_case(f.name), type = f.source.input_type == DType::u8 ? "uint8_t" : "float";
    source << f.source.text << "\n";
    samples.write(reinterpret_cast<const char*>(f.bytes.data()), static_cast<std::streamsize>(f.bytes.size()));
    calls += "  for (n = 0; n < " + std::to_string(f.samples) + "; ++n) {\n    " + type + " *x = (" + type + " *)take(" + macro +
             "_INPUT * sizeof(" + type + "));\n    float *y = (float *)take(" + macro + "_OUTPUT * sizeof(float)), *s = (float *)take(" +
             macro + "_SCRATCH * sizeof(float));\n    if (fread(x, sizeof *x, " + macro + "_INPUT, in) != " + macro +
             "_INPUT) return 3;\n    memset(s, 255, " + macro + "_SCRATCH * sizeof(float));\n    memset(y, 255, " + macro +
             "_OUTPUT * sizeof(float));\n    " + f.name + "_run(x, y, s);\n    fwrite(y, sizeof *y, " + macro +
             "_OUTPUT, out);\n    free(x), free(y), free(s);\n  }\n";
  }
  source << "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"
            "static void *take(size_t n) { void *p = malloc(n); if (!p) exit(2); return p; }\n"
            "int main(void) {\n  FILE *in = fopen(\"samples\", \"rb\"), *out = fopen(\"outputs\", \"wb\");\n  int n;\n"
            "  if (!in || !out) return 4;\n"
         << calls << "  fclose(in);\n  return fclose(out) == 0 ? 0 : 5;\n}\n";
  source.close(), samples.close();
  const Ran ran = run_in(folder, c_compiler() + " -std=c99 -Wall -Wextra -Wpedantic -Werror " + flags + " all.c -lm -o all && ./all");
  EXPECT_EQ(ran.code, 0) << ran.printed.substr(0, 4000);
  if (ran.code != 0) return {};
  std::ifstream outputs(folder / "outputs", std::ios::binary);
  std::vector<std::vector<float>> all;
  for (const Function& f : functions_) {
    std::vector<float>& y = all.emplace_back(f.samples * static_cast<std::size_t>(f.source.output.elements()));
    outputs.read(reinterpret_cast<char*>(y.data()), static_cast<std::streamsize>(y.size() * sizeof(float)));
    EXPECT_TRUE(outputs) << f.name;
  }
  return all;
}

}  // namespace norma::test
