// Downloads by libcurl. A mirror is never believed: not its length, its type or its bytes, only their sha256.
#include "apps/norma/files/fetch.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <sstream>
#include <string_view>

#include "apps/norma/files/download_file.h"
#include "apps/norma/files/folders.h"
#include "norma/dataset.h"
#include "norma/files.h"
#include "norma/norma.h"

namespace norma::app {
namespace fs = std::filesystem;
namespace {

constexpr std::uint64_t most_bytes = std::uint64_t{64} << 20;  // no published file is larger, compressed or not
constexpr std::uint64_t stall_bytes = 1024;                    // fewer than this in stall_seconds is a stall

struct Mirrors {
  std::string_view name;
  std::array<const char*, 3> urls;
};
constexpr std::array<Mirrors, 2> published = {
    {{"mnist", {"https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/", nullptr}},
     {"fashion-mnist",
      {"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
       "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"}}}};

std::string lower_case(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return result;
}

// Names the kind of content that came instead of a gzip file, from its first bytes.
std::string describe(std::string_view head) {
  if (head.empty()) return "empty answer";
  const std::string text = lower_case(head);
  if (text.find("<html") != std::string::npos || text.find("<!doctype") != std::string::npos) return "an HTML page, not a gzip file";
  if (text.find("<?xml") != std::string::npos) return "an XML message, not a gzip file";
  return "not a gzip file";
}

// Everything one transfer needs; the callbacks get a pointer to it.
class Transfer {
 public:
  Transfer(PartFile& part, const FetchOptions& options, FetchProgress progress)
      : part_(part), options_(options), progress_(std::move(progress)), curl_(curl_easy_init(), curl_easy_cleanup) {
    if (!curl_) throw Error(ErrorKind::failure, "libcurl cannot start");
  }

  // Empty when all bytes came; otherwise what went wrong.
  std::string run() {
    set_options();
    const CURLcode code = curl_easy_perform(curl_.get());
    if (thrown_) std::rethrow_exception(thrown_);
    if (write_error_)
      throw Error(ErrorKind::failure, fmt::format("{}: cannot write ({})", part_.path().string(), std::strerror(write_error_)));
    long status = 0;
    curl_easy_getinfo(curl_.get(), CURLINFO_RESPONSE_CODE, &status);
    if (!refused_.empty()) return refused_;
    if (code == CURLE_HTTP_RETURNED_ERROR || (code == CURLE_OK && status != 200)) return fmt::format("HTTP status {}", status);
    if (code == CURLE_PARTIAL_FILE) {
      curl_off_t announced = 0;
      curl_easy_getinfo(curl_.get(), CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
      return fmt::format("connection ended after {} of {} bytes", progress_.done, announced);
    }
    if (code != CURLE_OK) return message_[0] ? message_.data() : curl_easy_strerror(code);
    if (progress_.done < 2) return describe(head_);
    return {};
  }

  bool stopped() const { return stopped_; }

 private:
  template <class T>
  void set(CURLoption option, T value) {
    const CURLcode code = curl_easy_setopt(curl_.get(), option, value);
    if (code != CURLE_OK) throw Error(ErrorKind::failure, fmt::format("libcurl: {}", curl_easy_strerror(code)));
  }

  void set_options() {
    set(CURLOPT_URL, progress_.url.c_str());
    set(CURLOPT_USERAGENT, fmt::format("norma/{}", version).c_str());  // libcurl copies it
    set(CURLOPT_ERRORBUFFER, message_.data());
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_FAILONERROR, 1L);
    set(CURLOPT_FOLLOWLOCATION, 1L);
    set(CURLOPT_MAXREDIRS, static_cast<long>(options_.redirects));
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect_seconds * 1000));
    set(CURLOPT_WRITEDATA, static_cast<void*>(this));
    set(CURLOPT_WRITEFUNCTION, &Transfer::on_bytes);
    set(CURLOPT_XFERINFODATA, static_cast<void*>(this));
    set(CURLOPT_XFERINFOFUNCTION, &Transfer::on_time);
    set(CURLOPT_NOPROGRESS, 0L);
    set_certificates();
  }

