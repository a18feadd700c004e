// Elements of files as norma keeps them: floats of other widths, counts of other types, and the notes about both.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "norma/checkpoint.h"
#include "src/files/safetensors_header.h"
#include "src/files/small_floats.h"  // IWYU pragma: export

namespace norma {

// Rounded to nearest. Throws Error(data) naming file and tensor for a finite number beyond f32.
float of_f64(double value, const std::string& file, const StoredTensor& tensor);

// A number of batches in another type than i64, exactly. element: size_of(type) bytes. Throws Error(data) naming file and tensor where it
// is no whole number from 0.
std::int64_t count_of(const std::byte* element, StoredAs type, const std::string& file, const StoredTensor& tensor);

// StoredTensor::cast_from
const char* cast_name(StoredAs type, DType kept);

// The sentences of Checkpoint::notes. types: of each tensor, in its file.
std::vector<std::string> notes_of(std::span<const StoredTensor> tensors, std::span<const StoredAs> types);

}  // namespace norma
