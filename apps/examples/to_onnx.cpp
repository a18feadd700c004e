// A model file as an ONNX model, whose input are samples as they are stored.
#include <norma/norma.h>
#include <norma/onnx.h>

#include <cstdio>

int main(int argc, char** argv) try {
  using namespace norma;
  if (argc != 3) throw Error(ErrorKind::usage, "usage: to_onnx MODEL.safetensors MODEL.onnx");
  const Checkpoint model = load_safetensors(argv[1]);
  const std::optional<Module> net = read_model_net(model.metadata, argv[1]);
  const std::optional<ModelInput> input = read_model_input(model.metadata, argv[1]);
  if (!net || !input) throw Error(ErrorKind::data, std::string(argv[1]) + " does not describe its net");
  Shape x = input->sample;
  if (const std::optional<Size2>& size = input->transform.resize) x = {x[0], size->h, size->w};
  const OnnxModel written = make_onnx(trace(*net, x.prepend(1)), model, {.input = input, .with_transform = true});
  write_file(argv[2], written.bytes);
  std::printf("%d nodes, samples %s\n", int(written.nodes), to_string(written.input.sample).c_str());
} catch (const norma::Error& e) {
  std::fprintf(stderr, "to_onnx: %s\n", e.what());
  return e.exit_code();
}