  // Trusts the certificates that curl's own command trusts. libcurl by itself has only those it was built with.
  void set_certificates() {
    const auto take = [&](const char* variable, CURLoption option) {
      const char* path = std::getenv(variable);
      if (!path || !*path) return false;
      set(option, path);
      return true;
    };
    if (take("CURL_CA_BUNDLE", CURLOPT_CAINFO)) return;
    take("SSL_CERT_DIR", CURLOPT_CAPATH);
    take("SSL_CERT_FILE", CURLOPT_CAINFO);
  }

  static std::size_t on_bytes(char* bytes, std::size_t, std::size_t count, void* self) {
    return static_cast<Transfer*>(self)->take(bytes, count) ? count : CURL_WRITEFUNC_ERROR;
  }

  bool take(const char* bytes, std::size_t count) {
    head_.append(bytes, std::min(count, std::size_t{512} - head_.size()));
    progress_.done += count;
    if (head_.size() >= 2 && !head_.starts_with("\x1f\x8b")) refused_ = describe(head_);
    if (progress_.done > most_bytes) refused_ = fmt::format("more than {} bytes, which no file of the set has", most_bytes);
    if (!refused_.empty()) return false;
    if (!part_.write(bytes, count)) write_error_ = errno;
    return write_error_ == 0;
  }

  static int on_time(void* self, curl_off_t total, curl_off_t, curl_off_t, curl_off_t) {
    Transfer& t = *static_cast<Transfer*>(self);
    t.progress_.total = static_cast<std::uint64_t>(std::max<curl_off_t>(total, 0));
    try {
      return t.go_on() ? 0 : 1;
    } catch (...) {  // must not pass through libcurl's frames
      t.thrown_ = std::current_exception();
      return 1;
    }
  }

  bool go_on() {
    const auto now = std::chrono::steady_clock::now();
    if (progress_.done >= mark_bytes_ + stall_bytes) {
      mark_ = now;
      mark_bytes_ = progress_.done;
    } else if (now - mark_ > std::chrono::duration<double>(options_.stall_seconds)) {
      refused_ = fmt::format("stalled: {} bytes in {} s", progress_.done - mark_bytes_, options_.stall_seconds);
      return false;
    }
    stopped_ = options_.on_progress && !options_.on_progress(progress_);
    return !stopped_;
  }

  PartFile& part_;
  const FetchOptions& options_;
  FetchProgress progress_;
  std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl_;
  std::string head_, refused_;
  std::array<char, CURL_ERROR_SIZE> message_{};
  std::chrono::steady_clock::time_point mark_ = std::chrono::steady_clock::now();
  std::uint64_t mark_bytes_ = 0;
  std::exception_ptr thrown_;
  int write_error_ = 0;
  bool stopped_ = false;
};

void start_libcurl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) throw Error(ErrorKind::failure, fmt::format("libcurl cannot start: {}", curl_easy_strerror(code)));
}

std::vector<std::string> mirrors_of(const std::string& name, const FetchOptions& options) {
  std::vector<std::string> mirrors = options.mirrors.empty() ? default_mirrors(name) : options.mirrors;
  for (std::string& mirror : mirrors) {
    if (!mirror.starts_with("http://") && !mirror.starts_with("https://"))
      throw Error(ErrorKind::usage, fmt::format("mirror \"{}\" is not an http:// or https:// URL", mirror));
    if (!mirror.ends_with('/')) mirror += '/';
  }
  return mirrors;
}

// Renames a file that has a published file's name and other contents, since it may be the user's. Returns the new name, which was free, or
// nothing where no such file exists.
fs::path set_aside(const fs::path& file) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(file, error))) return {};
  fs::path kept = file.string() + ".before";
  for (int k = 2; fs::exists(fs::symlink_status(kept, error)); ++k) kept = fmt::format("{}.before-{}", file.string(), k);
  fs::rename(file, kept, error);
  if (error) throw Error(ErrorKind::failure, fmt::format("{}: cannot be kept as {}: {}", file.string(), kept.string(), error.message()));
  return kept;
}

