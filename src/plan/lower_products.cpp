// Rules of the layers that multiply by weights: convolutions and linear layers. Of each its Calls forward, then its adjoint: the Calls that
// turn the gradient of its output into those of its input and parameters.
#include <algorithm>

#include "src/plan/lowering.h"

namespace norma {

using namespace kernels;

namespace {

// A convolution's weight gradient is made pack by pack if all partial sums together are at most max_floats_by_pack (4 MB). Otherwise it is
// made in chunks of packs_per_weight_chunk packs, for more parallel work than its weights give. There are at most max_weight_chunks chunks
// and max_partial_elements floats, twice max_floats_by_pack.
constexpr std::int64_t max_floats_by_pack = std::int64_t{1} << 20;
constexpr std::int64_t packs_per_weight_chunk = 4, max_weight_chunks = 16, max_partial_elements = 2 * max_floats_by_pack;

}  // namespace

// Emits the Call, with its partial sums.
void Lowering::weight_gradient(std::size_t i, const char* what, Conv2dBackwardWeight call) {
  const std::int64_t sums = call.shape.weights() + call.shape.y.c, packs = call.shape.x.packs();
  const std::int64_t parts = std::min(packs / packs_per_weight_chunk, max_partial_elements / sums);
  call.chunks = packs <= max_floats_by_pack / sums ? packs : std::clamp<std::int64_t>(parts, 1, max_weight_chunks);
  call.partial = partial_sums(node(i).path + "." + what + ".partial", call.chunks, call.partial_elements() * 4);
  call.precision = options_.precision;
  emit(i, call);
}

void Lowering::forward(std::size_t i, const nn::Conv2d& c) {
  emit(i, Conv2dForward{.y = make_output(i),
                        .x = x(i),
                        .w = parameter(i, "weight").value,
                        .b = parameter(i, "bias").value,
                        .shape = {dims(input(i)), dims(i), window_of(c), c.groups},
                        .precision = options_.precision});
}

void Lowering::backward(std::size_t i, const nn::Conv2d& c) {
  const ValueId dy = gradient_[i];
  const ConvShape shape{dims(input(i)), dims(i), window_of(c), c.groups};
  if (!frozen(i))
    weight_gradient(i, "weight",
                    {.dw = gradient_of(i, "weight"), .db = parameter(i, "bias").gradient, .dy = dy, .x = x(i), .shape = shape});
  if (!needs_gradient_[input(i)]) return;
  const ValueId dx = make_gradient(input(i), i);
  emit(i, Conv2dBackwardInput{.dx = dx, .dy = dy, .w = parameter(i, "weight").value, .shape = shape, .precision = options_.precision});
  accumulate(input(i), dx);
}

// A convolution from the output to the input, the other way round.
void Lowering::forward(std::size_t i, const nn::ConvTranspose2d& c) {
  emit(i, Conv2dBackwardInput{.dx = make_output(i),
                              .dy = x(i),
                              .w = parameter(i, "weight").value,
                              .b = parameter(i, "bias").value,
                              .shape = {dims(i), dims(input(i)), window_of(c), c.groups},
                              .precision = options_.precision});
}

void Lowering::backward(std::size_t i, const nn::ConvTranspose2d& c) {
  const ValueId dy = gradient_[i];
  const ConvShape shape{dims(i), dims(input(i)), window_of(c), c.groups};
  if (const ValueId dw = parameter(i, "weight").gradient) weight_gradient(i, "weight", {.dw = dw, .dy = x(i), .x = dy, .shape = shape});
  if (const ValueId db = parameter(i, "bias").gradient) {  // the sums over dy come with those of its squares, which nothing reads
    const ConvShape depthwise{dims(i), dims(i), {1, 1, 1, 1, 0, 0, 1, 1}, c.out};
    weight_gradient(i, "bias",
                    {.dw = flat(node(i).path + ".dy_squares", c.out, DType::f32), .db = db, .dy = dy, .x = dy, .shape = depthwise});
  }
  if (!needs_gradient_[input(i)]) return;
  const ValueId dx = make_gradient(input(i), i);
  emit(i, Conv2dForward{.y = dx, .x = dy, .w = parameter(i, "weight").value, .shape = shape, .precision = options_.precision});
  accumulate(input(i), dx);
}

void Lowering::forward(std::size_t i, const nn::Linear&) {
  emit(i, LinearForward{.y = make_output(i),
                        .x = x(i),
                        .w = parameter(i, "weight").value,
                        .b = parameter(i, "bias").value,
                        .x_dims = dims(input(i)),
                        .y_dims = dims(i),
                        .precision = options_.precision});
}

void Lowering::backward(std::size_t i, const nn::Linear&) {
  const ValueId dy = gradient_[i];
  if (!frozen(i))
    emit(i, LinearBackwardWeight{.dw = gradient_of(i, "weight"),
                                 .db = parameter(i, "bias").gradient,
                                 .dy = dy,
                                 .x = x(i),
                                 .x_dims = dims(input(i)),
                                 .y_dims = dims(i),
                                 .precision = options_.precision});
  if (!needs_gradient_[input(i)]) return;
  const ValueId dx = make_gradient(input(i), i);
  emit(i, LinearBackwardInput{.dx = dx,
                              .dy = dy,
                              .w = parameter(i, "weight").value,
                              .x_dims = dims(input(i)),
                              .y_dims = dims(i),
                              .precision = options_.precision});
  accumulate(input(i), dx);
}

}  // namespace norma
