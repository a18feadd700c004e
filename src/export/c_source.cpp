// From a net to the text of a file: the net is folded and quantised, written as calls, and framed by what its user reads and tests.
#include "norma/c_source.h"

#include <algorithm>
#include <utility>

#include "norma/batch_norm_tools.h"
#include "norma/error.h"
#include "norma/norma.h"
#include "norma/predictor.h"
#include "norma/text.h"
#include "src/data/affine.h"
#include "src/export/c_functions.h"
#include "src/export/c_program.h"
#include "src/export/c_text.h"
#include "src/export/c_vectors.h"
#include "src/net/graph_check.h"
#include "src/net/match_tensors.h"
#include "src/net/replay.h"
#include "src/plan/lower.h"

namespace norma {
namespace {

Shape sample_of(const Shape& batch) { return batch.rank() == 4 ? Shape{batch[1], batch[2], batch[3]} : Shape{batch[1]}; }

// The file's input.
ModelInput written_input(const Shape& net_input, const std::optional<ModelInput>& input, bool floats) {
  const Shape wanted = sample_of(net_input);
  ModelInput written{.data = {}, .sample = wanted, .stored = DType::f32, .transform = {}, .classes = {}};
  if (!input) return written;
  const Shape given = transformed(input->sample, input->transform.resize);
  if (!(given == wanted)) throw Error(ErrorKind::usage, "the net takes " + to_string(wanted) + ", but the samples are " + to_string(given));
  if (!floats) return *input;
  written.data = input->data, written.classes = input->classes;
  return written;
}

std::string times(const Shape& s) {
  std::string text;
  for (const std::int64_t d : s) text += (text.empty() ? "" : " x ") + std::to_string(d);
  return text;
}

class Text {
 public:
  Text(const CSource& source, const CProgram& program, const CSourceOptions& options)
      : source_(source), program_(program), options_(options), macro_(upper_case(options.name)) {}

  std::string comment() const {
    const std::string& n = options_.name;
    const bool bytes = source_.input_type == DType::u8;
    const std::string what = bytes ? "bytes" : "floats";
    const std::string how = options_.floats ? ", after the transform"
                            : bytes         ? ", as the samples are stored; the function applies the transform"
                                            : ", as the samples are stored";
    std::string t = "/* " + n + ": a trained net as one file of C99, written by norma " + version;
    if (!options_.model.empty()) t += "\n   from " + c_comment(options_.model);
    t += ".\n\n   " + source_.declaration + "\n\n";
    t += "   input    " + std::to_string(source_.input.elements()) + " " + what + " (" + times(source_.input) + ")" + how + "\n";
    t += "   output   " + std::to_string(source_.output.elements()) + " floats (" + times(source_.output) + "), those of the last layer\n";
    t += "   scratch  " + std::to_string(source_.scratch_floats) + " floats, of no meaning before and after\n\n";
    t += "   Any number of threads may call it, each with an output and a scratch of its own. The three arrays do\n"
         "   not overlap. An int has 32 bits. " +
         std::to_string(source_.parameters) + " parameters, " + std::to_string(source_.multiplications) + " multiplications.\n\n";
    t += "     cc -O3 -c " + n + ".c                          as C99 or C++; link with -lm\n";
    t += "     cc -D" + macro_ + "_TEST -O2 " + n + ".c -lm -o test && ./test    against norma's own outputs\n\n";
    t += "     #include \"" + n + ".c\"\n";
    t += std::string("     static ") + c_type() + " input[" + macro_ + "_INPUT];\n";
    t += "     static float output[" + macro_ + "_OUTPUT], scratch[" + macro_ + "_SCRATCH];\n";
    t += "     ... fill input ...\n";
    t += "     " + n + "_run(input, output, scratch);\n*/\n";
    return t;
  }

  std::string head() const {
    std::string t = "#include <stdint.h>\n";
    if (needs_math(program_.functions)) t += "#include <math.h>\n";
    t += "\n#define " + macro_ + "_INPUT " + std::to_string(source_.input.elements()) + "\n";
    t += "#define " + macro_ + "_OUTPUT " + std::to_string(source_.output.elements()) + "\n";
    t += "#define " + macro_ + "_SCRATCH " + std::to_string(source_.scratch_floats) + "\n\n";
    t += "#ifdef __cplusplus\n#define " + macro_ + "_RESTRICT __restrict\nextern \"C\" {\n#else\n#define " + macro_ +
         "_RESTRICT restrict\n#endif\n\n";
    t += source_.declaration + "\n";
    const std::vector<std::string>& classes = source_.model_input.classes;
    if (classes.empty()) return t + "\n";
    const std::string array = "const char *const " + options_.name + "_classes[" + std::to_string(classes.size()) + "]";
    t += "extern " + array + ";\n\n" + array + " = {";
    for (std::size_t i = 0; i < classes.size(); ++i) t += (i ? ",\n    " : "\n    ") + c_string(classes[i]);
    return t + "};\n\n";
  }

