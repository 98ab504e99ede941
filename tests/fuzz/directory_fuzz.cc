// A directory full of files that lie, and everything a user may do with it.
//
// The input is the files, one after another: which name (a byte), how long (two bytes), the bytes.

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "cairn/cairn.h"
#include "fuzz.h"
#include "tests/fuzz/folder.h"
#include "tests/fuzz/repair.h"

using namespace cairn;

namespace {

constexpr std::string_view kNames[] = {"m.cairn",
                                       "m.index",
                                       "m.data-00000-of-00001",
                                       "m.data-00000-of-00002",
                                       "m.data-00001-of-00002",
                                       "checkpoint",
                                       "x.safetensors",
                                       "v1",
                                       "m.meta",
                                       ".cairn-journal",
                                       "m_temp/part-00000-of-00001.index",
                                       "n.cairn"};
constexpr std::string_view kSecret = "nobody may touch this";

struct File {
  std::uint8_t name = 0;
  std::string bytes;
};

std::vector<File> files_of(std::string_view input) {
  std::vector<File> files;
  while (input.size() >= 3) {
    const auto name = static_cast<std::uint8_t>(input[0]);
    const auto size = format::load_le<std::uint16_t>(format::as_bytes(input).data() + 1);
    input.remove_prefix(3);
    files.push_back({name, std::string(input.substr(0, size))});
    input.remove_prefix(files.back().bytes.size());
  }
  return files;
}

std::string input_of(const std::vector<File>& files) {
  std::string input;
  for (const File& file : files) {
    input.push_back(static_cast<char>(file.name));
    format::append_le(input, static_cast<std::uint16_t>(file.bytes.size()));
    input += file.bytes;
  }
  return input;
}

void write(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

void use(const Checkpoint& checkpoint) {
  (void)checkpoint.verify();
  for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i) {
    const Tensor tensor = checkpoint.tensor_at(i);
    fuzz::demand(checkpoint.tensor(tensor.name()).has_value(), "each tensor is found by its name");
    const auto size = tensor.read_bytes();
    if (!size || *size > (64u << 20)) continue;  // zeros may be many: a hole in a slice costs none
    std::vector<std::byte> bytes(*size);
    const auto read = tensor.read(bytes);
    if (const auto mapped = tensor.bytes(); mapped && read && !mapped->empty())
      fuzz::demand(std::ranges::equal(*mapped, bytes), "a copy is what is mapped");
    (void)tensor.strings();
  }
  (void)checkpoint.prefetch();
}

void transfer(const fuzz::Folder& folder, const std::filesystem::path& path) {
  TransferOptions elsewhere;
  elsewhere.replace = true;
  for (const Format format : {Format::Cairn, Format::TensorFlow, Format::Safetensors}) {
    elsewhere.output = folder.fresh("out") / "m";
    (void)convert(path, format, elsewhere);
  }
  elsewhere.output = folder.fresh("out") / "m";
  (void)import_index(path, elsewhere);
  (void)export_index(path, Format::TensorFlow, elsewhere);
  const std::filesystem::path both[] = {path, path.parent_path() / "x.safetensors"};
  (void)merge(both, elsewhere);
}

void look_at_catalog(const std::filesystem::path& dir) {
  (void)get_checkpoint_state(dir);
  (void)latest_checkpoint(dir);
  (void)latest_whole(dir);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::Folder folder;
  const auto dir = folder.fresh("in");
  write(folder.root() / "secret", kSecret);
  for (const File& file : files_of(fuzz::text_of(data, size)))
    write(dir / kNames[file.name % std::size(kNames)], file.bytes);
  look_at_catalog(dir);
  for (const auto& path : {dir, dir / "m", dir / "m.index", dir / "x.safetensors", dir / "v1"}) {
    OpenOptions options;
    options.access = size % 2 == 0 ? Access::Shared : Access::Copy;
    const auto checkpoint = Checkpoint::open(path, options);
    if (!checkpoint) continue;
    use(*checkpoint);
    transfer(folder, path);
  }
  std::ifstream secret(folder.root() / "secret", std::ios::binary);
  fuzz::demand(std::string(std::istreambuf_iterator<char>(secret), {}) == kSecret,
               "no file outside of the directory changes");
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  auto files = files_of(fuzz::text_of(data, size));
  if (files.empty() || seed % 32 == 0)
    return fuzz::give(fuzz::mutated(std::string(fuzz::text_of(data, size)), max_size), data,
                      max_size);
  File& file = files[seed / 32 % files.size()];
  const std::string_view name = kNames[file.name % std::size(kNames)];
  if (name.ends_with(".index") || name == "v1") {
    file.bytes = fuzz::mutated_table(file.bytes, file.bytes.size() + 256, seed / 1024);
  } else {
    file.bytes = fuzz::mutated(file.bytes, file.bytes.size() + 64);
    if (name.ends_with(".cairn") && seed % 16 != 1) fuzz::repair_index(file.bytes);
  }
  return fuzz::give(input_of(files), data, max_size);
}
