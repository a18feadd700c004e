// oneDNN, from norma_onednn.so in the program's folder: one pass of an operation, timed alternately with norma's.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "apps/yardsticks/onednn.h"

namespace norma::app {

class Yardstick {
 public:
  // Loads norma_onednn.so from a folder. If that fails the yardstick is absent, and missing() gives the reason and the remedy.
  explicit Yardstick(const std::filesystem::path& folder);

  bool present() const { return api_ != nullptr; }
  const std::string& missing() const { return missing_; }
  std::string library() const { return api_ ? api_->library : ""; }

  class Pass {
   public:
    double run();                                      // seconds; throws Error(failure)
    std::vector<float> read(std::size_t count) const;  // its result in NCHW; throws Error(failure)
    std::string implementation() const { return api_->implementation(operation_.get()); }

   private:
    friend class Yardstick;
    Pass(const NormaOnednn* api, void* operation) : api_(api), operation_(operation, api->destroy) {}
    const NormaOnednn* api_;
    std::unique_ptr<void, void (*)(void*)> operation_;
  };
  // Only where present. Throws Error(failure) with oneDNN's reason.
  Pass pass(const NormaOnednnShape& shape, NormaOnednnPass pass, int threads, const NormaOnednnData& data) const;

 private:
  std::string missing_;
  const NormaOnednn* api_;
};

}  // namespace norma::app
