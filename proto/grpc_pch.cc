// A library must have a source; what matters here is its precompiled header.
#include <grpcpp/grpcpp.h>
