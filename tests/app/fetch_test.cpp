// Downloads against a server on loopback that truncates, lies, redirects, stalls and dies. A bad mirror never matters where a good one
// follows. It never leaves anything behind where none does.
#include "apps/norma/files/fetch.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <functional>
#include <map>
#include <set>
#include <stdexcept>

#include "norma/dataset.h"
#include "norma/norma.h"
#include "tests/support/environment_variable.h"
#include "tests/support/expect_error.h"
#include "tests/support/http_server.h"
#include "tests/support/idx_files.h"
#include "tests/support/temporary_folder.h"

namespace norma::app {
namespace {

namespace fs = std::filesystem;
using namespace test;
using Connection = HttpServer::Connection;

const std::string file_name = "t10k-labels-idx1-ubyte", packed_name = file_name + ".gz", part_name = "." + packed_name + ".norma-part";

// A gzip stream of the right length and the wrong bytes.
std::string wrong_labels() { return gzip(idx_labels(10000, 10)); }

// One way of being a bad mirror, and what must be said of it.
struct Badness {
  std::string name;
  std::function<void(Connection&)> behave;
  std::string words;
};

const std::vector<Badness>& badnesses() {
  static const std::vector<Badness> all = {
      {"not_found", [](Connection& c) { c.reply("404 Not Found", "<html>no</html>"); }, "HTTP status 404"},
      {"server_error", [](Connection& c) { c.reply("500 Internal Server Error", ""); }, "HTTP status 500"},
      {"no_content", [](Connection& c) { c.reply("204 No Content", ""); }, "HTTP status 204"},
      {"html",
       [](Connection& c) { c.reply("200 OK", "\n<!DOCTYPE html><html><title>Log in</title></html>", "Content-Type: text/html\r\n"); },
       "an HTML page"},
      {"html_called_gzip", [](Connection& c) { c.reply("200 OK", "<HTML>Log in</HTML>", "Content-Type: application/gzip\r\n"); },
       "an HTML page"},
      {"xml", [](Connection& c) { c.reply("200 OK", "<?xml version=\"1.0\"?><Error/>"); }, "an XML message"},
      {"text", [](Connection& c) { c.reply("200 OK", "hello"); }, "not a gzip file"},
      {"empty", [](Connection& c) { c.reply("200 OK", ""); }, "empty answer"},
      {"one_byte", [](Connection& c) { c.reply("200 OK", "\x1f"); }, "not a gzip file"},
      {"wrong_bytes", [](Connection& c) { c.reply("200 OK", wrong_labels()); }, "other bytes than published"},
      {"cut_whole", [](Connection& c) { c.reply("200 OK", wrong_labels().substr(0, 40)); }, "gzip stream is cut short at byte 40"},
      {"no_length_cut", [](Connection& c) { c.send("HTTP/1.0 200 OK\r\n\r\n" + wrong_labels().substr(0, 33)); }, "cut short at byte 33"},
      {"too_long", [](Connection& c) { c.reply("200 OK", gzip(std::string(20000, 'x'))); }, "more than the 10008 bytes published"},
      {"dies", [](Connection& c) { c.send("HTTP/1.1 200 OK\r\nContent-Length: 4444\r\n\r\n" + wrong_labels().substr(0, 50)); },
       "connection ended after 50 of 4444 bytes"},
      {"resets",
       [](Connection& c) {
         c.send("HTTP/1.1 200 OK\r\nContent-Length: 4444\r\n\r\n" + wrong_labels().substr(0, 50));
         c.reset();
       },
       ""},
      {"closes_at_once", [](Connection&) {}, "Empty reply from server"},
      {"no_http", [](Connection& c) { c.send("SSH-2.0-OpenSSH_9.2\r\n"); }, "HTTP/0.9"},
      {"announces_too_much", [](Connection& c) { c.reply("200 OK", wrong_labels().substr(0, 30), "Content-Length: 10\r\n"); }, ""},
      {"bad_chunks", [](Connection& c) { c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\x1f\x8b"); }, ""},
      {"redirects_for_ever", [](Connection& c) { c.reply("302 Found", "", "Location: " + c.path + "\r\n"); }, "redirects"},
      {"redirects_to_a_file", [](Connection& c) { c.reply("301 Moved", "", "Location: file:///etc/passwd\r\n"); }, "rotocol"},
      {"stalls", [](Connection& c) { c.hang(); }, "stalled: 0 bytes in 1.5 s"},
      {"stalls_midway",
       [](Connection& c) {
         c.send("HTTP/1.1 200 OK\r\nContent-Length: 4444\r\n\r\n" + wrong_labels().substr(0, 50));
         c.hang();
       },
       "stalled: 50 bytes in 1.5 s"},
  };
  return all;
}

// The published file, gzip as it is here; empty where no data set is.
const std::string& good_file(std::string& set) {
  static std::map<std::string, std::string> files;
  if (files.empty())
    for (const std::string& name : known_datasets())
      if (const auto folder = find_dataset(name)) {
        const std::string bytes = read_bytes(*folder / packed_name);
        if (!bytes.empty()) files[name] = bytes;
      }
  static const std::string none;
  if (files.empty()) return none;
  set = files.begin()->first;
  return files.begin()->second;
}

class Fetch : public ::testing::Test {
 protected:
  // /<badness>/..., /good/..., /redirect/... (to good), /large/... (100 kB).
  void answer(Connection& c) const {
    const std::string first = c.path.substr(1, c.path.find('/', 1) - 1);
    for (const Badness& bad : badnesses())
      if (bad.name == first) return bad.behave(c);
    if (first == "large") return c.reply("200 OK", "\x1f\x8b" + std::string(100000, 'x'));
    if (first == "good") return c.reply("200 OK", good_);
    if (first == "redirect") return c.reply("302 Found", "", "Location: /good/" + packed_name + "\r\n");
    c.reply("418 I'm a teapot", "");
  }

  bool need_good_file() {
    good_ = good_file(set_);
    return !good_.empty();
  }
  FetchOptions options(std::vector<std::string> paths) const {
    FetchOptions options;
    for (const std::string& path : paths) options.mirrors.push_back(server_.url(path));
    options.connect_seconds = 5;
    options.stall_seconds = 1.5;
    return options;
  }

  std::string set_ = "mnist", good_;
  const EnvironmentVariable proxy_{"no_proxy", "127.0.0.1"}, own_mirror_{"NORMA_MIRROR", nullptr};
  TemporaryFolder folder_;
  HttpServer server_{[this](Connection& c) { answer(c); }};
};
#define REQUIRE_GOOD_FILE() \
  if (!need_good_file()) GTEST_SKIP() << "neither MNIST nor Fashion-MNIST is here as .gz to be served: set NORMA_DATA_DIR"

TEST_F(Fetch, BringsAFileThroughARedirect) {
  REQUIRE_GOOD_FILE();
  FetchOptions o = options({"redirect"});
  std::vector<FetchProgress> seen;
  o.on_progress = [&](const FetchProgress& p) {
    seen.push_back(p);
    return true;
  };
  EXPECT_TRUE(fetch_file(set_, file_name, folder_ / "new/folder", o));
  EXPECT_EQ(read_bytes(folder_ / "new/folder" / packed_name), good_);
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.back().done, good_.size());
  EXPECT_EQ(seen.back().total, good_.size());
  EXPECT_EQ(seen.back().file, packed_name);
  EXPECT_EQ(seen.back().url, server_.url("redirect/" + packed_name));
  EXPECT_EQ(server_.requests().size(), 2u);
  EXPECT_TRUE(fetch_file(set_, file_name, folder_ / "new/folder", o));
  EXPECT_EQ(server_.requests().size(), 2u) << "what is there and right is not fetched again";
}

TEST_F(Fetch, AnyBadMirrorThenAGoodOne) {
  REQUIRE_GOOD_FILE();
  for (const Badness& bad : badnesses()) {
    SCOPED_TRACE(bad.name);
    FetchOptions o = options({bad.name, "good"});
    std::vector<std::string> warnings;
    o.on_warning = [&](const std::string& line) { warnings.push_back(line); };
    TemporaryFolder folder;
    EXPECT_TRUE(fetch_file(set_, file_name, folder.path(), o));
    EXPECT_EQ(folder.list(), std::vector<std::string>{packed_name});
    EXPECT_EQ(read_bytes(folder / packed_name), good_);
    ASSERT_EQ(warnings.size(), 1u);
    EXPECT_NE(warnings[0].find(bad.words), std::string::npos) << warnings[0];
    EXPECT_NE(warnings[0].find("trying the next mirror"), std::string::npos) << warnings[0];
  }
}

TEST_F(Fetch, AllBadListsEveryMirrorAndLeavesNothing) {
  std::vector<std::string> paths;
  for (const Badness& bad : badnesses())
    if (bad.name != "stalls_midway") paths.push_back(bad.name);
  try {
    fetch_file(set_, file_name, folder_.path(), options(paths));
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    const std::string what = error.what();
    EXPECT_NE(what.find("cannot fetch " + packed_name + " of " + set_), std::string::npos) << what;
    for (const Badness& bad : badnesses()) {
      if (bad.name == "stalls_midway") continue;
      const std::size_t line = what.find("\n  " + server_.url(bad.name + "/" + packed_name) + ": ");
      ASSERT_NE(line, std::string::npos) << bad.name << " in " << what;
      const std::string said = what.substr(line + 1, what.find('\n', line + 1) - line - 1);
      EXPECT_NE(said.find(bad.words), std::string::npos) << said;
    }
  }
  EXPECT_TRUE(folder_.list().empty());
}

TEST_F(Fetch, ABodyWithoutEndIsCutOff) {
  HttpServer endless([](Connection& c) {
    c.send("HTTP/1.0 200 OK\r\n\r\n\x1f\x8b");
    const std::string block(1 << 20, 'x');
    for (int i = 0; i < 80; ++i) c.send(block);
  });
  FetchOptions o;
  o.mirrors = {endless.url()};
  expect_error(ErrorKind::data, {"more than 67108864 bytes"}, [&] { fetch_file("mnist", file_name, folder_.path(), o); });
  EXPECT_TRUE(folder_.list().empty());
}

TEST_F(Fetch, NoServerAtAll) {
  std::string url;
  {
    const HttpServer gone([](Connection&) {});
    url = gone.url();
  }
  FetchOptions o;
  o.mirrors = {url};
  expect_error(ErrorKind::data, {url + packed_name, "connect"}, [&] { fetch_file("mnist", file_name, folder_.path(), o); });
  EXPECT_TRUE(folder_.list().empty());
}

TEST_F(Fetch, StopsWhenAskedAndLeavesNothing) {
  FetchOptions o = options({"stalls_midway", "good"});
  o.stall_seconds = 60;
  o.on_progress = [](const FetchProgress& p) { return p.done < 50; };
  EXPECT_FALSE(fetch_file(set_, file_name, folder_.path(), o));
  EXPECT_TRUE(folder_.list().empty());
  EXPECT_EQ(server_.requests().size(), 1u) << "the next mirror is not tried";
}

TEST_F(Fetch, AnErrorInTheProgressCallbackComesOut) {
  FetchOptions o = options({"stalls_midway"});
  o.on_progress = [](const FetchProgress&) -> bool { throw std::runtime_error("from the callback"); };
  EXPECT_THROW(fetch_file(set_, file_name, folder_.path(), o), std::runtime_error);
  EXPECT_TRUE(folder_.list().empty());
}

TEST_F(Fetch, TakesTheNameOfAnotherFileWhichIsKeptAndALeftoverPart) {
  REQUIRE_GOOD_FILE();
  for (const char* text : {"mine", "mine, too"}) {
    write_bytes(folder_ / packed_name, text);
    write_bytes(folder_ / part_name, std::string(100000, 'x'));
    write_bytes(folder_ / (packed_name + ".part"), "another program's");
    EXPECT_TRUE(fetch_file(set_, file_name, folder_.path(), options({"good"})));
    EXPECT_EQ(read_bytes(folder_ / packed_name), good_);
  }
  EXPECT_EQ(folder_.list(),
            (std::vector<std::string>{packed_name, packed_name + ".before", packed_name + ".before-2", packed_name + ".part"}));
  EXPECT_EQ(read_bytes(folder_ / (packed_name + ".part")), "another program's");
  EXPECT_EQ(read_bytes(folder_ / (packed_name + ".before")), "mine");
  EXPECT_EQ(read_bytes(folder_ / (packed_name + ".before-2")), "mine, too");
}

TEST_F(Fetch, ABrokenFileStaysWhereNoMirrorIsBetter) {
  write_bytes(folder_ / packed_name, "broken");
  expect_error(ErrorKind::data, {"HTTP status 404"}, [&] { fetch_file(set_, file_name, folder_.path(), options({"not_found"})); });
  EXPECT_EQ(read_bytes(folder_ / packed_name), "broken");
  EXPECT_EQ(folder_.list(), std::vector<std::string>{packed_name});
}

TEST_F(Fetch, AWrongRawFileInTheWayIsNamed) {
  write_bytes(folder_ / "mnist" / file_name, "broken");
  const HttpServer unused([](Connection& c) { c.reply("404 Not Found", ""); });
  for (const char* other : {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"})
    write_bytes(folder_ / "mnist" / other, "broken too");
  FetchOptions o;
  o.mirrors = {unused.url()};
  expect_error(ErrorKind::data, {(folder_ / "mnist/train-images-idx3-ubyte").string(), "in the way"},
               [&] { fetch_dataset("mnist", folder_.path(), o); });
  EXPECT_EQ(read_bytes(folder_ / "mnist" / file_name), "broken");
  EXPECT_TRUE(unused.requests().empty());
}

TEST_F(Fetch, TheFolderCannotBeMade) {
  write_bytes(folder_ / "file", "x");
  expect_error(ErrorKind::failure, {"cannot make the folder", (folder_ / "file/mnist").string()},
               [&] { fetch_dataset("mnist", folder_ / "file", options({"good"})); });
}

TEST_F(Fetch, AFullDiskIsNoFaultOfTheMirror) {
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit low{1000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
  expect_error(ErrorKind::failure, {(folder_ / part_name).string(), "cannot write", "too large"}, [&] {
    fetch_file(set_, file_name, folder_.path(), options({"large", "large"}));
  });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(folder_.list().empty());
  EXPECT_EQ(server_.requests().size(), 1u);
}

TEST_F(Fetch, TwoAtATimeAreRefused) {
  FetchOptions o = options({"stalls_midway"});
  o.stall_seconds = 60;
  bool refused = false;
  o.on_progress = [&](const FetchProgress&) {
    expect_error(ErrorKind::failure, {part_name, "another process"},
                 [&] { fetch_file(set_, file_name, folder_.path(), options({"good"})); });
    refused = true;
    return false;
  };
  EXPECT_FALSE(fetch_file(set_, file_name, folder_.path(), o));
  EXPECT_TRUE(refused);
}

TEST_F(Fetch, MirrorsByDefaultAndByEnvironment) {
  EXPECT_EQ(default_mirrors("mnist").front(), "https://ossci-datasets.s3.amazonaws.com/mnist/");
  EXPECT_EQ(default_mirrors("mnist").size(), 2u);
  EXPECT_EQ(default_mirrors("fashion-mnist").size(), 3u);
  expect_error(ErrorKind::usage, {"kmnist", "fashion-mnist, mnist"}, [] { default_mirrors("kmnist"); });
  const EnvironmentVariable own("NORMA_MIRROR", " http://a/x   https://b/ ");
  EXPECT_EQ(default_mirrors("mnist"), (std::vector<std::string>{"http://a/x/mnist/", "https://b/mnist/"}));
  FetchOptions o;
  o.mirrors = {"file:///etc/"};
  expect_error(ErrorKind::usage, {"file:///etc/"}, [&] { fetch_file("mnist", file_name, folder_.path(), o); });
  expect_error(ErrorKind::usage, {"kmnist"}, [&] { fetch_dataset("kmnist", folder_.path(), options({"good"})); });
  EXPECT_TRUE(folder_.list().empty());
}

// The files of a folder by https on 127.0.0.1, under a certificate that nobody has signed but itself.
class TlsServer {
 public:
  explicit TlsServer(const fs::path& folder) {
    const std::string command =
        "cd '" + folder.string() +
        "' && mkdir trusted && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem"
        " -out trusted/own.pem -days 2 -subj /CN=norma -addext subjectAltName=IP:127.0.0.1 2>&1 && openssl rehash trusted"
        " && echo PID $$ && exec openssl s_server -accept 127.0.0.1:0 -cert trusted/own.pem -key key.pem -WWW 2>&1";
    output_ = ::popen(command.c_str(), "r");
    char line[256];
    while (output_ && port_ == 0 && std::fgets(line, sizeof line, output_))
      if (std::sscanf(line, "ACCEPT 127.0.0.1:%d", &port_) != 1) std::sscanf(line, "PID %d", &pid_);
  }
  ~TlsServer() {
    if (pid_ > 0) ::kill(pid_, SIGTERM);
    if (output_) ::pclose(output_);
  }
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;
  int port() const { return port_; }  // 0: there is no openssl program, or it is too old

 private:
  std::FILE* output_ = nullptr;
  int pid_ = 0, port_ = 0;
};

TEST_F(Fetch, TrustsTheCertificatesThatCurlsCommandIsToldOf) {
  REQUIRE_GOOD_FILE();
  TemporaryFolder served;
  write_bytes(served / packed_name, good_);
  const TlsServer server(served.path());
  if (server.port() == 0) GTEST_SKIP() << "no openssl program that serves https";
  FetchOptions o;
  o.mirrors = {"https://127.0.0.1:" + std::to_string(server.port()) + "/"};
  const std::string own = (served / "trusted/own.pem").string(), folder = (served / "trusted").string();
  const auto fetched = [&](const char* bundle, const char* file, const char* dir) {
    const EnvironmentVariable a("CURL_CA_BUNDLE", bundle), b("SSL_CERT_FILE", file), c("SSL_CERT_DIR", dir);
    TemporaryFolder into;
    try {
      return fetch_file(set_, file_name, into.path(), o) && read_bytes(into / packed_name) == good_;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("certificate"), std::string::npos) << error.what();
      return false;
    }
  };
  EXPECT_FALSE(fetched(nullptr, nullptr, nullptr));
  EXPECT_FALSE(fetched("", "", ""));
  EXPECT_TRUE(fetched(own.c_str(), nullptr, nullptr));
  EXPECT_TRUE(fetched(nullptr, own.c_str(), nullptr));
  EXPECT_TRUE(fetched(nullptr, nullptr, folder.c_str()));
  EXPECT_TRUE(fetched(own.c_str(), "/absent", "/absent")) << "CURL_CA_BUNDLE comes first";
  EXPECT_FALSE(fetched(nullptr, "/absent", nullptr));
}

TEST_F(Fetch, AWholeSetThatThenLoads) {
  const auto source = find_dataset("fashion-mnist") ? "fashion-mnist" : "mnist";
  const auto from = find_dataset(source);
  if (!from || !fs::exists(*from / "train-images-idx3-ubyte.gz"))
    GTEST_SKIP() << "neither MNIST nor Fashion-MNIST is here as .gz to be served: set NORMA_DATA_DIR";
  HttpServer server([&](Connection& c) {
    if (c.path.starts_with("/down/")) return c.reply("503 Service Unavailable", "");
    c.reply("200 OK", read_bytes(*from / fs::path(c.path).filename()));
  });
  const EnvironmentVariable mirrors("NORMA_MIRROR", (server.url("down") + " " + server.url("up")).c_str());
  std::set<std::string> seen;
  FetchOptions o;
  o.on_progress = [&](const FetchProgress& p) {
    seen.insert(std::to_string(p.number) + "/" + std::to_string(p.files) + " " + p.file);
    return true;
  };
  EXPECT_TRUE(fetch_dataset(source, folder_.path(), o));
  EXPECT_EQ(seen, (std::set<std::string>{"1/4 train-images-idx3-ubyte.gz", "2/4 train-labels-idx1-ubyte.gz",
                                         "3/4 t10k-images-idx3-ubyte.gz", "4/4 t10k-labels-idx1-ubyte.gz"}));
  const std::vector<std::string> requests = server.requests();
  EXPECT_EQ(requests.size(), 5u) << "the mirror that works is asked first from then on";
  EXPECT_EQ(std::count_if(requests.begin(), requests.end(), [](const std::string& path) { return path.starts_with("/down/"); }), 1);
  EXPECT_EQ(load_dataset(source, folder_.path()).source, (folder_ / source).string());
}

}  // namespace
}  // namespace norma::app
