#include "hnswlib_index.h"

#include <hnswlib/hnswlib.h>

namespace vectron::bench {

struct HnswlibIndex::Impl {
  std::unique_ptr<hnswlib::SpaceInterface<float>> space;
  std::unique_ptr<hnswlib::HierarchicalNSW<float>> graph;
};

HnswlibIndex::HnswlibIndex(Metric metric, size_t dimension, size_t capacity, size_t m,
                           size_t ef_construction)
    : impl_(std::make_unique<Impl>()) {
  if (metric == Metric::kL2) {
    impl_->space = std::make_unique<hnswlib::L2Space>(dimension);
  } else {
    impl_->space = std::make_unique<hnswlib::InnerProductSpace>(dimension);
  }
  impl_->graph = std::make_unique<hnswlib::HierarchicalNSW<float>>(impl_->space.get(), capacity, m,
                                                                   ef_construction);
}

HnswlibIndex::~HnswlibIndex() = default;

void HnswlibIndex::Add(const float* vector, uint32_t label) {
  impl_->graph->addPoint(vector, label);
}

void HnswlibIndex::SetEf(size_t ef) { impl_->graph->setEf(ef); }

void HnswlibIndex::Search(const float* query, size_t k, std::vector<uint32_t>* labels) const {
  labels->clear();
  for (auto found = impl_->graph->searchKnn(query, k); !found.empty(); found.pop()) {
    labels->push_back(static_cast<uint32_t>(found.top().second));
  }
}

uint64_t HnswlibIndex::memory_bytes() const {
  const auto& graph = *impl_->graph;
  uint64_t bytes = graph.max_elements_ * (graph.size_data_per_element_ + sizeof(void*));
  for (size_t i = 0; i < graph.cur_element_count; ++i) {
    bytes += static_cast<uint64_t>(graph.element_levels_[i]) * graph.size_links_per_element_;
  }
  return bytes;
}

}  // namespace vectron::bench
