// Where a Plan's values are in an Executor's memory.
#pragma once
#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "norma/error.h"
#include "src/plan.h"

namespace norma {

// By value number. regions: where each begins; bound: what stands for values of Region::data, by name; null for those not bound.
inline std::vector<std::byte*> locate(const Plan& plan, const std::array<std::byte*, region_count>& regions,
                                      const std::map<std::string, std::byte*>& bound) {
  std::vector<std::byte*> addresses;
  for (const PlanValue& v : plan.values) {
    if (v.region == Region::data) {
      const auto it = bound.find(v.name);
      addresses.push_back(it == bound.end() ? nullptr : it->second);
    } else {
      addresses.push_back(regions[static_cast<std::size_t>(v.region)] + v.offset);
    }
  }
  return addresses;
}

// What a region's memory is for, for a message: "the activations of batch size 256 (most: conv1 (256, 6, 24, 24), 3 MB)".
inline std::string purpose(const Plan& plan, Region region) {
  std::string text = std::string("the ") + name_of(region);
  if (region != Region::activations && region != Region::group) return text;
  text += " of batch size " + std::to_string(plan.samples);
  const PlanValue* most = nullptr;
  for (const PlanValue& v : plan.values)
    if (v.region == region && (!most || v.bytes > most->bytes)) most = &v;
  return most ? text + " (most: " + most->name + " " + to_string(most->shape) + ", " + std::to_string(most->bytes >> 20) + " MB)" : text;
}

// Throws unless the value may be read and written from outside, and has these bytes.
inline void check_access(const PlanValue& v, std::size_t bytes, std::size_t offset) {
  if (v.region == Region::group)
    throw Error(ErrorKind::usage,
                "value \"" + v.name + "\" is kept for one group of samples at a time; switch reuse of memory off to read it");
  if (v.region == Region::data || offset + bytes > v.bytes)
    throw Error(ErrorKind::failure,
                "value \"" + v.name + "\" has " + std::to_string(v.bytes) + " bytes, not " + std::to_string(offset + bytes));
}

// Throws unless each of the Plan's Calls may be run alone: a value that is kept for one group of samples at a time is never whole.
inline void check_whole(const Plan& plan) {
  if (plan.region_bytes[static_cast<std::size_t>(Region::group)] > 0)
    throw Error(ErrorKind::usage,
                "this Plan keeps values for one group of samples at a time; switch reuse of memory off to run its Calls alone");
}

}  // namespace norma
