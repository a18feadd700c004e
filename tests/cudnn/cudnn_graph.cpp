#include "tests/cudnn/cudnn_graph.h"

#include <stdexcept>
#include <string>

#include "tests/cudnn/device.h"

namespace norma::test {
namespace {

BackendDescriptor plan_with(const BackendDescriptor& configuration) {
  BackendDescriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, cudnn());
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, configuration.get());
  plan.finalize("the execution plan");
  return plan;
}

// Best first.
std::vector<BackendDescriptor> configurations(const BackendDescriptor& graph, cudnnBackendHeurMode_t mode) {
  BackendDescriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, graph.get());
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode);
  heuristics.finalize("the heuristics");
  std::int64_t count = 0;
  check(cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr),
        "cudnnBackendGetAttribute: how many engine configurations there are");
  std::vector<BackendDescriptor> found;
  std::vector<cudnnBackendDescriptor_t> descriptors;
  for (std::int64_t i = 0; i < count; ++i) descriptors.push_back(found.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get());
  if (count == 0) return found;
  std::int64_t filled = 0;
  check(cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &filled,
                                 descriptors.data()),
        "cudnnBackendGetAttribute: engine configurations");
  while (static_cast<std::int64_t>(found.size()) > filled) found.pop_back();
  return found;
}

}  // namespace

BackendDescriptor::BackendDescriptor(cudnnBackendDescriptorType_t type) {
  check(cudnnBackendCreateDescriptor(type, &descriptor_), "cudnnBackendCreateDescriptor");
}

BackendDescriptor::~BackendDescriptor() {
  if (descriptor_) cudnnBackendDestroyDescriptor(descriptor_);
}

void BackendDescriptor::finalize(const char* what) {
  check(cudnnBackendFinalize(descriptor_), (std::string("cudnnBackendFinalize of ") + what).c_str());
}

void BackendDescriptor::set_elements(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
                                     const void* values) {
  check(cudnnBackendSetAttribute(descriptor_, name, type, count, values),
        ("cudnnBackendSetAttribute of attribute " + std::to_string(name)).c_str());
}

GraphOperation::Slot GraphOperation::tensor(cudnnBackendAttributeName_t role, const TensorExtents& dims, const TensorExtents& strides,
                                            void* data) {
  return add(role, dims, strides, data, false);
}

GraphOperation::Slot GraphOperation::scalar(cudnnBackendAttributeName_t role, float value) {
  return add(role, {1, 1, 1, 1}, {1, 1, 1, 1}, &scalars_.emplace_back(value), true);
}

GraphOperation::Slot GraphOperation::add(cudnnBackendAttributeName_t role, const TensorExtents& dims, const TensorExtents& strides,
                                         void* data, bool by_value) {
  const std::int64_t id = static_cast<std::int64_t>(ids_.size()) + 1, alignment = 16;
  BackendDescriptor& t = tensors_.emplace_back(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  t.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
  t.set_array(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, std::span<const std::int64_t>(dims));
  t.set_array(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, std::span<const std::int64_t>(strides));
  t.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, id);
  t.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, alignment);
  t.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, false);
  t.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, by_value);
  t.finalize("a tensor");
  operation_.set(role, CUDNN_TYPE_BACKEND_DESCRIPTOR, t.get());
  ids_.push_back(id);
  addresses_.push_back(data);
  return addresses_.size() - 1;
}

// cuDNN may refuse a graph, a heuristic mode or an engine. That way then has no plan, and the last reason is reported.
void GraphOperation::make_plan() {
  operation_.finalize("the operation");
  std::string reason = "no engine configuration";
  graph_.emplace(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph_->set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, cudnn());
  graph_->set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, operation_.get());
  try {
    graph_->finalize("the operation graph");
  } catch (const std::runtime_error& e) {
    throw Unsupported(e.what());
  }
  for (cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    try {
      for (BackendDescriptor& configuration : configurations(*graph_, mode)) {
        try {
          plan_.emplace(plan_with(configuration));
          configuration_.emplace(std::move(configuration));
          return;
        } catch (const std::runtime_error& e) {
          reason = e.what();
        }
      }
    } catch (const std::runtime_error& e) {
      reason = e.what();
    }
  }
  throw Unsupported(reason);
}

std::size_t GraphOperation::workspace_bytes() {
  if (!plan_) make_plan();
  std::int64_t bytes = 0, count = 0;
  check(cudnnBackendGetAttribute(plan_->get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count, &bytes),
        "cudnnBackendGetAttribute: workspace size");
  return static_cast<std::size_t>(bytes);
}

BackendDescriptor GraphOperation::variant_pack(void* workspace) const {
  BackendDescriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set_array(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, std::span<const std::int64_t>(ids_));
  pack.set_array(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, std::span<void* const>(addresses_));
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace);
  pack.finalize("the variant pack");
  return pack;
}

void GraphOperation::enqueue(const BackendDescriptor& variant_pack) const {
  check(cudnnBackendExecute(cudnn(), plan_->get(), variant_pack.get()), "cudnnBackendExecute");
}

void GraphOperation::run() {
  const DeviceBuffer workspace("workspace", workspace_bytes());
  check(cudaMemset(workspace.data(), 0, workspace.bytes()), "cudaMemset of the workspace");
  enqueue(variant_pack(workspace.data()));
  check(cudaDeviceSynchronize(), "cudnnBackendExecute");
}

}  // namespace norma::test
