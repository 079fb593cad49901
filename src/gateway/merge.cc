#include "gateway/merge.h"

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <algorithm>
#include <iterator>
#include <type_traits>

#include "common/check.h"

namespace vectron::gateway {
namespace {

size_t IndexOf(const ShardPointers& shards, const PointId& id) {
  const uint64_t hash = id.RingHash();
  const auto it = std::partition_point(
      shards.begin(), shards.end(),
      [hash](const rpc::ShardInfo* shard) { return shard->range.last < hash; });
  VECTRON_CHECK(it != shards.end() && (*it)->range.Contains(hash));
  return static_cast<size_t>(it - shards.begin());
}

const PointId& IdOf(const Point& point) { return point.id; }
const PointId& IdOf(const PointId& id) { return id; }

// The points, or ids, of an operation.
template <typename Op>
auto& ItemsOf(Op& op) {
  if constexpr (std::is_same_v<std::remove_const_t<Op>, UpsertPoints>) {
    return op.points;
  } else {
    return op.ids;
  }
}

template <typename Item>
std::vector<std::vector<Item>> SplitItems(std::vector<Item> items, const ShardPointers& shards) {
  std::vector<size_t> places(items.size());
  std::vector<size_t> counts(shards.size());
  for (size_t i = 0; i < items.size(); ++i) {
    places[i] = IndexOf(shards, IdOf(items[i]));
    ++counts[places[i]];
  }
  std::vector<std::vector<Item>> pieces(shards.size());
  for (size_t i = 0; i < shards.size(); ++i) pieces[i].reserve(counts[i]);
  for (size_t i = 0; i < items.size(); ++i) pieces[places[i]].push_back(std::move(items[i]));
  return pieces;
}

}  // namespace

std::vector<std::pair<const rpc::ShardInfo*, WriteOp>> SplitWrite(WriteOp op,
                                                                  const ShardPointers& shards) {
  std::vector<std::pair<const rpc::ShardInfo*, WriteOp>> parts;
  if (shards.size() == 1) {
    parts.emplace_back(shards[0], std::move(op));
    return parts;
  }
  std::visit(
      [&](auto& typed) {
        auto pieces = SplitItems(std::exchange(ItemsOf(typed), {}), shards);
        for (size_t i = 0; i < shards.size(); ++i) {
          if (pieces[i].empty()) continue;
          auto piece = typed;  // what else there is, for every shard
          ItemsOf(piece) = std::move(pieces[i]);
          parts.emplace_back(shards[i], std::move(piece));
        }
      },
      op);
  return parts;
}

std::vector<std::pair<const rpc::ShardInfo*, std::vector<PointId>>> SplitIds(
    std::vector<PointId> ids, const ShardPointers& shards) {
  std::vector<std::pair<const rpc::ShardInfo*, std::vector<PointId>>> parts;
  if (shards.size() == 1) {
    parts.emplace_back(shards[0], std::move(ids));
    return parts;
  }
  auto pieces = SplitItems(std::move(ids), shards);
  for (size_t i = 0; i < shards.size(); ++i) {
    if (!pieces[i].empty()) parts.emplace_back(shards[i], std::move(pieces[i]));
  }
  return parts;
}

std::vector<PointId> IdsOf(const WriteOp& op) {
  std::vector<PointId> ids;
  std::visit(
      [&](const auto& typed) {
        for (const auto& item : ItemsOf(typed)) ids.push_back(IdOf(item));
      },
      op);
  return WithoutRepetitions(std::move(ids));
}

std::vector<PointId> WithoutRepetitions(std::vector<PointId> ids) {
  if (ids.size() < 2) return ids;
  absl::flat_hash_set<PointId> seen;
  seen.reserve(ids.size());
  const auto end = std::remove_if(ids.begin(), ids.end(),
                                  [&](const PointId& id) { return !seen.insert(id).second; });
  ids.erase(end, ids.end());
  return ids;
}

std::vector<ScoredRecord> MergeTopK(const std::vector<std::vector<ScoredRecord>*>& lists,
                                    uint32_t k, Metric metric) {
  std::vector<ScoredRecord> merged;
  size_t count = 0;
  for (const auto* list : lists) count += list->size();
  merged.reserve(count);
  for (auto* list : lists) {
    std::move(list->begin(), list->end(), std::back_inserter(merged));
  }
  const auto better = [metric](const ScoredRecord& a, const ScoredRecord& b) {
    if (a.score != b.score) return IsBetterScore(metric, a.score, b.score);
    return a.record.id < b.record.id;
  };
  const size_t kept = std::min<size_t>(k, merged.size());
  std::partial_sort(merged.begin(), merged.begin() + static_cast<ptrdiff_t>(kept), merged.end(),
                    better);
  merged.resize(kept);
  return merged;
}

ScrollPage MergePages(const std::vector<ScrollPage*>& pages, uint32_t limit) {
  ScrollPage merged;
  // A shard may have more from its `next` on, so up to the smallest of them, and no
  // further, every id is known.
  for (ScrollPage* page : pages) {
    if (page->next.has_value() && (!merged.next.has_value() || *page->next < *merged.next)) {
      merged.next = page->next;
    }
    std::move(page->records.begin(), page->records.end(), std::back_inserter(merged.records));
  }
  std::sort(merged.records.begin(), merged.records.end(),
            [](const Record& a, const Record& b) { return a.id < b.id; });
  const auto known_end = std::partition_point(
      merged.records.begin(), merged.records.end(),
      [&](const Record& record) { return !merged.next.has_value() || record.id < *merged.next; });
  const size_t known = static_cast<size_t>(known_end - merged.records.begin());
  if (known > limit) merged.next = merged.records[limit].id;
  merged.records.resize(std::min<size_t>(known, limit));
  return merged;
}

void CutPage(size_t bytes_max, ScrollPage* page) {
  std::vector<Record>& records = page->records;
  size_t bytes = 0;
  for (size_t i = 0; i < records.size(); ++i) {
    bytes += ContentBytes(records[i]);
    if (i == 0 || bytes <= bytes_max) continue;
    page->next = std::move(records[i].id);
    return records.resize(i);
  }
}

void AddSeen(const SessionToken& other, SessionToken* token) {
  if (other.seen.empty()) return;
  auto& seen = token->seen;
  seen.insert(seen.end(), other.seen.begin(), other.seen.end());
  std::sort(seen.begin(), seen.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : a.second > b.second;
  });
  const auto end = std::unique(seen.begin(), seen.end(),
                               [](const auto& a, const auto& b) { return a.first == b.first; });
  seen.erase(end, seen.end());
}

std::vector<Record> OrderByIds(const std::vector<PointId>& ids, std::vector<Record> found) {
  absl::flat_hash_map<PointId, size_t> places;
  places.reserve(found.size());
  for (size_t i = 0; i < found.size(); ++i) places.emplace(found[i].id, i);
  std::vector<Record> ordered;
  ordered.reserve(found.size());
  for (const PointId& id : ids) {
    const auto it = places.find(id);
    if (it != places.end()) ordered.push_back(std::move(found[it->second]));
  }
  return ordered;
}

}  // namespace vectron::gateway
