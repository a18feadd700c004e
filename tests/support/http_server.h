// An HTTP server on 127.0.0.1 for tests of downloads: a handler per request writes whatever bytes it likes, honest or not.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace norma::test {

class HttpServer {
 public:
  // The other end of one request. It is closed when the handler returns.
  class Connection {
   public:
    Connection(int fd, const std::atomic<bool>& stop, std::string asked) : path(std::move(asked)), fd_(fd), stop_(stop) {}
    // The requested path: "/good/t10k-labels-idx1-ubyte.gz".
    const std::string path;

    void send(std::string_view bytes) {
      while (!bytes.empty()) {
        const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n <= 0) return;  // the client hung up
        bytes.remove_prefix(static_cast<std::size_t>(n));
      }
    }
    // A whole, honest answer.
    void reply(const std::string& status, std::string_view body, const std::string& headers = "") {
      send("HTTP/1.1 " + status + "\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + headers + "\r\n");
      send(body);
    }
    // Says nothing more until the client hangs up or the server stops.
    void hang() {
      while (!stop_) {
        pollfd watch{fd_, POLLIN, 0};
        char byte;
        if (poll(&watch, 1, 20) > 0 && recv(fd_, &byte, 1, 0) <= 0) return;
      }
    }
    // Ends with a reset instead of an orderly close.
    void reset() {
      const linger now{1, 0};
      setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }

   private:
    int fd_;
    const std::atomic<bool>& stop_;
  };
  using Handler = std::function<void(Connection&)>;

  explicit HttpServer(Handler handler) : handler_(std::move(handler)) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (listener_ < 0 || bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener_, 16) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      throw std::runtime_error("HttpServer: no socket on 127.0.0.1");
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~HttpServer() {
    stop_ = true;
    acceptor_.join();
    for (std::thread& worker : workers_) worker.join();
    close(listener_);
  }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // "http://127.0.0.1:PORT/" + path
  std::string url(const std::string& path = "") const { return "http://127.0.0.1:" + std::to_string(port_) + "/" + path; }

  // Paths asked for so far, in order.
  std::vector<std::string> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void accept_all() {
    while (!stop_) {
      pollfd watch{listener_, POLLIN, 0};
      if (poll(&watch, 1, 20) <= 0) continue;
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd >= 0) workers_.emplace_back([this, fd] { serve(fd); });
    }
  }

  void serve(int fd) {
    std::string request;
    char buffer[4096];
    while (request.find("\r\n\r\n") == std::string::npos) {
      const ssize_t n = recv(fd, buffer, sizeof buffer, 0);
      if (n <= 0) break;
      request.append(buffer, static_cast<std::size_t>(n));
    }
    const std::size_t from = request.find(' ') + 1, to = request.find(' ', from);
    if (to != std::string::npos) {
      Connection connection(fd, stop_, request.substr(from, to - from));
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(connection.path);
      }
      handler_(connection);
    }
    close(fd);
  }

  Handler handler_;
  int listener_ = -1, port_ = 0;
  std::atomic<bool> stop_{false};
  std::thread acceptor_;
  std::vector<std::thread> workers_;  // touched by the acceptor until it is joined
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
};

}  // namespace norma::test
