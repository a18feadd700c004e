// The end of a program whose memory ran out where no exception can get through.
#pragma once

namespace norma::app {

// While the program runs, an uncatchable std::bad_alloc ends it with "out of memory" and exit code 1, not with abort(). Such a bad_alloc
// comes from a destructor (nlohmann::json's takes memory), an initialiser before main, or the way to main's own message.
class EndsWithoutMemory {
 public:
  EndsWithoutMemory();
};

}  // namespace norma::app
