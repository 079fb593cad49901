#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "common/ids.h"
#include "consensus/host.h"

namespace vectron::consensus {

// Who belongs to a group. While a change is under way (joint consensus, Raft thesis
// section 4.3) both the new voters and the outgoing ones have a say.
struct Membership {
  std::vector<ReplicaId> voters;
  std::vector<ReplicaId> learners;
  std::vector<ReplicaId> voters_outgoing;
  std::vector<ReplicaId> learners_next;  // outgoing voters that become learners
  bool auto_leave = false;
  std::map<ReplicaId, NodeId> nodes;  // where they live

  bool IsJoint() const { return !voters_outgoing.empty(); }
  bool Knows(ReplicaId replica) const;
  // Voters before learners, each by replica. Outgoing voters are left out.
  std::vector<Member> Members() const;

  bool operator==(const Membership&) const = default;
};

// INVALID_ARGUMENT unless there is a voter and no replica twice.
StatusOr<Membership> MembershipOf(const std::vector<Member>& members);

std::string EncodeMembership(const Membership& membership);
// CORRUPTION if `bytes` are not what EncodeMembership gave. Empty bytes are the
// empty membership of a replica that has not heard from its leader yet.
StatusOr<Membership> DecodeMembership(std::string_view bytes);

}  // namespace vectron::consensus
