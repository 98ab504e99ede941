// What unload_test.cc loads: a shared object that uses the library.

#include <optional>
#include <utility>

#include "cairn/cairn.h"

namespace {
std::optional<cairn::SigbusGuard> guard;
}

// The version against which the plugin was compiled is the one that runs.
extern "C" bool plugin_uses_cairn() {
  const auto missing = cairn::Checkpoint::open("/nonexistent/checkpoint");
  return cairn::version() == CAIRN_VERSION_STRING && !missing &&
         missing.error().code == cairn::Code::NotFound;
}

extern "C" bool plugin_installs_guard() {
  auto installed = cairn::SigbusGuard::install();
  if (!installed) return false;
  guard.emplace(*std::move(installed));
  return true;
}

extern "C" void plugin_ends_guard() { guard.reset(); }
