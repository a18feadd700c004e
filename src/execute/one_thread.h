// Objects of the public API that one thread at a time may use: what each of their calls begins with.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "norma/error.h"

namespace norma {

// The thread whose call is running; a member of State.
using User = std::atomic<std::thread::id>;

// Guards an object while a public call works with it, even if a callback moves or destroys it. The thread inside may enter again, as a
// callback does. Throws Error(usage) if another thread is inside, and for an object that was moved from.
template <class State>
class Use {
 public:
  // what: "Trainer"
  Use(const std::shared_ptr<State>& state, const char* what) : state_(state) {
    if (!state_) throw Error(ErrorKind::usage, std::string("this ") + what + " was moved from: it has nothing to work with");
    const std::thread::id me = std::this_thread::get_id();
    std::thread::id nobody;
    entered_ = state_->user.compare_exchange_strong(nobody, me);
    if (!entered_ && nobody != me)
      throw Error(ErrorKind::usage, std::string("this ") + what +
                                        " is in use by another thread: let one thread at a time call it, or give each thread its own");
  }
  ~Use() {
    if (entered_) state_->user.store({});
  }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

  State& operator*() const { return *state_; }
  State* operator->() const { return state_.get(); }

 private:
  std::shared_ptr<State> state_;
  bool entered_ = false;
};

}  // namespace norma
