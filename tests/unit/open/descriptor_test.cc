// Opening what is open already: files, memory, directories, and descriptors that are neither.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "cairn/cairn.h"
#include "tests/unit/golden.h"
#include "tests/unit/scratch.h"

namespace cairn {
namespace {

using test::golden;
using test::open_checkpoint;
using test::raw;
using test::refusal;
using test::Scratch;
using test::write_checkpoint;

// A descriptor that closes with it.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) { REQUIRE(fd >= 0); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  void close() { ::close(std::exchange(fd_, -1)); }
  operator int() const noexcept { return fd_; }

 private:
  int fd_;
};

int open_path(const std::filesystem::path& path, int flags = O_RDONLY) {
  return ::open(path.c_str(), flags | O_CLOEXEC);
}

void check_same(const Checkpoint& got, const Checkpoint& wanted) {
  CHECK(got.format() == wanted.format());
  REQUIRE(got.tensor_count() == wanted.tensor_count());
  for (std::size_t i = 0; i < wanted.tensor_count(); ++i) {
    CHECK(got.tensor_at(i).name() == wanted.tensor_at(i).name());
    if (wanted.tensor_at(i).dtype() == DType::String) continue;
    CHECK(test::bytes_of(got.tensor_at(i)) == test::bytes_of(wanted.tensor_at(i)));
  }
}

std::vector<test::Content> contents() {
  return {raw("w", DType::Float32, {3, 4}), raw("b", DType::Int32, {5})};
}

constexpr const char* kOneFile[]{"gguf/types.gguf",    "flat/dtypes.ptd",   "hdf5/latest.h5",
                                 "onnx/raw.onnx",      "pytorch/dtypes.pt", "pytorch/legacy.pt",
                                 "pytorch/deflated.pt"};

TEST_CASE("a checkpoint in one file opens by its descriptor, which the caller may close") {
  for (const char* path : kOneFile) {
    INFO(path);
    Descriptor fd(open_path(golden(path)));
    const std::string name = std::filesystem::path(path).filename().string();
    const auto opened = Checkpoint::open_descriptor(fd, name);
    fd.close();
    REQUIRE_OK(opened);
    CHECK(opened->prefix() == std::filesystem::path(name).stem());
    check_same(*opened, open_checkpoint(golden(path)));
  }
}

TEST_CASE("the bytes say the format, and the name is what errors say") {
  Descriptor fd(open_path(golden("gguf/types.gguf")));
  const auto opened = Checkpoint::open_descriptor(fd, "models/model no. 1");
  REQUIRE_OK(opened);
  CHECK(opened->format() == Format::Gguf);
  CHECK(opened->prefix() == "models/model no. 1");
  CHECK(refusal(opened->tensor("nothing"), {"models/model no. 1: no tensor"}) == Code::NotFound);
}

TEST_CASE("a file in memory opens, and so does a file that has no name any more") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  REQUIRE_OK(export_index(scratch / "p", Format::Safetensors));
  const std::string bytes = test::read_file(scratch / "p.safetensors");
  const Descriptor memory(::memfd_create("model", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  REQUIRE(::write(memory, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  REQUIRE(::fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW) == 0);
  ::lseek(memory, 7, SEEK_SET);  // the offset of the descriptor is not used
  for (const Access access : {Access::Shared, Access::Private, Access::Copy}) {
    OpenOptions options;
    options.access = access;
    const auto opened = Checkpoint::open_descriptor(memory, "m.safetensors", options);
    REQUIRE_OK(opened);
    test::check_holds(*opened, contents());
  }
  CHECK(::lseek(memory, 0, SEEK_CUR) == 7);
  const Descriptor removed(open_path(scratch / "p.safetensors"));
  std::filesystem::remove_all(scratch.path());
  const auto opened = Checkpoint::open_descriptor(removed, "m.safetensors");
  REQUIRE_OK(opened);
  test::check_holds(*opened, contents());
}

TEST_CASE("a directory's descriptor opens the prefix or the file of the name in it") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  std::filesystem::copy_file(golden("gguf/types.gguf"), scratch / "types.gguf");
  for (const int flags : {O_RDONLY | O_DIRECTORY, O_PATH | O_DIRECTORY}) {
    Descriptor fd(open_path(scratch.path(), flags));
    const auto opened = Checkpoint::open_descriptor(fd, "p");
    const auto by_member = Checkpoint::open_descriptor(fd, "p.index");
    const auto file = Checkpoint::open_descriptor(fd, "types.gguf");
    fd.close();
    for (const auto* each : {&opened, &by_member}) {
      REQUIRE_OK(*each);
      CHECK((*each)->format() == Format::Cairn);
      CHECK((*each)->prefix() == scratch / "p");
      test::check_holds(**each, contents());
      REQUIRE_OK((*each)->verify());
    }
    REQUIRE_OK(file);
    check_same(*file, open_checkpoint(golden("gguf/types.gguf")));
  }
}

TEST_CASE("a directory that was moved opens by its descriptor; another one of its path does not") {
  const Scratch scratch;
  std::filesystem::create_directory(scratch / "a");
  write_checkpoint(scratch / "a/p", contents());
  const Descriptor fd(open_path(scratch / "a", O_RDONLY | O_DIRECTORY));
  std::filesystem::rename(scratch / "a", scratch / "b");
  std::filesystem::create_directory(scratch / "a");
  write_checkpoint(scratch / "a/p", {raw("other", DType::Uint8, {1})});
  const auto opened = Checkpoint::open_descriptor(fd, "p");
  REQUIRE_OK(opened);
  CHECK(opened->prefix() == scratch / "b/p");
  test::check_holds(*opened, contents());
}

TEST_CASE("models in several files open by the directory, and one file alone is refused") {
  struct Model {
    const char* directory;
    const char* file;
  };
  for (const Model& model :
       {Model{"gguf", "model-00001-of-00003.gguf"}, Model{"onnx", "external.onnx"},
        Model{"tensorflow/v1", "old.ckpt-3"}, Model{"tensorflow/shapes", "all"}}) {
    INFO(model.file);
    const auto path = golden(model.directory) / model.file;
    const Descriptor directory(open_path(golden(model.directory), O_RDONLY | O_DIRECTORY));
    const auto opened = Checkpoint::open_descriptor(directory, model.file);
    REQUIRE_OK(opened);
    check_same(*opened, open_checkpoint(path));
    const bool is_file = std::filesystem::exists(path);
    const Descriptor alone(open_path(is_file ? path.string() : path.string() + ".index"));
    CHECK(refusal(Checkpoint::open_descriptor(alone, model.file),
                  {"pass a descriptor of the directory"}) == Code::Unsupported);
  }
}

TEST_CASE("what a directory does not hold is not there, and links do not lead out of it") {
  const Scratch scratch;
  std::filesystem::create_directory(scratch / "in");
  write_checkpoint(scratch / "p", contents());
  const Descriptor fd(open_path(scratch / "in", O_RDONLY | O_DIRECTORY));
  CHECK(refusal(Checkpoint::open_descriptor(fd, "p"), {"no checkpoint there"}) == Code::NotFound);
  for (const std::string& name : scratch.names()) {
    if (name != "in") std::filesystem::create_symlink("../" + name, scratch / "in" / name);
  }
  CHECK(refusal(Checkpoint::open_descriptor(fd, "p")) == Code::Unsafe);
  OpenOptions options;
  options.follow_links = true;
  const auto followed = Checkpoint::open_descriptor(fd, "p", options);
  REQUIRE_OK(followed);
  test::check_holds(*followed, contents());
  std::filesystem::create_directory(scratch / "in/deeper");
  CHECK(refusal(Checkpoint::open_descriptor(fd, "deeper"), {"is a directory"}) ==
        Code::Unsupported);
}

TEST_CASE("what is no descriptor of a checkpoint is refused in a sentence") {
  const Scratch scratch;
  std::ofstream(scratch / "text") << "hello, this is no checkpoint";
  std::ofstream(scratch / "cut.safetensors") << std::string("\x40\0\0\0\0\0\0\0{", 9);
  constexpr int kNotOpen = 1'000'000;
  CHECK(refusal(Checkpoint::open_descriptor(kNotOpen, "m"), {"m: the descriptor", "is not open"}) ==
        Code::Invalid);
  CHECK(refusal(Checkpoint::open_descriptor(-1, "m"), {"is not open"}) == Code::Invalid);
  const Descriptor writing(open_path(scratch / "text", O_WRONLY));
  CHECK(refusal(Checkpoint::open_descriptor(writing, "m"), {"not open for reading"}) ==
        Code::Invalid);
  const Descriptor named(open_path(scratch / "text", O_PATH));
  CHECK(refusal(Checkpoint::open_descriptor(named, "m"), {"not open for reading"}) ==
        Code::Invalid);
  const Descriptor text(open_path(scratch / "text"));
  CHECK(refusal(Checkpoint::open_descriptor(text, "m"), {"m: is "}) == Code::Unsupported);
  const Descriptor cut(open_path(scratch / "cut.safetensors"));
  CHECK(refusal(Checkpoint::open_descriptor(cut, "cut.safetensors"), {"cut.safetensors"}) ==
        Code::Corrupt);
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const Descriptor reading(ends[0]);
  const Descriptor other(ends[1]);
  CHECK(refusal(Checkpoint::open_descriptor(reading, "m"), {"is no regular file"}) == Code::Unsafe);
  const Descriptor directory(open_path(scratch.path(), O_RDONLY | O_DIRECTORY));
  for (const char* name : {"", "a/b", "..", "/etc/passwd", "a/"}) {
    INFO(name);
    CHECK(refusal(Checkpoint::open_descriptor(directory, name)) == Code::Invalid);
  }
}

TEST_CASE("without a free descriptor the error says so, and later it opens") {
  const Descriptor fd(open_path(golden("gguf/types.gguf")));
  {
    const test::Limit none(RLIMIT_NOFILE, 3);
    CHECK(refusal(Checkpoint::open_descriptor(fd, "m.gguf"), {"cannot duplicate"}) == Code::Io);
  }
  REQUIRE_OK(Checkpoint::open_descriptor(fd, "m.gguf"));
}

TEST_CASE("index_only and the other options hold for descriptors too") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  OpenOptions options;
  options.index_only = true;
  const Descriptor file(open_path(golden("gguf/types.gguf")));
  const auto listed = Checkpoint::open_descriptor(file, "m.gguf", options);
  REQUIRE_OK(listed);
  CHECK(refusal(listed->tensor_at(0).bytes(), {"index_only"}) == Code::Unsupported);
  for (const std::string& name : scratch.names()) {
    if (name.find(".data-") != std::string::npos) std::filesystem::remove(scratch / name);
  }
  const Descriptor directory(open_path(scratch.path(), O_RDONLY | O_DIRECTORY));
  CHECK(Checkpoint::open_descriptor(directory, "p", options));
  const auto specs = test::specs_of({raw("w", DType::Float32, {3, 4})});
  options.expected = specs;
  CHECK(refusal(Checkpoint::open_descriptor(directory, "p", options), {"unexpected \"b\""}) ==
        Code::Invalid);
}

}  // namespace
}  // namespace cairn
