// logits MODEL WEIGHTS SAMPLES OUTPUTS: the net of MODEL, a file of norma, with the weights of any file. SAMPLES: bytes of images as
// stored. OUTPUTS gets the net's outputs, as floats.
#include <cstdio>
#include <exception>
#include <optional>

#include "norma/norma.h"

int main(int argc, char** argv) {
  try {
    if (argc != 5) throw norma::Error(norma::ErrorKind::usage, "logits MODEL WEIGHTS SAMPLES OUTPUTS");
    const norma::Checkpoint model = norma::load_safetensors(argv[1]);
    const std::optional<norma::Module> net = norma::read_model_net(model.metadata, argv[1]);
    const std::optional<norma::ModelInput> input = norma::read_model_input(model.metadata, argv[1]);
    if (!net || !input) throw norma::Error(norma::ErrorKind::data, "MODEL does not say what its net is");
    const norma::Predictor predictor{*net, norma::load_weights(argv[2]), {.input = input->sample, .transform = input->transform}};
    for (const std::string& note : predictor.notes()) std::fprintf(stderr, "%s\n", note.c_str());
    const std::string samples = norma::read_file(argv[3]);
    const std::vector<float> outputs = predictor.predict(std::span(reinterpret_cast<const std::uint8_t*>(samples.data()), samples.size()));
    norma::write_file(argv[4], std::as_bytes(std::span(outputs)));
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "logits: %s\n", e.what());
    return 1;
  }
}
