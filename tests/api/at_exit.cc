// A program that ends while its Saver, a static object, saves in a thread of its own, as
// cairn/saver.h allows: the Saver's destructor waits, and the checkpoint is whole.

#include <cairn/cairn.h>
#include <stdlib.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBytes = std::size_t{32} << 20;

std::string made_directory() {
  std::string dir = (fs::temp_directory_path() / "cairn-exit-XXXXXX").string();
  if (::mkdtemp(dir.data()) == nullptr) std::abort();
  return dir;
}

// Looks when all that is declared after it has been destroyed.
struct LastLook {
  std::string dir = made_directory();

  ~LastLook() {
    const auto latest = cairn::Checkpoint::open(dir);
    const bool whole = latest && latest->tensor("v1").has_value();
    if (!whole) std::fprintf(stderr, "%s\n", latest ? "no v1" : latest.error().what.c_str());
    fs::remove_all(dir);
    if (!whole) std::_Exit(1);
  }
};

LastLook last_look;
std::vector<std::byte> values(kBytes);
std::optional<cairn::Saver> saver = [] {
  auto opened = cairn::Saver::open(last_look.dir);
  return opened ? std::optional(std::move(*opened)) : std::nullopt;
}();

}  // namespace

int main() {
  const cairn::NamedTensor tensors[] = {{{"v1", cairn::DType::Float32, {kBytes / 4}}, values, {}}};
  if (!saver) return 1;
  const auto pending = saver->save_async("m", tensors, cairn::Saver::Memory::Borrow, {.step = 1});
  if (!pending) return 1;
  return pending->done() ? 1 : 0;  // 1: the save would not outlast main()
}
