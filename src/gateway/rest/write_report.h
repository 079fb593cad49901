#pragma once

#include "gateway/gateway.h"
#include "gateway/rest/call.h"

namespace vectron::gateway::rest {

// Answers a write: {"operation_id":N,"status":"completed"}, or the error with the ids that
// are done, not done and unknown. N is the highest log index of the shards that took part.
void SendWriteReport(const CallPtr& call, const WriteReport& report);

// Adds the header Vectron-Session, unless the token is empty.
void AddSessionHeader(const CallPtr& call, const SessionToken& token);

}  // namespace vectron::gateway::rest
