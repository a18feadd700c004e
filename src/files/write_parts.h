// write_file of a file that lies in pieces.
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>

namespace norma {

// As write_file: the pieces one after the other.
void write_parts(const std::filesystem::path& file, std::span<const std::span<const std::byte>> parts);

}  // namespace norma
