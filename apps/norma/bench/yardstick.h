// Other libraries, from modules in the program's folder, timed alternately with norma: oneDNN's operations, CUB's reductions.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "apps/yardsticks/cub.h"
#include "apps/yardsticks/onednn.h"

namespace norma::app {

// oneDNN: one pass of an operation.
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

// CUB: what it does with tensors on a GPU.
class Cub {
 public:
  // Loads norma_cub.so from a folder. If that fails CUB is absent, and missing() gives the reason and the remedy.
  explicit Cub(const std::filesystem::path& folder);
  explicit Cub(const NormaCub& api) : api_(&api) {}

  bool present() const { return api_ != nullptr; }
  const std::string& missing() const { return missing_; }
  std::string library() const { return api_ ? api_->library : ""; }

  class Tensors {
   public:
    double seconds(NormaCubWork work);  // of one tensor; throws Error(failure) with CUB's reason

   private:
    friend class Cub;
    Tensors(const NormaCub* api, void* tensors) : api_(api), tensors_(tensors, api->destroy) {}
    const NormaCub* api_;
    std::unique_ptr<void, void (*)(void*)> tensors_;
  };
  // Twice `copies` of them. Only where present. Throws Error(failure) with CUB's reason.
  Tensors tensors(int gpu, const NormaCubTensor& tensor, std::int64_t copies) const;

 private:
  std::string missing_;
  const NormaCub* api_;
};

}  // namespace norma::app
