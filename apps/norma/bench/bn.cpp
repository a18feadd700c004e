// Measuring batch norm by itself: what is measured, and how.
#include "apps/norma/bench/bn.h"

#include <algorithm>
#include <chrono>

#include "norma/instruments.h"
#include "norma/module_timer.h"

namespace norma::app {

std::span<const BnShape> bn_shapes() {
  static constexpr BnShape all[] = {
      {"lenet", "bn1", 1, 256, 6, 24, 24},
      {"lenet", "bn2", 1, 256, 16, 8, 8},
      {"lenet", "bn3", 1, 256, 120},
      {"lenet", "bn4", 1, 256, 84},

      {"resnet50", "bn1", 1, 0, 64, 112, 112},
      {"resnet50", "layer1.0.bn1", 6, 0, 64, 56, 56},
      {"resnet50", "layer1.0.bn3", 4, 0, 256, 56, 56},
      {"resnet50", "layer2.0.bn1", 1, 0, 128, 56, 56},
      {"resnet50", "layer2.0.bn2", 7, 0, 128, 28, 28},
      {"resnet50", "layer2.0.bn3", 5, 0, 512, 28, 28},
      {"resnet50", "layer3.0.bn1", 1, 0, 256, 28, 28},
      {"resnet50", "layer3.0.bn2", 11, 0, 256, 14, 14},
      {"resnet50", "layer3.0.bn3", 7, 0, 1024, 14, 14},
      {"resnet50", "layer4.0.bn1", 1, 0, 512, 14, 14},
      {"resnet50", "layer4.0.bn2", 5, 0, 512, 7, 7},
      {"resnet50", "layer4.0.bn3", 4, 0, 2048, 7, 7},

      {"large", "bn1", 1, -1, 64, 112, 112},
      {"large", "layer1.0.bn3", 1, -1, 256, 56, 56},
      {"large", "layer4.0.bn3", 1, -1, 2048, 7, 7},
  };
  return all;
}

Shape shape_of(const BnShape& s, std::int64_t batch, std::size_t cache_bytes) {
  std::int64_t n = s.n > 0 ? s.n : batch;
  if (s.n < 0) {  // four times the cache, from 64 to 256 MB, in whole packs of samples
    const std::int64_t sample_bytes = s.c * s.h * s.w * 4;
    const auto wanted =
        std::clamp<std::int64_t>(4 * static_cast<std::int64_t>(cache_bytes), std::int64_t{64} << 20, std::int64_t{256} << 20);
    n = (wanted / sample_bytes + 31) / 32 * 32;
  }
  return s.h == 0 ? Shape{n, s.c} : Shape{n, s.c, s.h, s.w};
}

const char* name_of(BnLayout l) {
  switch (l) {
    case BnLayout::lanes: return "lanes";
    case BnLayout::nchw: return "nchw";
    case BnLayout::nhwc: return "nhwc";
  }
  return "?";
}

std::vector<BnLayout> layouts_of(const Device& device, const Shape& shape) {
  if (device.kind == Device::Kind::cpu) return {BnLayout::lanes};
  if (shape.rank() == 2) return {BnLayout::lanes, BnLayout::nchw};
  return {BnLayout::lanes, BnLayout::nchw, BnLayout::nhwc};
}

std::int64_t copies_for(const Shape& shape, std::size_t cache_bytes, std::int64_t tensors) {
  const double touched = static_cast<double>(tensors) * sizeof(float) * static_cast<double>(shape.elements());
  constexpr std::int64_t most = 4096;
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(2.0 * static_cast<double>(cache_bytes) / touched) + 1, 2, most);
}

NormaCubTensor cub_tensor(const Shape& shape, BnLayout layout) {
  constexpr std::int64_t pack = 32;  // samples of a GPU's pack
  const std::int64_t n = shape[0], c = shape[1], pixels = shape.elements() / (n * c);
  switch (layout) {
    case BnLayout::lanes: return {(n + pack - 1) / pack, c, pixels * pack};
    case BnLayout::nchw: break;
    case BnLayout::nhwc: return {n * pixels, c, 1};
  }
  return {n, c, pixels};
}

std::int64_t least_tensors(bool backward, const Shape& shape, std::size_t cache_bytes) {
  const std::size_t bytes = static_cast<std::size_t>(shape.elements()) * sizeof(float);
  if (backward) return 2 * bytes <= cache_bytes ? 3 : 5;
  return bytes <= cache_bytes ? 2 : 3;
}

