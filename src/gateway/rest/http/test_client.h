#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace vectron::gateway::rest {

// A blocking HTTP connection for tests, which sends exactly the bytes it is told to.
class TestClient {
 public:
  struct Response {
    int status = 0;  // 0: the server closed without a whole response
    std::string head;
    std::string body;

    // The value of a header, or "".
    std::string Header(std::string_view name) const;
  };

  explicit TestClient(uint16_t port);
  ~TestClient();
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  // False when the server has closed.
  bool Send(std::string_view bytes);
  // No more will be sent.
  void EndSending();
  // The next response; `has_body` is false for those to HEAD.
  Response Read(bool has_body = true);
  // Waits for the first bytes of a response, and leaves them; false when the server closed.
  bool Peek();
  // A request with a JSON body, and its response.
  Response Do(std::string_view method, std::string_view target, std::string_view body = {},
              std::string_view headers = {});
  // True once the server has closed and nothing more comes; false after 5 s.
  bool IsClosed();

 private:
  bool Fill();

  int socket_ = -1;
  std::string buffer_;
};

// The bytes of a request.
std::string MakeRequest(std::string_view method, std::string_view target, std::string_view body,
                        std::string_view headers = {});

}  // namespace vectron::gateway::rest
