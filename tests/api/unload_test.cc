// A plugin that uses the library can be unloaded, and takes the library with it; but a library
// whose signal handler was installed stays, since another handler may call it.

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <string>

namespace {

bool is_mapped(const std::string& file) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(file) != std::string::npos) return true;
  }
  return false;
}

struct Plugin {
  Plugin() : handle(::dlopen(std::getenv("CAIRN_PLUGIN"), RTLD_NOW | RTLD_LOCAL)) {
    if (handle == nullptr) FAIL(std::string(::dlerror()));
  }
  ~Plugin() { ::dlclose(handle); }

  template <class R>
  R call(const char* name) {
    auto* const function = reinterpret_cast<R (*)()>(::dlsym(handle, name));
    if (function == nullptr) FAIL("no function ", name);
    return function();
  }

  void* handle;
};

// One case: once a guard was installed, the library stays in this process.
TEST_CASE("a plugin is unloaded with the library, unless a signal handler was installed") {
  for (int round = 0; round < 3; ++round) {
    {
      Plugin plugin;
      CHECK(is_mapped("libcairn.so"));
      CHECK(plugin.call<bool>("plugin_uses_cairn"));
    }
    CHECK_FALSE(is_mapped("api_plugin"));
    CHECK_FALSE(is_mapped("libcairn.so"));
  }
  {
    Plugin plugin;
    CHECK(plugin.call<bool>("plugin_installs_guard"));
    plugin.call<void>("plugin_ends_guard");
  }
  CHECK(is_mapped("libcairn.so"));
}

}  // namespace
