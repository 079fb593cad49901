#include "gateway/rest/http/test_client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdlib>

#include "common/check.h"

namespace vectron::gateway::rest {

std::string TestClient::Response::Header(std::string_view name) const {
  const size_t at = head.find(fmt::format("\r\n{}: ", name));
  if (at == std::string::npos) return {};
  const size_t begin = at + name.size() + 4;
  return head.substr(begin, head.find("\r\n", begin) - begin);
}

TestClient::TestClient(uint16_t port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
  VECTRON_CHECK(socket_ >= 0);
  timeval timeout{.tv_sec = 5, .tv_usec = 0};
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  VECTRON_CHECK(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
}

TestClient::~TestClient() { close(socket_); }

bool TestClient::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

void TestClient::EndSending() { shutdown(socket_, SHUT_WR); }

bool TestClient::Fill() {
  char bytes[64 << 10];
  const ssize_t count = recv(socket_, bytes, sizeof(bytes), 0);
  if (count <= 0) return false;
  buffer_.append(bytes, static_cast<size_t>(count));
  return true;
}

TestClient::Response TestClient::Read(bool has_body) {
  size_t end = std::string::npos;
  while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (!Fill()) return {};
  }
  Response response;
  response.head = buffer_.substr(0, end + 2);
  buffer_.erase(0, end + 4);
  response.status = std::atoi(response.head.c_str() + 9);
  const std::string length = response.Header("Content-Length");
  const size_t bytes = length.empty() || !has_body ? 0 : std::strtoull(length.c_str(), nullptr, 10);
  while (buffer_.size() < bytes) {
    if (!Fill()) return {};
  }
  response.body = buffer_.substr(0, bytes);
  buffer_.erase(0, bytes);
  return response;
}

TestClient::Response TestClient::Do(std::string_view method, std::string_view target,
                                    std::string_view body, std::string_view headers) {
  if (!Send(MakeRequest(method, target, body, headers))) return {};
  return Read(method != "HEAD");
}

bool TestClient::Peek() {
  char byte = 0;
  return !buffer_.empty() || recv(socket_, &byte, 1, MSG_PEEK) == 1;
}

bool TestClient::IsClosed() {
  if (!buffer_.empty()) return false;
  char byte = 0;
  const ssize_t count = recv(socket_, &byte, 1, 0);
  return count == 0 || (count < 0 && errno == ECONNRESET);
}

std::string MakeRequest(std::string_view method, std::string_view target, std::string_view body,
                        std::string_view headers) {
  std::string request = fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\n", method, target);
  if (!body.empty()) {
    request += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", body.size());
  }
  request.append(headers).append("\r\n").append(body);
  return request;
}

}  // namespace vectron::gateway::rest
