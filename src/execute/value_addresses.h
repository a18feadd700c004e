// Addresses of a Plan's values in an Executor's memory.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "norma/error.h"
#include "norma/text.h"
#include "src/plan/plan.h"

namespace norma {

// Addresses by value number. regions: beginning of each; bound: memory of values of Region::data, by name; null for those not bound.
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

inline const PlanValue& value_of(const Plan& plan, int value) {
  if (value < 0 || static_cast<std::size_t>(value) >= plan.values.size())
    throw Error(ErrorKind::usage,
                "this Plan has " + std::to_string(plan.values.size()) + " values, none of number " + std::to_string(value));
  return plan.values[static_cast<std::size_t>(value)];
}

// Describes a region's memory for a message: "the activations of batch size 256 (most: conv1 (256, 6, 24, 24), 3 MB)".
inline std::string purpose(const Plan& plan, Region region) {
  std::string text = std::string("the ") + name_of(region);
  if (region != Region::activations && region != Region::pack) return text;
  text += " of batch size " + std::to_string(plan.samples);
  const PlanValue* most = nullptr;
  for (const PlanValue& v : plan.values)
    if (v.region == region && (!most || v.bytes > most->bytes)) most = &v;
  return most ? text + " (most: " + printable(most->name) + " " + to_string(most->shape) + ", " + std::to_string(most->bytes >> 20) + " MB)"
              : text;
}

// Throws unless the Plan has such a value that may be read and written from outside, and has these bytes.
inline void check_access(const Plan& plan, int value, std::size_t bytes, std::size_t offset) {
  const PlanValue& v = value_of(plan, value);
  if (v.region == Region::pack)
    throw Error(ErrorKind::usage,
                "value \"" + printable(v.name) + "\" is kept for one pack of samples at a time; switch reuse of memory off to read it");
  if (v.region == Region::data || bytes > v.bytes || offset > v.bytes - bytes)
    throw Error(ErrorKind::failure, "value \"" + printable(v.name) + "\" has " + std::to_string(v.bytes) + " bytes, not " +
                                        std::to_string(bytes) + " from number " + std::to_string(offset) + " on");
}

// Returns true if a value's contents are still there at the end of a step. No value touched later then shares its memory.
inline bool survives(const Plan& plan, const PlanValue& v) {
  if (v.region == Region::pack) return false;
  // An arena as large as all its values: as each begins where another ends, none lies upon another.
  if (plan.region_bytes[static_cast<std::size_t>(Region::activations)] == plan.activations_without_reuse) return true;
  return v.region != Region::activations || std::none_of(plan.values.begin(), plan.values.end(), [&](const PlanValue& after) {
           return &after != &v && after.region == v.region && after.first > v.last && after.offset < v.offset + v.bytes &&
                  v.offset < after.offset + after.bytes;
         });
}

inline void check_survives(const Plan& plan, int value) {
  const PlanValue& v = value_of(plan, value);
  if (v.region == Region::activations && !survives(plan, v))
    throw Error(ErrorKind::usage, "the memory of value \"" + printable(v.name) +
                                      "\" is used again for what comes after it in the step; switch reuse of memory off to read it");
}

// Only a value of a data set may be bound.
inline void check_bind(const Plan& plan, int value) {
  if (const PlanValue& v = value_of(plan, value); v.region != Region::data)
    throw Error(ErrorKind::usage, "value \"" + printable(v.name) + "\" has memory of its own: write it; what is bound is a data set");
}

// Throws where a Call would read a data set that nobody bound.
inline void check_bound(const Plan& plan, const std::vector<std::byte*>& addresses) {
  for (std::size_t i = 0; i < plan.values.size(); ++i)
    if (plan.values[i].region == Region::data && !addresses[i])
      throw Error(ErrorKind::usage, "value \"" + printable(plan.values[i].name) + "\" stands for a data set, and none is bound to it");
}

// Finds an Executor's record of a Plan.
template <class Plans>
auto& prepared_for(Plans& plans, const Plan& plan) {
  const auto it = plans.find(&plan);
  if (it == plans.end()) throw Error(ErrorKind::usage, "this Plan has no memory here: Executor::prepare comes first");
  return it->second;
}

// Finds memory of a value, to be read or written from outside.
template <class Plans>
std::byte* address_of(const Plans& plans, const Plan& plan, int value, std::size_t bytes, std::size_t offset) {
  check_access(plan, value, bytes, offset);
  return prepared_for(plans, plan).addresses[static_cast<std::size_t>(value)] + offset;
}

inline void check_call(const Plan& plan, std::size_t call) {
  if (call >= plan.calls.size())
    throw Error(ErrorKind::usage, "this Plan has " + std::to_string(plan.calls.size()) + " Calls, none of number " + std::to_string(call));
}

// Throws unless each of the Plan's Calls may be run alone. A value kept for one pack of samples at a time is never whole.
inline void check_whole(const Plan& plan) {
  if (plan.region_bytes[static_cast<std::size_t>(Region::pack)] > 0)
    throw Error(ErrorKind::usage,
                "this Plan keeps values for one pack of samples at a time; switch reuse of memory off to run its Calls alone");
}

}  // namespace norma
