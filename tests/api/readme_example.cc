// The example of README.md, as it stands there (tests/tidy compares the lines), run over a
// copy of what TensorFlow wrote.

#include <cairn/cairn.h>
#include <stdlib.h>

#include <cstdio>
#include <filesystem>
#include <span>
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

  const std::int32_t next = (*v1)[0] + 1;
  const cairn::NamedTensor tensors[] = {
      {{"v1", cairn::DType::Int32, {}}, std::as_bytes(std::span(&next, 1)), {}}};
  auto saver = cairn::Saver::open("saved");  // keeps the newest five by default
  if (!saver) return complain(saver.error().what);
  auto saved = saver->save("train2", tensors, {.step = 10});  // durable when it returns
  if (!saved) return complain(saved.error().what);
  std::printf("%s\n", saved->prefix.c_str());
  // README ends
  if ((*v1)[0] != 20) return complain("v1 is not 20");
  if (saved->prefix != "saved/train2-10") return complain("the prefix is another");
  return saved->kept.size() == 5 ? 0 : complain("not five are kept");
}

}  // namespace

int main(int, char** arguments) {
  namespace fs = std::filesystem;
  std::string box = (fs::temp_directory_path() / "cairn-example-XXXXXX").string();
  if (::mkdtemp(box.data()) == nullptr) return complain("cannot make " + box);
  fs::copy(fs::path(arguments[1]) / "saved", fs::path(box) / "saved");
  fs::current_path(box);
  const int code = example();
  fs::remove_all(box);
  return code;
}