  std::string function() const {
    std::string t = source_.declaration;
    t.back() = ' ';
    t += "{\n";
    std::string before;
    bool scratch = false;
    for (const CStep& s : program_.steps) {
      if (s.comment != before) t += "  /* " + c_comment(s.comment) + " */\n";
      before = s.comment;
      std::string line = "  " + options_.name + "_" + s.function + "(";
      for (std::size_t i = 0; i < s.arguments.size(); ++i) {
        const std::string argument = text(s.arguments[i]) + (i + 1 < s.arguments.size() ? "," : ");\n");
        const bool fits = line.size() - (line.rfind('\n') + 1) + argument.size() < 100;  // rfind of none is -1
        line += (i == 0 ? "" : fits ? " " : "\n      ") + argument;
        scratch = scratch || (s.arguments[i].buffer > 0 && s.arguments[i].buffer != program_.output);
      }
      t += line;
    }
    if (!scratch) t += "  (void)scratch;\n";
    return t + "}\n\n#ifdef __cplusplus\n}\n#endif\n";
  }

 private:
  const char* c_type() const { return source_.input_type == DType::u8 ? "uint8_t" : "float"; }
  std::string text(const CArgument& a) const {
    if (a.buffer < 0) return a.text;
    if (a.buffer == 0) return "input";
    if (a.buffer == program_.output) return "output";
    const std::int64_t offset = program_.buffers[static_cast<std::size_t>(a.buffer)].offset;
    return offset == 0 ? "scratch" : "scratch + " + std::to_string(offset);
  }

  const CSource& source_;
  const CProgram& program_;
  const CSourceOptions& options_;
  std::string macro_;
};

}  // namespace

CSource c_source(const Graph& graph, const Checkpoint& model, const std::optional<ModelInput>& input, const CSourceOptions& options) {
  if (!is_c_name(options.name))
    throw Error(ErrorKind::usage,
                "\"" + printable(options.name) + "\" is no name for C: a letter, then letters, digits and '_', at most 63");
  check_plain(graph, "a C file is written of");
  const auto is_input = [](const Node& n) { return std::holds_alternative<InputNode>(n.op); };
  const Shape one = std::ranges::find_if(graph.nodes, is_input)->shape.with_batch(1);
  CSource source{.net = Module(Replay(graph, {}))};
  source.model_input = written_input(one, input, options.floats);
  source.input = source.model_input.sample, source.input_type = stored_type(source.input, source.model_input.stored);
  Graph written = trace(source.net, one);
  source.model = matched_model(model, written, source.notes);
  if (const std::string fault = first_fault(source.model); !fault.empty())
    throw Error(ErrorKind::diverged, "the model cannot be written: " + fault);
  if (options.fold) {
    FoldedBatchNorms folded = fold_batch_norms(written, source.model);
    for (const FoldedBatchNorms::Kept& k : folded.kept) source.notes.push_back(printable(k.norm) + " is not folded: " + k.reason);
    source.net = std::move(folded.net), source.model = std::move(folded.model);
    written = trace(source.net, one);
  }
  const Checkpoint exact = source.model;
  const QuantisedModel quantised = options.weights == CWeights::int8 ? quantise(written, source.model) : QuantisedModel{};

  Identifiers names(options.name);
  for (const std::string& f : c_function_names()) (void)names.reserve(f);
  for (const char* f : {"run", "classes", "expected", "expected_of_floats"}) (void)names.reserve(f);
  CProgram program = write_program(written, source.model, quantised, source.model_input, names);
  source.output = sample_of(written[written.outputs[0]].shape);
  source.scratch_floats = std::max<std::int64_t>(1, plan_scratch(program));
  source.parameters = program.parameters, source.multiplications = program.multiplications;
  if (static_cast<std::int64_t>(source.model_input.classes.size()) > source.output.elements())
    throw Error(ErrorKind::data, "the model names " + std::to_string(source.model_input.classes.size()) + " classes and its net has " +
                                     std::to_string(source.output.elements()) + " outputs");
  const bool bytes = source.input_type == DType::u8;
  source.declaration = "void " + options.name + "_run(const " + (bytes ? "uint8_t" : "float") + " *input, float *output, float *scratch);";

  const Text text(source, program, options);
  source.text = text.comment() + "\n" + text.head() + program.arrays + "\n" +
                c_functions(program.functions, options.name, options.weights, bytes) + text.function() + "\n" +
                test_program(source, options, quantised.empty() ? nullptr : &exact);
  return source;
}

}  // namespace norma
