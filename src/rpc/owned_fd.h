#pragma once

#include <unistd.h>

#include <memory>
#include <utility>

namespace vectron::rpc {

// A file descriptor that is closed with its owner.
class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) : fd_(fd) {}
  ~OwnedFd() {
    if (fd_ >= 0) close(fd_);
  }
  OwnedFd(OwnedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// A client's connection that was taken in: it has its place among those that there may be until
// it is destroyed.
struct AdmittedSocket {
  // Gives the place back when its last copy goes; before it, as it is below, the socket is closed.
  std::shared_ptr<void> place;
  OwnedFd fd;
};

}  // namespace vectron::rpc
