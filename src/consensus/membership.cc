#include "consensus/membership.h"

#include <algorithm>
#include <set>

#include "consensus/coding.h"

namespace vectron::consensus {
namespace {

void PutReplicas(const std::vector<ReplicaId>& replicas, std::string* out) {
  PutFixed32(static_cast<uint32_t>(replicas.size()), out);
  for (const ReplicaId replica : replicas) PutFixed64(replica.value(), out);
}

std::vector<ReplicaId> GetReplicas(Reader* reader) {
  std::vector<ReplicaId> replicas;
  for (uint32_t i = reader->Fixed32(); i > 0 && reader->ok(); --i) {
    replicas.push_back(ReplicaId(reader->Fixed64()));
  }
  return replicas;
}

}  // namespace

bool Membership::Knows(ReplicaId replica) const {
  const auto has = [&](const std::vector<ReplicaId>& replicas) {
    return std::find(replicas.begin(), replicas.end(), replica) != replicas.end();
  };
  return has(voters) || has(learners) || has(voters_outgoing);
}

std::vector<Member> Membership::Members() const {
  std::vector<Member> members;
  const auto add = [&](const std::vector<ReplicaId>& replicas, bool learner) {
    for (const ReplicaId replica : replicas) {
      const auto node = nodes.find(replica);
      members.push_back({replica, node == nodes.end() ? NodeId() : node->second, learner});
    }
  };
  add(voters, false);
  add(learners, true);
  return members;
}

StatusOr<Membership> MembershipOf(const std::vector<Member>& members) {
  Membership membership;
  for (const Member& member : members) {
    if (member.replica == ReplicaId()) return InvalidArgument("replica 0 cannot be a member");
    if (!membership.nodes.emplace(member.replica, member.node).second) {
      return InvalidArgument("a replica is named twice as a member");
    }
    (member.learner ? membership.learners : membership.voters).push_back(member.replica);
  }
  if (membership.voters.empty()) return InvalidArgument("a group needs a member that votes");
  std::sort(membership.voters.begin(), membership.voters.end());
  std::sort(membership.learners.begin(), membership.learners.end());
  return membership;
}

std::string EncodeMembership(const Membership& membership) {
  std::string out;
  PutReplicas(membership.voters, &out);
  PutReplicas(membership.learners, &out);
  PutReplicas(membership.voters_outgoing, &out);
  PutReplicas(membership.learners_next, &out);
  out.push_back(membership.auto_leave ? 1 : 0);
  PutFixed32(static_cast<uint32_t>(membership.nodes.size()), &out);
  for (const auto& [replica, node] : membership.nodes) {
    PutFixed64(replica.value(), &out);
    PutFixed64(node.value(), &out);
  }
  return out;
}

StatusOr<Membership> DecodeMembership(std::string_view bytes) {
  Membership membership;
  if (bytes.empty()) return membership;
  Reader reader(bytes);
  membership.voters = GetReplicas(&reader);
  membership.learners = GetReplicas(&reader);
  membership.voters_outgoing = GetReplicas(&reader);
  membership.learners_next = GetReplicas(&reader);
  membership.auto_leave = reader.Fixed8() != 0;
  for (uint32_t i = reader.Fixed32(); i > 0 && reader.ok(); --i) {
    const ReplicaId replica(reader.Fixed64());
    membership.nodes[replica] = NodeId(reader.Fixed64());
  }
  if (!reader.Done()) return Corruption("a group's membership is malformed");
  return membership;
}

}  // namespace vectron::consensus
