// The layers of a net, for norma train --verbose.
#pragma once
#include <string>

#include "norma/graph.h"

namespace norma::app {

// Every layer with the shape of its output and the number of its parameters, a line each: nothing is fused yet.
std::string layer_table(const Graph& graph);

}  // namespace norma::app
