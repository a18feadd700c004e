#include "kernels/cpu/team.h"

namespace norma::kernels::cpu {

constinit thread_local Place place{};

TeamScope::TeamScope(const Team* team, int part) : before_(place) { place = {team, part}; }
TeamScope::~TeamScope() { place = before_; }

}  // namespace norma::kernels::cpu
