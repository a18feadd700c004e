#include "norma/loss.h"

#include "norma/error.h"

namespace norma {

CustomLoss::CustomLoss(Function f, Against a) : function(std::make_shared<const Function>(std::move(f))), against(a) {
  if (!*function) throw Error(ErrorKind::usage, "CustomLoss was given an empty function");
  if (against > Against::labels)
    throw Error(ErrorKind::usage, "against " + std::to_string(static_cast<int>(a)) + " is no CustomLoss::Against");
}

}  // namespace norma
