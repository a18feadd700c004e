// The tensors of one dictionary of a file of torch.save.
#pragma once
#include <string>
#include <vector>

#include "norma/checkpoint.h"
#include "src/pytorch/pickle.h"
#include "src/pytorch/zip_file.h"

namespace norma {

// The values of `dictionary` that are tensors, in its order, row-major, with the notes about their types. folder: of all entries,
// "archive/". Their memory stays below twice that of all storages plus 1 MB. Throws Error(data).
Checkpoint read_tensors(ZipFile& zip, const Pickle& pickle, const std::string& folder, const std::vector<PickleValue>& dictionary);

}  // namespace norma
