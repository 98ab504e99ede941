// The test program: doctest's, with options of its own.
//
//   crash_model [--long] [--seed=N] [doctest's options]

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdlib>
#include <string_view>

#include "explore.h"

namespace cairn::crash {

Effort effort;  // NOLINT: what the tests look at, from the command line

}  // namespace cairn::crash

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--long") cairn::crash::effort.states_per_moment = 8192;
    if (argument.starts_with("--seed="))
      cairn::crash::effort.seed = std::strtoull(argument.data() + 7, nullptr, 0);
  }
  return context.run();
}
