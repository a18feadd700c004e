// A Graph is public and may come from anywhere.
#pragma once
#include <string>

#include "norma/graph.h"

namespace norma {

// Throws Error(usage) naming the node unless each reads nodes that come before it, as those a Builder made do.
void check(const Graph& graph);

// Throws Error(usage) unless that holds and the graph is not fused and has one input and one output. use: "batch norms are folded in".
void check_plain(const Graph& graph, const std::string& use);

}  // namespace norma
