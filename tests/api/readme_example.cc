// The example of README.md, as it stands there (tests/tidy compares the lines), run over a
// checkpoint that TensorFlow wrote.

#include <cairn/cairn.h>

#include <cstdio>
#include <filesystem>
#include <string>

namespace {

int complain(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  return 1;
}

int example() {
  // README begins
  auto checkpoint = cairn::Checkpoint::open("saved/train2-9");
  if (!checkpoint) return complain(checkpoint.error().what);
  auto v1 = checkpoint->tensor("v1").and_then([](cairn::Tensor t) { return t.as<std::int32_t>(); });
  if (!v1) return complain(v1.error().what);
  std::printf("%d\n", (*v1)[0]);
  // README ends
  return (*v1)[0] == 20 ? 0 : complain("v1 is not 20");
}

}  // namespace

int main(int, char** arguments) {
  std::filesystem::current_path(arguments[1]);
  return example();
}
