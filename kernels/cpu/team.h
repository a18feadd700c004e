// The threads that a Call's loops run on. They are the executor's, or the host's of the program that embeds norma.
#pragma once

namespace norma::kernels::cpu {

struct Team {
  using Work = void (*)(void* data, int part);
  int threads = 1;
  // Calls work(data, i) once for each i < parts, at the same time or not, and returns when all are done. work does not throw.
  void (*run)(void* pool, int parts, Work work, void* data) = nullptr;
  void* pool = nullptr;
};

// Each thread has one. It is plain data, so that files for several instruction sets share no inline function.
struct Place {
  const Team* team = nullptr;  // for its loops; null: they run on this thread alone
  int part = 0;                // of the work that it does for a team
};
extern constinit thread_local Place place;

// Gives the calling thread a team, or takes it away, for as long as this lives.
class TeamScope {
 public:
  explicit TeamScope(const Team* team, int part = 0);
  ~TeamScope();
  TeamScope(const TeamScope&) = delete;
  TeamScope& operator=(const TeamScope&) = delete;

 private:
  Place before_;
};

}  // namespace norma::kernels::cpu
