#include "verb.h"
namespace cairn::tools {
int bench(Arguments) { return kFailed; }
}  // namespace cairn::tools
