// Common parts of the pages that norma writes: one self-contained HTML file, nothing loaded, no script; its style and its parts.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "apps/norma/draw/svg.h"
#include "apps/norma/report/tables.h"

namespace norma::app {

inline constexpr std::size_t most_rows = 200;  // of a table of epochs, about

// Everything up to the content of <main>, which close_page() ends. The title is also that of the browser's window.
std::string open_page(const std::string& title, const std::string& description);
std::string_view close_page();

// "<section><h2>name</h2>...", or nothing where there is no content.
std::string section(std::string_view name, const std::string& content);
// Folded away under its summary.
std::string collapsed(std::string_view summary, const std::string& content);
// A figure with its name; the note is small.
std::string tile(std::string_view name, const std::string& value, std::string_view note = {});
// Name, picture, and what the picture shows in words and numbers, of many those that say most.
std::string figure(const Chart& chart);
std::string figure(const Panel& panel, const Table& table);
// Rows of name and value.
std::string facts(const std::vector<std::pair<std::string, std::string>>& rows);

}  // namespace norma::app
