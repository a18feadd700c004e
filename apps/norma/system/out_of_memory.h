// The end of a program whose memory ran out where no exception can get through.
#pragma once

namespace norma::app {

// As long as the program runs, a std::bad_alloc that nothing can catch ends it with "out of memory" and exit code 1, not with abort():
// one in a destructor (nlohmann::json's takes memory), in an initialiser before main, or on the way to main's own message.
class EndsWithoutMemory {
 public:
  EndsWithoutMemory();
};

}  // namespace norma::app
