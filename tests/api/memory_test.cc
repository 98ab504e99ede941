// What a save holds in memory: pieces, whatever the model's size. Each case runs in a process of
// its own, which may not have more memory than it says.

#include <cairn/cairn.h>
#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMiB = 1u << 20;
constexpr std::uint64_t kTensorBytes = 512 * kMiB;
constexpr std::size_t kPieceBytes = 1 * kMiB;

std::uint64_t own_kib(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) return std::stoull(line.substr(field.size() + 1));
  }
  return 0;
}

// How much the work added to the process's peak, in bytes. The address space is limited besides,
// so that work which maps or allocates a whole tensor fails.
std::uint64_t peak_bytes_of(std::uint64_t limit_bytes, const std::function<bool()>& body) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const std::uint64_t before_kib = own_kib("VmRSS");
    const rlim_t space = own_kib("VmSize") * 1024 + limit_bytes;
    const rlimit limit{space, space};
    const bool done = ::setrlimit(RLIMIT_AS, &limit) == 0 && body();
    const std::uint64_t peak_kib = own_kib("VmHWM");
    const std::uint64_t added = peak_kib > before_kib ? (peak_kib - before_kib) * 1024 : 0;
    ::_exit(done && ::write(ends[1], &added, sizeof added) == sizeof added ? 0 : 1);
  }
  ::close(ends[1]);
  std::uint64_t added = 0;
  const ssize_t got = ::read(ends[0], &added, sizeof added);
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  REQUIRE(got == sizeof added);
  return added;
}

struct Box {
  Box() {
    std::string name = (fs::temp_directory_path() / "cairn-test-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    root = name;
  }
  ~Box() {
    std::error_code ignored;
    fs::remove_all(root, ignored);
  }
  fs::path root;
};

const std::vector<cairn::TensorSpec> kLarge{
    {"large", cairn::DType::Uint8, {static_cast<std::int64_t>(kTensorBytes)}}};

cairn::Result<void> in_pieces(cairn::Writer& writer) {
  std::vector<std::byte> piece(kPieceBytes);
  for (std::uint64_t done = 0; done < kTensorBytes; done += piece.size()) {
    std::memset(piece.data(), static_cast<int>(done / kPieceBytes % 251), piece.size());
    if (auto written = writer.append("large", piece); !written) return written;
  }
  return {};
}

bool save_large(const fs::path& dir) {
  auto saver = cairn::Saver::open(dir);
  return saver && saver->save("m", kLarge, in_pieces);
}

TEST_CASE("a tensor larger than the memory there is is saved piece by piece") {
  const Box box;
  const std::uint64_t peak =
      peak_bytes_of(64 * kMiB, [&] { return save_large(box.root / "saved"); });
  MESSAGE("saving 512 MiB added " << peak / 1024 << " KiB to the peak");
  CHECK(peak < 16 * kMiB);
  const auto checkpoint = cairn::Checkpoint::open(box.root / "saved");
  REQUIRE(checkpoint);
  CHECK(checkpoint->verify()->damage.empty());
  const auto bytes = checkpoint->tensor("large")->bytes();
  REQUIRE(bytes);
  CHECK(bytes->size() == kTensorBytes);
  CHECK(std::to_integer<unsigned>((*bytes)[300 * kMiB]) == 300 % 251);
}

// The threads' stacks and heaps take room among the addresses, and no memory.
TEST_CASE("a save of many tensors at once holds none of their bytes") {
  const Box box;
  const std::vector<std::byte> part(8 * kMiB, std::byte{7});
  std::vector<cairn::TensorSpec> specs;
  for (int i = 0; i < 64; ++i)
    specs.push_back({"t" + std::to_string(i), cairn::DType::Uint8, {8 * 1024 * 1024}});
  const std::uint64_t peak = peak_bytes_of(256 * kMiB, [&] {
    std::vector<cairn::NamedBytes> tensors;
    for (const auto& spec : specs) tensors.push_back({spec.name, part});
    auto writer = cairn::Writer::create(box.root / "m", specs);
    return writer && writer->write_all(tensors) && writer->commit();
  });
  MESSAGE("saving 64 tensors of 8 MiB at once added " << peak / 1024 << " KiB to the peak");
  CHECK(peak < 16 * kMiB);
  CHECK((*cairn::Checkpoint::open(box.root / "m")).verify()->damage.empty());
}

TEST_CASE("a copied asynchronous save holds no more than its staging") {
  const Box box;
  REQUIRE(save_large(box.root / "source"));
  const auto source = cairn::Checkpoint::open(box.root / "source" / "m");
  REQUIRE(source);
  const auto bytes = source->tensor("large")->bytes();
  REQUIRE(bytes);
  // The source's mapped pages count too, so the tensor is one small part of it many times over.
  const auto part = bytes->first(8 * kMiB);
  std::vector<cairn::NamedTensor> tensors;
  for (int i = 0; i < 32; ++i) {
    tensors.push_back(
        {{"t" + std::to_string(i), cairn::DType::Uint8, {8 * 1024 * 1024}}, part, {}});
  }
  const std::uint64_t peak = peak_bytes_of(256 * kMiB, [&] {
    cairn::SaverOptions options;
    options.staging_bytes_max = 16 * kMiB;
    auto saver = cairn::Saver::open(box.root / "copied", options);
    if (!saver) return false;
    const auto pending = saver->save_async("m", tensors, cairn::Saver::Memory::Copy);
    return pending && pending->wait();
  });
  MESSAGE("a staged save of 256 MiB through 16 MiB added " << peak / 1024 << " KiB to the peak");
  CHECK(peak < 48 * kMiB);
  CHECK((*cairn::Checkpoint::open(box.root / "copied" / "m")).verify()->damage.empty());
}

TEST_CASE("a save that holds a whole tensor is seen by this measure") {
  const std::uint64_t peak = peak_bytes_of(600 * kMiB, [] {
    std::vector<std::byte> whole(kTensorBytes, std::byte{1});
    return whole.back() == std::byte{1};
  });
  CHECK(peak >= kTensorBytes);
}

}  // namespace
