// What the crash harnesses do to a directory, beside the `cairn` command: writers over the public
// library, and two that are wrong on purpose and must be caught.
//
// usage: act MODE PREFIX SEED
//
//   save         writes a checkpoint whose contents SEED decides, with metadata and a tensor that
//                P.index cannot say
//   alone        the same without P.index
//   keep         the same by a Saver that keeps the two newest; PREFIX is DIR/NAME-STEP or DIR/NAME
//   keep-alone   both
//   share        as keep, incrementally, with 2 MiB that are the same for every SEED
//   pin          a Saver marks PREFIX as never to be let go of
//   prune        a Saver in the directory PREFIX lets go of all but the SEED newest
//   overwrite    wrong: its new shards take the old ones' names, after the indexes
//   careless     wrong: looks at no result
//
// Exit status: 0 done, 2 a sentence on stderr says why not, 3 the library broke a promise.

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/saver.h"
#include "cairn/writer.h"

namespace {

namespace fs = std::filesystem;
using cairn::Result;

constexpr int kFailed = 2;
constexpr int kBroken = 3;
constexpr int kDescriptorsMax = 256;
constexpr std::size_t kRows = 96;
constexpr std::size_t kColumns = 64;
constexpr std::size_t kFrozen = 1u << 18;

int failed(const cairn::Error& error) {
  std::fprintf(stderr, "cairn: %s\n", error.what.c_str());
  return kFailed;
}

int broken(const std::string& sentence) {
  std::fprintf(stderr, "act: %s\n", sentence.c_str());
  return kBroken;
}

enum class Indexes { Both, Cairn };

// Tensors of every kind that a writer treats differently: blocks, a scalar, strings, tied ones,
// none.
Result<void> write_tensors(cairn::Writer& writer, int seed) {
  std::vector<float> weights(kRows * kColumns);
  std::iota(weights.begin(), weights.end(), static_cast<float>(seed));
  const std::array<std::int32_t, 1> step{seed};
  const std::string number = std::to_string(seed);
  const std::array<std::string_view, 2> words{"seed", number};
  const std::array<std::byte, 2> fine{static_cast<std::byte>(seed), std::byte{7}};
  if (auto done = writer.tie("weights", "tied"); !done) return done;
  if (auto done = writer.write("fine", fine); !done) return done;
  if (auto done = writer.write("step", std::as_bytes(std::span(step))); !done) return done;
  if (auto done = writer.write_strings("words", words); !done) return done;
  return writer.write("tied", std::as_bytes(std::span(weights)));
}

std::vector<cairn::TensorSpec> specs() {
  using cairn::DType;
  return {{"empty", DType::Float64, {0, 3}},
          {"fine", DType::Opaque, {4}, {"F4", 4}},
          {"step", DType::Int32, {}},
          {"tied", DType::Float32, {kRows * kColumns}},
          {"weights", DType::Float32, {kRows, kColumns}},
          {"words", DType::String, {2}}};
}

// Asks the kernel for each: listing them would need one more.
int open_descriptors() {
  int count = 0;
  for (int i = 0; i < kDescriptorsMax; ++i) count += ::fcntl(i, F_GETFD) != -1 ? 1 : 0;
  return count;
}

// A writer that failed refuses everything from then on.
Result<void> save_once(const fs::path& prefix, int seed, Indexes indexes, bool& refuses) {
  cairn::WriterOptions options;
  options.tensorflow_index = indexes == Indexes::Both;
  options.metadata = {{"note", std::to_string(seed)}};
  auto writer = cairn::Writer::create(prefix, specs(), options);
  if (!writer) return std::move(writer).error();
  if (auto done = write_tensors(*writer, seed); !done) {
    refuses = !writer->commit();
    return done;
  }
  auto done = writer->commit();
  // Where the lock could not be had nothing has happened, and it may be tried again: then the save
  // must be as good as any.
  return done || !writer->commit() ? done : Result<void>();
}

// `before`: how many descriptors were open.
int exit_of(const Result<void>& done, int before) {
  if (done) return 0;
  const int after = open_descriptors();
  if (after > before) return broken(std::to_string(after - before) + " descriptors stayed open");
  return failed(done.error());
}

int save(const fs::path& prefix, int seed, Indexes indexes = Indexes::Both) {
  const int before = open_descriptors();
  bool refuses = true;
  const auto done = save_once(prefix, seed, indexes, refuses);
  if (!refuses) return broken("a writer that had failed reported success");
  return exit_of(done, before);
}

cairn::SaverOptions keeping(std::uint64_t count) {
  cairn::SaverOptions options;
  options.keep_any_of = {cairn::Retention::newest(count)};
  return options;
}

// `save` saves by the Saver, under the name that PREFIX has without its step.
template <class Save>
Result<void> keep_once(const fs::path& prefix, int seed, const cairn::SaverOptions& options,
                       const Save& save) {
  auto saver = cairn::Saver::open(prefix.parent_path(), options);
  if (!saver) return std::move(saver).error();
  const std::string name = prefix.filename();
  const std::size_t dash = name.rfind('-');
  cairn::SaveOptions what;
  what.metadata = {{"note", std::to_string(seed)}};
  if (dash != std::string::npos) what.step = std::atoi(name.c_str() + dash + 1);
  auto saved = save(*saver, name.substr(0, dash), what);
  if (!saved) return std::move(saved).error();
  return {};
}

int keep(const fs::path& prefix, int seed, Indexes indexes = Indexes::Both) {
  cairn::SaverOptions options = keeping(2);
  options.tensorflow_index = indexes == Indexes::Both;
  const int before = open_descriptors();
  const auto fill = [&](cairn::Writer& writer) { return write_tensors(writer, seed); };
  const auto save = [&](cairn::Saver& saver, const std::string& name,
                        const cairn::SaveOptions& what) {
    return saver.save(name, specs(), fill, what);
  };
  return exit_of(keep_once(prefix, seed, options, save), before);
}

// The save shares the shard of the large tensor, whose bytes are given each time.
int share(const fs::path& prefix, int seed) {
  cairn::SaverOptions options = keeping(2);
  options.incremental = true;
  std::vector<std::uint64_t> frozen(kFrozen);
  std::iota(frozen.begin(), frozen.end(), std::uint64_t{1});
  const std::array<std::int32_t, 1> step{seed};
  const std::string number = std::to_string(seed);
  const std::array<std::string_view, 2> words{"seed", number};
  const std::array<cairn::NamedTensor, 3> tensors{
      {{{"frozen", cairn::DType::Uint64, {kFrozen}}, std::as_bytes(std::span(frozen)), {}},
       {{"step", cairn::DType::Int32, {}}, std::as_bytes(std::span(step)), {}},
       {{"words", cairn::DType::String, {2}}, {}, words}}};
  const int before = open_descriptors();
  const auto save = [&](cairn::Saver& saver, const std::string& name,
                        const cairn::SaveOptions& what) { return saver.save(name, tensors, what); };
  return exit_of(keep_once(prefix, seed, options, save), before);
}

int pin(const fs::path& prefix) {
  auto saver = cairn::Saver::open(prefix.parent_path());
  if (!saver) return failed(saver.error());
  const auto done = saver->pin(prefix);
  return done ? 0 : failed(done.error());
}

int prune(const fs::path& dir, int count) {
  auto saver = cairn::Saver::open(dir, keeping(static_cast<std::uint64_t>(count)));
  if (!saver) return failed(saver.error());
  const auto verdicts = saver->prune(false);
  return verdicts ? 0 : failed(verdicts.error());
}

// ---- Wrong on purpose ---------------------------------------------------------------------------

constexpr const char* kSuffixes[] = {".index", ".cairn", ".data-00000-of-00002",
                                     ".data-00001-of-00002"};

int overwrite(const fs::path& prefix, int seed) {
  const fs::path elsewhere = prefix.parent_path() / "new" / prefix.filename();
  if (const int exit = save(elsewhere, seed); exit != 0) return exit;
  for (const char* suffix : kSuffixes) {
    fs::rename(elsewhere.string() + suffix, prefix.string() + suffix);
  }
  fs::remove_all(elsewhere.parent_path());
  return 0;
}

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

int careless(const fs::path& prefix, int seed) {
  std::error_code ignored;
  const fs::path elsewhere = prefix.parent_path().parent_path() / "elsewhere";
  (void)save(elsewhere / prefix.filename(), seed);
  for (const char* suffix : kSuffixes) {
    const std::string name = prefix.string() + suffix;
    const std::string temporary = name + ".cairn-tmp-0123456789abcdef";
    const std::string bytes = bytes_of((elsewhere / prefix.filename()).string() + suffix);
    const int file = ::open(temporary.c_str(), O_CREAT | O_WRONLY, 0666);
    [[maybe_unused]] const auto count = ::write(file, bytes.data(), bytes.size());
    (void)::fsync(file);
    ::close(file);
    fs::rename(temporary, name, ignored);
  }
  fs::remove_all(elsewhere, ignored);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc == 4 ? argv[1] : "";
  const fs::path prefix = argc == 4 ? argv[2] : "";
  const int seed = argc == 4 ? std::atoi(argv[3]) : 0;
  if (mode == "save") return save(prefix, seed);
  if (mode == "alone") return save(prefix, seed, Indexes::Cairn);
  if (mode == "keep") return keep(prefix, seed);
  if (mode == "keep-alone") return keep(prefix, seed, Indexes::Cairn);
  if (mode == "share") return share(prefix, seed);
  if (mode == "pin") return pin(prefix);
  if (mode == "prune") return prune(prefix, seed);
  if (mode == "overwrite") return overwrite(prefix, seed);
  if (mode == "careless") return careless(prefix, seed);
  std::fputs("usage: act MODE PREFIX SEED\n", stderr);
  return 64;
}