namespace {
// True where one Call makes the sums and uses them. The device then keeps what it has read.
bool reads_once(const Plan& pass) {
  return std::ranges::all_of(describe(pass), [](const PlanLine& line) {
    return line.call.find('+') != std::string::npos || line.call == "batch_norm_running_update";
  });
}

// Times of the statistics alone, round by round, and CUB's in the same rounds.
class StatisticsInTurn {
 public:
  // bytes: of x without a pack's padding, which CUB moves, too.
  StatisticsInTurn(const Cub& cub, int gpu, const NormaCubTensor& tensor, std::int64_t copies, double bytes)
      : bytes_(bytes), stored_(static_cast<double>(tensor.outer * tensor.channels * tensor.inner) * sizeof(float)) {
    if (!cub.present()) return;
    theirs_.emplace(cub.tensors(gpu, tensor, copies));
    for (const NormaCubWork work : {norma_cub_statistics, norma_cub_read, norma_cub_copy}) (void)theirs_->seconds(work);
  }

  // norma's figures of this round: seconds of the statistics, bytes per second of the copy.
  void measure(double ours, double copy) {
    ours_.push_back(ours);
    if (!theirs_) return;
    const double seconds = theirs_->seconds(norma_cub_statistics), read = stored_ / theirs_->seconds(norma_cub_read),
                 copied = 2 * stored_ / theirs_->seconds(norma_cub_copy);
    seconds_.push_back(seconds), read_.push_back(read), copy_.push_back(copied);
    ratio_.push_back(seconds / ours), share_.push_back(bytes_ / ours / read), copy_ratio_.push_back(copy / copied);
  }

  BnStatistics figures(BnStatistics of) {
    of.seconds = summarise(ours_);
    if (theirs_)
      of.cub = BnStatistics::Theirs{summarise(seconds_), summarise(read_),  summarise(copy_),
                                    summarise(ratio_),   summarise(share_), summarise(copy_ratio_)};
    return of;
  }

 private:
  double bytes_, stored_;
  std::optional<Cub::Tensors> theirs_;
  std::vector<double> ours_, seconds_, read_, copy_, ratio_, share_, copy_ratio_;
};
}  // namespace

BnFigures measure(const BnShape& s, BnLayout layout, const Device& device, const BnRequest& request, const Cub* cub) {
  const std::size_t cache = request.cache_bytes ? request.cache_bytes : cache_bytes(device);
  const Shape shape = shape_of(s, request.batch, cache);
  const std::int64_t copies = copies_for(shape, cache, cub ? 1 : 2);  // statistics alone touch x alone
  const ExecutorOptions executor{.threads = request.threads, .isa = request.isa};
  const bool on_gpu = device.kind == Device::Kind::cuda;
  ModuleTimer timer{
      nn::BatchNorm{},
      layout == BnLayout::nhwc ? Shape{shape.elements() / s.c, s.c} : shape,
      {.device = device, .executor = executor, .lanes = layout == BnLayout::lanes ? 0 : 1, .copies = copies, .seconds = on_gpu ? 5e-3 : 0}};
  const auto copy = copy_probe(device, executor, static_cast<std::size_t>(shape.elements()) * sizeof(float), copies);

  using Clock = std::chrono::steady_clock;
  const auto pass_of = [&](const char* name) {
    return BnPass{.shape = &s,
                  .tensor = shape,
                  .layout = layout,
                  .pass = name,
                  .copies = copies,
                  .tensors = least_tensors(name[0] == 'b', shape, cache),
                  .seconds = {},
                  .copy = {},
                  .share_of_copy = {}};
  };
  std::vector<BnPass> passes{pass_of("forward"), pass_of("backward")};
  if (reads_once(timer.forward_plan())) passes[0].tensors = 2;
  if (reads_once(timer.backward_plan())) passes[1].tensors = 3;
  std::vector<double> seconds[2], shares[2], bandwidths;
  std::optional<StatisticsInTurn> statistics;
  if (cub)
    statistics.emplace(*cub, device.index, cub_tensor(shape, layout), copies_for(shape, cache),
                       static_cast<double>(shape.elements()) * sizeof(float));
  (void)timer.forward(), (void)timer.backward(), (void)copy();
  const Clock::time_point begin = Clock::now();
  for (int round = 0; round < 5 || std::chrono::duration<double>(Clock::now() - begin).count() < request.seconds; ++round) {
    const double times[] = {timer.forward(), timer.backward()};
    bandwidths.push_back(copy());
    for (std::size_t i = 0; i < 2; ++i) {
      seconds[i].push_back(times[i]);
      shares[i].push_back(passes[i].bytes() / times[i] / bandwidths.back());
    }
    if (statistics) statistics->measure(timer.statistics(), bandwidths.back());
  }
  for (std::size_t i = 0; i < 2; ++i)
    passes[i].seconds = summarise(std::move(seconds[i])), passes[i].copy = summarise(bandwidths),
    passes[i].share_of_copy = summarise(std::move(shares[i]));
  BnFigures figures{std::move(passes), {}};
  if (statistics) figures.statistics = statistics->figures({.shape = &s, .tensor = shape, .layout = layout, .seconds = {}, .cub = {}});
  return figures;
}

}  // namespace norma::app