// Fetches one file that is not there or not right. The mirror that served it moves to the front of `mirrors`. False: stopped.
bool fetch_missing(const std::string& name, const FileCheck& wanted, std::vector<std::string>& mirrors, const FetchOptions& options,
                   int number, int files) {
  const fs::path target = wanted.path.parent_path() / (wanted.file + ".gz");
  if (wanted.status == FileCheck::Status::mismatch && wanted.path != target)
    throw Error(ErrorKind::data, fmt::format("{} is in the way: {}; it would be read before the fetched {}, so move it first",
                                             wanted.path.string(), wanted.detail, target.filename().string()));
  PartFile part(target);
  std::string failures;
  for (std::size_t m = 0; m < mirrors.size(); ++m) {
    part.clear();
    FetchProgress progress;
    progress.file = target.filename().string();
    progress.url = mirrors[m] + progress.file;
    progress.number = number;
    progress.files = files;
    Transfer transfer(part, options, progress);
    std::string failure = transfer.run();
    if (transfer.stopped()) return false;
    if (failure.empty()) {
      const FileCheck got = check_dataset_file(name, wanted.file, part.path());
      if (got.status == FileCheck::Status::ok) {
        if (const fs::path kept = set_aside(target); !kept.empty() && options.on_warning)
          options.on_warning(fmt::format("{} was not the published file: it is kept as {}", target.string(), kept.string()));
        part.finish();
        std::rotate(mirrors.begin(), mirrors.begin() + static_cast<std::ptrdiff_t>(m),
                    mirrors.begin() + static_cast<std::ptrdiff_t>(m) + 1);
        return true;
      }
      failure = got.detail;
    }
    failure = fmt::format("{}: {}", progress.url, failure);
    failures += "\n  " + failure;
    if (options.on_warning) options.on_warning(failure + (m + 1 < mirrors.size() ? "; trying the next mirror" : ""));
  }
  throw Error(ErrorKind::data, fmt::format("cannot fetch {} of {}:{}", target.filename().string(), name, failures));
}

}  // namespace

std::vector<std::string> default_mirrors(const std::string& name) {
  for (const Mirrors& set : published) {
    if (set.name != name) continue;
    std::vector<std::string> urls;
    const char* own = std::getenv("NORMA_MIRROR");
    std::istringstream words(own ? own : "");
    for (std::string url; words >> url;) urls.push_back(url + (url.ends_with('/') ? "" : "/") + name + "/");
    if (!urls.empty()) return urls;
    for (const char* url : set.urls)
      if (url) urls.emplace_back(url);
    return urls;
  }
  throw Error(ErrorKind::usage,
              fmt::format("data set \"{}\" has no mirrors; sets with mirrors: {}", name, fmt::join(known_datasets(), ", ")));
}

bool fetch_dataset(const std::string& name, const fs::path& root, const FetchOptions& options) {
  start_libcurl();
  std::vector<std::string> mirrors = mirrors_of(name, options);
  const std::vector<FileCheck> rows = check_dataset(name, root / name);
  make_folder(root / name, "the folder");
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i].status != FileCheck::Status::ok &&
        !fetch_missing(name, rows[i], mirrors, options, static_cast<int>(i) + 1, static_cast<int>(rows.size())))
      return false;
  return true;
}

bool fetch_file(const std::string& name, const std::string& file, const fs::path& folder, const FetchOptions& options) {
  start_libcurl();
  std::vector<std::string> mirrors = mirrors_of(name, options);
  const FileCheck row = check_dataset_file(name, file, folder / (file + ".gz"));
  make_folder(folder, "the folder");
  return row.status == FileCheck::Status::ok || fetch_missing(name, row, mirrors, options, 1, 1);
}

}  // namespace norma::app
