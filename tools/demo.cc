#include "verb.h"
namespace cairn::tools {
int demo(Arguments) { return kFailed; }
}  // namespace cairn::tools
