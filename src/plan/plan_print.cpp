// Describes a Plan: look-up by name, the table of Calls, the memory report.
#include <algorithm>

#include "norma/error.h"
#include "norma/text.h"
#include "src/plan/plan.h"

namespace norma {
namespace {

std::string window(const kernels::Window& w) {
  std::string text = std::to_string(w.kernel_h) + "x" + std::to_string(w.kernel_w);
  if (w.stride_h != 1 || w.stride_w != 1) text += " stride " + std::to_string(w.stride_h) + "x" + std::to_string(w.stride_w);
  if (w.pad_h != 0 || w.pad_w != 0) text += " pad " + std::to_string(w.pad_h) + "x" + std::to_string(w.pad_w);
  if (w.dilation_h != 1 || w.dilation_w != 1) text += " dilation " + std::to_string(w.dilation_h) + "x" + std::to_string(w.dilation_w);
  return text;
}

// Describes a Call beyond its name: windows, folded operations, lanes.
template <class C>
std::string detail(const C& c) {
  std::string text;
  const auto add = [&](const std::string& what) {
    if (!what.empty()) text += (text.empty() ? "" : " ") + what;
  };
  if constexpr (requires { c.calls; }) std::apply([&](const auto&... each) { (add(detail(each)), ...); }, c.calls);
  if constexpr (requires { c.shape.window; }) add(window(c.shape.window));
  if constexpr (requires { c.shape.groups; })
    if (c.shape.groups > 1) add("groups " + std::to_string(c.shape.groups));
  if constexpr (requires { c.precision; })
    if (c.precision != Precision::fp32) add(name_of(c.precision));
  if constexpr (requires { c.chunks; }) add("chunks " + std::to_string(c.chunks));
  if constexpr (requires { c.r; })
    if (c.r) add("add");
  if constexpr (requires { c.act; })
    if (c.act != Activation::none) add(name_of(c.act));
  if constexpr (requires { c.optimizer; }) add(name_of(c.optimizer));
  if constexpr (requires { c.dr; })
    if (c.dr) add("dr");
  if constexpr (requires { c.layers; })
    if (c.used > 1) add(std::to_string(c.used) + " layers");
  return text;
}
std::string detail(const Call& call) {
  return std::visit([](const auto& c) { return detail(c); }, call);
}

const PlanOperand* first_tensor(const PlanLine& line, bool written) {
  for (const PlanOperand& o : line.operands)
    if (o.written == written && o.dtype == DType::f32) return &o;
  return nullptr;
}

std::string pad(std::string text, std::size_t width) {
  if (text.size() < width) text.resize(width, ' ');
  return text;
}

}  // namespace

const char* name_of(Region r) {
  static constexpr const char* names[region_count] = {"parameters", "gradients", "optimizer",   "buffers",
                                                      "state",      "data",      "activations", "pack"};
  return static_cast<std::size_t>(r) < region_count ? names[static_cast<std::size_t>(r)] : "?";
}

ValueId Plan::find(std::string_view name) const {
  if (const auto it = names.find(name); it != names.end()) return it->second;
  std::vector<std::string> known;
  for (const auto& [text, id] : names) known.push_back(text);
  throw Error(ErrorKind::usage, "no value called \"" + printable(name) + "\"" + did_you_mean(name, known));
}

std::vector<PlanLine> describe(const Plan& plan) {
  std::vector<PlanLine> lines;
  for (const PlanCall& c : plan.calls) {
    const kernels::Cost cost_of_call = cost(c.call);
    PlanLine line{name_of(c.call), c.path, detail(c.call), {}, cost_of_call.bytes, cost_of_call.flops};
    std::visit(
        [&](const auto& call) {
          if constexpr (requires { call.precision; }) line.precision = call.precision;
        },
        c.call);
    for_each_operand(c.call, [&](const kernels::Operand& o) {
      if (!o.value) return;
      const PlanValue& v = plan[o.value];
      line.operands.push_back({role_of(o), v.name, v.shape, v.dtype, v.region, v.offset, v.bytes, o.access != kernels::Access::read});
    });
    lines.push_back(std::move(line));
  }
  for (std::size_t p = 0; p < plan.phases.size(); ++p)
    for (const auto* stages : {&plan.phases[p].packs, &plan.phases[p].whole})
      for (const Stage& s : *stages) {
        if (s.part == kernels::Part::finish) continue;
        PlanLine& line = lines[static_cast<std::size_t>(s.call)];
        line.phase = static_cast<int>(p);
        line.by_pack = s.part == kernels::Part::pack;
      }
  return lines;
}

MemoryReport memory(const Plan& plan) {
  MemoryReport report;
  report.bytes = plan.region_bytes;
  report.activations_without_reuse = plan.activations_without_reuse;
  return report;
}

std::string print(const Plan& plan) {
  const std::vector<PlanLine> lines = describe(plan);
  std::size_t widest = 4;
  for (const PlanLine& l : lines) widest = std::max(widest, l.call.size());
  std::string out = pad("#", 4) + pad("call", widest + 2) + pad("module", 14) + pad("output", 20) + pad("offset", 10) + pad("bytes", 10) +
                    pad("flops", 10) + "detail\n";
  double bytes = 0, flops = 0;
  const auto print_line = [&](std::size_t i) {
    const PlanLine& l = lines[i];
    const PlanOperand* o = first_tensor(l, true);
    if (!o) o = l.operands.empty() ? nullptr : &l.operands[0];
    std::string row = pad(std::to_string(i), 4) + pad(l.call, widest + 2) + pad(printable(l.path), 14) +
                      pad(o ? to_string(o->shape) : "", 20) + pad(o ? std::to_string(o->offset) : "", 10) +
                      pad(with_prefix(l.bytes, "B"), 10) + pad(with_prefix(l.flops, ""), 10) + l.detail;
    row.erase(row.find_last_not_of(' ') + 1);
    out += row + "\n";
    bytes += l.bytes;
    flops += l.flops;
  };
  for (std::size_t p = 0; p < plan.phases.size(); ++p) {
    const Phase& phase = plan.phases[p];
    if (!phase.packs.empty())
      out += "phase " + std::to_string(p + 1) + ": " + std::to_string(plan.packs()) + " packs of " + std::to_string(plan.lanes) +
             " samples, each through\n";
    for (const Stage& s : phase.packs) print_line(static_cast<std::size_t>(s.call));
    if (!phase.packs.empty() && !phase.whole.empty()) out += "  then the whole batch\n";
    for (const Stage& s : phase.whole) {
      const std::size_t i = static_cast<std::size_t>(s.call);
      if (s.part == kernels::Part::whole) print_line(i);
      else out += pad("", 4) + "totals of " + std::to_string(i) + ", " + lines[i].call + " " + printable(lines[i].path) + "\n";
    }
  }
  out += std::to_string(lines.size()) + " calls, " + with_prefix(bytes, "B") + " moved, " + with_prefix(flops, "FLOP") + ", packs of " +
         std::to_string(plan.lanes) + " samples\nmemory: ";
  for (std::size_t r = 0; r < region_count; ++r)
    if (r != static_cast<std::size_t>(Region::data))
      out += std::string(name_of(static_cast<Region>(r))) + " " + with_prefix(static_cast<double>(plan.region_bytes[r]), "B") +
             (r == static_cast<std::size_t>(Region::pack) ? " a thread" : "") + (r + 1 < region_count ? ", " : "");
  out += " (" + with_prefix(static_cast<double>(plan.activations_without_reuse), "B") + " without reuse)\n";
  return out;
}

}  // namespace norma
