#include "apps/norma/gpu/plan_gpu.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/norma/bench/bench.h"
#include "apps/norma/system/choices.h"
#include "norma/device.h"
#include "norma/error.h"
#include "norma/text.h"

namespace norma::app {
namespace {

using nlohmann::ordered_json;

StepTime predict_step(const Plan& plan, const GpuCard& card) {
  const MemoryReport report = memory(plan);
  double working_set = 0;  // all but the data set
  for (const std::size_t bytes : report.bytes) working_set += static_cast<double>(bytes);
  return predict(card, describe(plan), kernel_launches(plan, card.capability, card.multiprocessors), dependencies(plan), working_set);
}

// "1.2M": three digits or so.
std::string compact(double v) {
  const auto [value, prefix] = prefixed(v);
  return fmt::format("{:.{}f}{}", value, *prefix && value < 99.95 ? 1 : 0, prefix);
}

std::string waves_text(double v) { return fmt::format("{:.{}f}", v, v < 9.995 ? 2 : v < 99.95 ? 1 : 0); }

char letter(Bound b) { return "lma"[static_cast<std::size_t>(b)]; }
const char* name_of(Bound b) {
  static constexpr const char* names[] = {"latency", "memory", "arithmetic"};
  return names[static_cast<std::size_t>(b)];
}

// Name and grid share a field.
std::string kernel_row(const KernelLaunch& l, const KernelTime& t) {
  constexpr std::size_t width = 35;
  std::string name = l.kernel.empty() ? "(unnamed)" : l.kernel;
  for (std::size_t at; (at = name.find(", ")) != std::string::npos;) name.erase(at + 1, 1);
  const std::string grid = fmt::format(" {}x{}{}", l.blocks, l.threads, l.cooperative ? "c" : "");
  if (name.size() + grid.size() > width) name = name.substr(0, width - grid.size() - 2) + "..";
  const std::string registers = l.compiled ? std::to_string(l.compiled->registers) : "?";
  const std::string shared = l.compiled ? std::to_string(l.compiled->shared_bytes) : "?";
  const std::string share = l.compiled ? fmt::format("{:.0f}", 100 * t.resident.share) : "?";
  std::string row = fmt::format("    {}{:>{}}{:>4}{:>6}{:>4}{:>5}{:>6}{:>6}{:>6.2f} {}\n", name, grid, width - name.size(), registers,
                                shared, share, waves_text(t.waves), compact(t.bytes), compact(t.flops), t.total(), letter(t.bound));
  if (l.compiled && l.compiled->local_bytes > 0) row += fmt::format("      local memory: {} bytes a thread\n", l.compiled->local_bytes);
  return row;
}

std::string call_row(const GpuPlan& p, std::size_t c) {
  const PlanLine& line = p.lines[c];
  double predicted = 0;
  for (const KernelTime& t : p.step.calls[c]) predicted += t.total();
  std::string row = fmt::format("{:>3} {:<27}{:<13}", c, fit(line.call, 26), fit(line.path, 12));
  if (!p.measured.empty()) row += fmt::format("measured{:>8.2f}, predicted{:>7.2f}", p.measured[c], predicted);
  else if (p.launches[c].size() > 1) row += fmt::format("{:>32.2f}", predicted);
  row.erase(row.find_last_not_of(' ') + 1);
  return row + "\n";
}

bool complete(const GpuPlan& p) {
  for (const auto& of_call : p.launches)
    for (const KernelLaunch& l : of_call)
      if (!l.compiled) return false;
  return true;
}

ordered_json to_json(const StepTime& s) {
  return {{"kernels", s.kernels},
          {"chain_kernels", s.chain},
          {"serial_us", s.serial()},
          {"serial_launch_us", s.fixed},
          {"chain_us", s.chained()},
          {"chain_launch_us", s.chain_fixed},
          {"working_set_bytes", s.working_set},
          {"share_in_l2", s.fitting}};
}

}  // namespace

const GpuCard& choose_card(const std::string& key, const Device& device) {
  const std::span<const GpuCard> cards = gpu_cards();
  if (!key.empty()) {
    std::vector<std::string> known;
    for (const GpuCard& c : cards) known.push_back(c.key);
    return cards[choose("--card", key, known)];
  }
  const std::vector<CudaReport::Gpu> gpus = cuda_report().gpus;
  if (const std::size_t index = static_cast<std::size_t>(device.index); index < gpus.size())
    for (const GpuCard& c : cards)
      if (gpus[index].name.starts_with(c.name) && gpus[index].multiprocessors == c.multiprocessors) return c;
  return cards.back();
}

GpuPlan predict_plan(const Recipe& recipe, Mode mode, const Device& device, const GpuCard& card) {
  const nn::Sequential model = build_model(recipe.model);
  TrainerOptions options = trainer_options(recipe, sample_shape(recipe.data), device);
  const std::shared_ptr<const Plan> plan = compile(model, options, mode);
  GpuPlan p{.card = &card, .recipe = recipe.name, .mode = mode, .batch = options.batch};
  p.lines = describe(*plan);
  p.launches = kernel_launches(*plan, card.capability, card.multiprocessors);
  p.step = predict_step(*plan, card);
  if (mode == Mode::train) {
    const std::int64_t samples = training_samples(recipe.data);
    p.steps = samples / options.batch;
    p.tail = recipe.train.drop_last && p.steps > 0 ? 0 : samples % options.batch;
    if (p.tail) {
      options.batch = p.tail;
      p.last = predict_step(*compile(model, options, mode), card);
    }
  }
  return p;
}

void measure(GpuPlan& plan, const Recipe& recipe, const Device& device) {
  const bool training = plan.mode == Mode::train;
  const DatasetPair data = load_data(recipe.data);
  Trainer trainer(build_model(recipe.model), trainer_options(recipe, data.train.sample, device));
  constexpr std::size_t warm_up = 10, steps = 200;
  const std::vector<TimedStep> timed = trainer.time_calls(plan.mode, training ? data.train : data.test, warm_up + steps);
  for (std::size_t c = 0; c < plan.lines.size(); ++c) {
    std::vector<double> seconds;
    for (std::size_t s = warm_up; s < timed.size(); ++s) seconds.push_back(timed[s].calls.at(c));
    plan.measured.push_back(1e6 * summarise(seconds).median);
  }
  plan.measured_on = trainer.device_description();
}

std::string print(const GpuPlan& p) {
  std::string out =
      fmt::format("{}, {}, batch {}: kernels on {}\n", p.recipe, p.mode == Mode::train ? "training" : "evaluation", p.batch, p.card->name);
  out += fmt::format("  # {:<35}{:>4}{:>6}{:>4}{:>5}{:>6}{:>6}{:>6}\n", "call, its kernels, blocks x threads", "reg", "smem", "occ", "wave",
                     "bytes", "flops", "us by");
  for (std::size_t c = 0; c < p.lines.size(); ++c) {
    out += call_row(p, c);
    for (std::size_t k = 0; k < p.launches[c].size(); ++k) out += kernel_row(p.launches[c][k], p.step.calls[c][k]);
  }
  const StepTime& s = p.step;
  out += fmt::format("{} calls, {} kernels, {} of them in the longest chain of dependent ones\n", p.lines.size(), s.kernels, s.chain);
  out += fmt::format("{:<34}{:>10}{:>16}\n", "predicted us a step", "serial", "longest chain");
  out += fmt::format("{:<34}{:>10.1f}{:>16.1f}\n", fmt::format("  launches, {:.2f} each in a graph", p.card->node), s.fixed, s.chain_fixed);
  out += fmt::format("{:<34}{:>10.1f}{:>16.1f}\n", "  bytes, operations, latency", s.work, s.chain_work);
  out += fmt::format("{:<34}{:>10.1f}{:>16.1f}\n", "  together", s.serial(), s.chained());
  if (p.mode == Mode::train)
    out += fmt::format("{:<34}{:>10.2f}{:>16.2f}\n", fmt::format("ms an epoch, {} steps{}", p.steps, p.tail ? " and a tail" : ""),
                       1e-3 * p.epoch_serial(), 1e-3 * p.epoch_chained());
  out += fmt::format("launched one by one to a stream: {:.1f} us for launches alone, {:.2f} each\n",
                     static_cast<double>(s.kernels) * p.card->launch, p.card->launch);
  out += fmt::format("working set: {}B, {:.0f} % of it in the L2 cache of {}B\n", compact(s.working_set), 100 * s.fitting,
                     compact(p.card->l2_bytes));
  if (!p.measured.empty()) {
    double sum = 0;
    for (const double m : p.measured) sum += m;
    out += fmt::format("measured: {:.1f} us for the calls, each between two events; {}\n", sum, p.measured_on);
  } else {
    out += "measured: nothing (--measure, on a machine with the GPU)\n";
  }
  if (!complete(p))
    out += fmt::format(
        "?: this build has no code for compute capability {}.{}, or did not keep what its\n   compiler said; "
        "occupancy is taken to be limited by threads alone\n",
        p.card->capability / 10, p.card->capability % 10);
  out +=
      "reg, smem: registers of a thread, bytes of shared memory of a block. occ: % of a\n"
      "multiprocessor's warps that fit. wave: blocks over what the card holds at once.\n"
      "by: the limit of the work's time: l latency, m memory, a arithmetic. A call's\n"
      "bytes and flops are divided among its kernels by their threads.\n";
  return out;
}

ordered_json kernels_json(const GpuPlan& p, std::size_t call) {
  ordered_json kernels = ordered_json::array();
  for (std::size_t k = 0; k < p.launches[call].size(); ++k) {
    const KernelLaunch& l = p.launches[call][k];
    const KernelTime& t = p.step.calls[call][k];
    ordered_json j{{"kernel", l.kernel}, {"blocks", l.blocks}, {"threads", l.threads}, {"cooperative", l.cooperative}};
    if (l.compiled) {
      j["architecture"] = l.compiled->architecture, j["registers"] = l.compiled->registers;
      j["shared_bytes"] = l.compiled->shared_bytes, j["local_bytes"] = l.compiled->local_bytes;
      j["blocks_per_multiprocessor"] = t.resident.blocks, j["occupancy"] = t.resident.share;
      j["occupancy_limit"] = name_of(t.resident.limit), j["waves"] = t.waves;
    }
    j["bytes"] = t.bytes, j["flops"] = t.flops;
    j["predicted_us"] = t.total(), j["predicted_launch_us"] = t.fixed, j["bound"] = name_of(t.bound);
    kernels.push_back(std::move(j));
  }
  return kernels;
}

ordered_json prediction_json(const GpuPlan& p) {
  ordered_json j{{"card", p.card->name}, {"step", to_json(p.step)}};
  if (p.mode == Mode::train) {
    j["steps"] = p.steps, j["tail_samples"] = p.tail;
    if (p.tail) j["tail_step"] = to_json(p.last);
    j["epoch_serial_ms"] = 1e-3 * p.epoch_serial(), j["epoch_chain_ms"] = 1e-3 * p.epoch_chained();
  }
  if (!p.measured.empty()) j["measured_on"] = p.measured_on;
  return j;
}

}  // namespace norma::app
