// A Graph is public and may come from anywhere.
#pragma once
#include "norma/graph.h"

namespace norma {

// Throws Error(usage) naming the node unless each reads nodes that come before it, as those a Builder made do.
void check(const Graph& graph);

}  // namespace norma
