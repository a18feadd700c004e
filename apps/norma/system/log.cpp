#include "apps/norma/system/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/ansicolor_sink.h>
#include <spdlog/spdlog.h>

#include "norma/text.h"

namespace norma::app {
namespace {

// Nothing for information; "warning: " and "error: " in color.
class LevelPrefix : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    if (message.level < spdlog::level::warn) return;
    const std::string_view word = message.level == spdlog::level::warn ? "warning:" : "error:";
    message.color_range_start = out.size();
    out.append(word.data(), word.data() + word.size());
    message.color_range_end = out.size();
    out.push_back(' ');
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<LevelPrefix>(); }
};

// A line of norma's own goes on in one that begins with two blanks; any other line feed came with a name.
std::string shown(std::string_view message) {
  constexpr std::string_view line_break = "\n  ";
  std::string out;
  for (std::size_t at; (at = message.find(line_break)) != std::string_view::npos; message.remove_prefix(at + line_break.size()))
    (out += printable(message.substr(0, at))) += line_break;
  return out + printable(message);
}

}  // namespace

void set_up_log(const Terminal& terminal, bool quiet) {
  auto sink =
      std::make_shared<spdlog::sinks::ansicolor_stderr_sink_mt>(terminal.color ? spdlog::color_mode::always : spdlog::color_mode::never);
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<LevelPrefix>('*').set_pattern("norma: %*%v");
  sink->set_formatter(std::move(formatter));
  auto logger = std::make_shared<spdlog::logger>("norma", std::move(sink));
  logger->set_level(quiet ? spdlog::level::warn : spdlog::level::info);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

void log_info(const std::string& message) { spdlog::info("{}", shown(message)); }
void log_warning(const std::string& message) { spdlog::warn("{}", shown(message)); }
void log_error(const std::string& message) { spdlog::error("{}", shown(message)); }

}  // namespace norma::app
