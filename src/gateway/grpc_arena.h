#pragma once

#include <google/protobuf/arena.h>
#include <grpcpp/support/message_allocator.h>

namespace vectron::gateway {

// Puts the request and the response of a unary call into one arena, whose first
// block is part of the holder: a small call allocates once, and a batch of a
// thousand points is freed in a few steps instead of thousands.
template <typename Request, typename Response>
class ArenaAllocator final : public grpc::MessageAllocator<Request, Response> {
 public:
  grpc::MessageHolder<Request, Response>* AllocateMessages() override { return new Holder(); }

 private:
  class Holder final : public grpc::MessageHolder<Request, Response> {
   public:
    Holder() : arena_(OptionsWith(first_block_, sizeof(first_block_))) {
      this->set_request(google::protobuf::Arena::CreateMessage<Request>(&arena_));
      this->set_response(google::protobuf::Arena::CreateMessage<Response>(&arena_));
    }
    void Release() override { delete this; }

   private:
    static google::protobuf::ArenaOptions OptionsWith(char* block, size_t bytes) {
      google::protobuf::ArenaOptions options;
      options.initial_block = block;
      options.initial_block_size = bytes;
      options.start_block_size = 16 << 10;
      options.max_block_size = 256 << 10;
      return options;
    }

    alignas(16) char first_block_[4096];
    google::protobuf::Arena arena_;
  };
};

}  // namespace vectron::gateway
