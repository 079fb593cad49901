#pragma once

#include <string>
#include <string_view>

#include "common/error.h"
#include "gateway/rest/http/types.h"

namespace vectron::gateway::rest {

// The envelope of every JSON answer: {"result":RESULT,"status":"ok","time":SECONDS}.
// `result` is JSON text; `extra`, if any, is further members ("\"a\":1").
HttpResponse MakeOkResponse(std::string result, double seconds, std::string_view extra = {});

// The code of HttpCodeOf and {"result":RESULT,"status":{"error":MESSAGE,"reason":REASON,
// "details":{...}},"time":SECONDS}; `result` is null unless given. With
// Retry-After for overload, and for 503 whose details have "retry_after_ms".
HttpResponse MakeErrorResponse(const Status& status, double seconds,
                               std::string_view result = "null");

}  // namespace vectron::gateway::rest
