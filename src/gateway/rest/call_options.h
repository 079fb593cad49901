#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/data_ops.h"
#include "common/error.h"
#include "gateway/gateway.h"
#include "gateway/rest/call.h"

namespace vectron::gateway::rest {

enum class QueryParam { kTimeout, kConsistency, kAllowPartial, kWait, kOrdering };

inline constexpr std::initializer_list<QueryParam> kReadParams = {QueryParam::kTimeout,
                                                                  QueryParam::kConsistency};
inline constexpr std::initializer_list<QueryParam> kSearchParams = {
    QueryParam::kTimeout, QueryParam::kConsistency, QueryParam::kAllowPartial};
inline constexpr std::initializer_list<QueryParam> kWriteParams = {
    QueryParam::kTimeout, QueryParam::kWait, QueryParam::kOrdering};
inline constexpr std::initializer_list<QueryParam> kTimeoutParam = {QueryParam::kTimeout};

// What the URL's query asks for. INVALID_ARGUMENT, naming it, for a parameter that is
// not in `allowed`, appears twice, or has a value that it cannot have.
StatusOr<RequestOptions> ParseCallOptions(const Call& call,
                                          std::initializer_list<QueryParam> allowed,
                                          Duration default_timeout);

// A session token as the header Vectron-Session carries it: "17:42,18:3" (shard:index).
std::string FormatSessionToken(const SessionToken& token);
StatusOr<SessionToken> ParseSessionToken(std::string_view text);

}  // namespace vectron::gateway::rest
