// This header is for training and using nets; instruments.h is for measuring them.
#pragma once
#include "norma/batch_norm_tools.h"  // IWYU pragma: export
#include "norma/c_source.h"          // IWYU pragma: export
#include "norma/checkpoint.h"        // IWYU pragma: export
#include "norma/dataset.h"           // IWYU pragma: export
#include "norma/device.h"            // IWYU pragma: export
#include "norma/error.h"             // IWYU pragma: export
#include "norma/executor.h"          // IWYU pragma: export
#include "norma/export.h"            // IWYU pragma: export
#include "norma/file_kind.h"         // IWYU pragma: export
#include "norma/files.h"             // IWYU pragma: export
#include "norma/graph.h"             // IWYU pragma: export
#include "norma/loss.h"              // IWYU pragma: export
#include "norma/model_file.h"        // IWYU pragma: export
#include "norma/module.h"            // IWYU pragma: export
#include "norma/module_runner.h"     // IWYU pragma: export
#include "norma/optimizer.h"         // IWYU pragma: export
#include "norma/plan.h"              // IWYU pragma: export
#include "norma/predictor.h"         // IWYU pragma: export
#include "norma/shape.h"             // IWYU pragma: export
#include "norma/text.h"              // IWYU pragma: export
#include "norma/trainer.h"           // IWYU pragma: export
#include "norma/types.h"             // IWYU pragma: export
#include "norma/version.h"           // IWYU pragma: export
#include "norma/weights.h"           // IWYU pragma: export
