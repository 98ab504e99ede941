// A GGUF file as a checkpoint; or, by any of them, the files NAME-00001-of-00003.gguf and so on of
// a split model.

#include <algorithm>
#include <charconv>
#include <string>
#include <vector>

#include "format/gguf/header.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/sorted.h"
#include "lib/open/file_formats.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using format::gguf::Header;

// What is read at first: a header without a vocabulary. Then eight times as much, and so on. With
// the facts of its tensors it is less than 128 KiB: more memory the C library gives back to the
// kernel each time it is freed, and takes anew page by page.
constexpr std::uint64_t kHeadBytes = std::uint64_t{32} << 10;
constexpr std::size_t kLeftOutShownMax = 8;

struct HeaderWish {
  bool whole = true;
  std::optional<std::uint32_t> split_alignment;
};

// A GGUF file that is damaged is said to be that, any other file what it is.
Error refused(const OpenShard& file, const format::DecodeError& reason) {
  return named_for_what_it_is(file.file, error_of(file.file.path(), reason), {FileType::Gguf});
}

Result<Header> read_header(const OpenShard& file, const HeaderWish& wish) {
  const std::uint64_t size_bytes = file.identity.size_bytes;
  for (std::uint64_t head_bytes = kHeadBytes;; head_bytes *= 8) {
    os::Bytes head(std::min(head_bytes, size_bytes));
    CAIRN_CHECK(file.file.read_at(0, head));
    auto header = format::gguf::decode_header(head, {size_bytes, wish.whole, wish.split_alignment});
    if (!header) return refused(file, header.error());
    if (*header) return **std::move(header);
  }
}

std::vector<std::string> left_out_of(const std::string& path, const Header& header) {
  std::vector<std::string> sentences;
  const std::size_t count = header.left_out.size();
  const std::size_t shown = count <= kLeftOutShownMax ? count : kLeftOutShownMax - 1;
  for (std::size_t i = 0; i < shown; ++i) sentences.push_back(path + ": " + header.left_out[i]);
  if (shown < count)
    sentences.push_back(path + ": " + std::to_string(count - shown) + " more are left out");
  return sentences;
}

format::ShardFacts shard_of(const OpenShard& file, const std::string& name, const Header& header) {
  const std::uint64_t size_bytes = file.identity.size_bytes;
  return {name, format::ShardKind::AnyFile,           file.identity, header.data_offset_bytes,
          0,    size_bytes - header.data_offset_bytes};
}

// ---- Parts --------------------------------------------------------------------------------------

// NAME-00001-of-00003.gguf, as a part's number and all parts' count say.
std::string part_suffix(std::uint64_t number, std::uint64_t count) {
  const auto digits = [](std::uint64_t value) {
    const std::string text = std::to_string(value);
    return std::string(5 - std::min<std::size_t>(text.size(), 5), '0') + text;
  };
  return "-" + digits(number + 1) + "-of-" + digits(count) + ".gguf";
}

Error no_part(const std::string& path, const std::string& why) {
  return {Code::Corrupt, 0, path + ": " + why};
}

// Opens one of the parts and adds what it says.
class PartsReader {
 public:
  PartsReader(const Location& location, bool whole, std::string name, std::uint64_t count)
      : location_(location), whole_(whole), name_(std::move(name)), count_(count) {}

  Result<FileIndex> read() {
    CAIRN_TRY(first, read_part(0));
    for (std::uint64_t number = 1; number < count_; ++number) {
      CAIRN_TRY(other, read_part(number));
      others_.push_back(std::move(other));
    }
    format::sort_by_name(facts_.tensors);
    if (const format::TensorFacts* const twice = format::find_twice(facts_.tensors))
      return no_part(first.file.path(),
                     "two parts have a tensor called " + format::quoted(twice->name));
    if (tensor_count_ != split_.tensor_count) {
      return no_part(first.file.path(),
                     "says that all parts have " + std::to_string(split_.tensor_count) +
                         " tensors, but they have " + std::to_string(tensor_count_));
    }
    return FileIndex{std::move(first), std::move(facts_),  std::move(left_out_),
                     count_,           std::move(others_), {}};
  }

 private:
  Result<OpenShard> read_part(std::uint64_t number) {
    const std::string name = name_ + part_suffix(number, count_);
    auto opened = open_shard(location_.directory, name, location_.links == os::Links::Follow);
    if (!opened) {
      Error error = std::move(opened).error();
      error.what += ": it is part " + std::to_string(number + 1) + " of " + std::to_string(count_) +
                    " of a split model";
      return error;
    }
    CAIRN_TRY(header, header_of(*opened, number));
    facts_.shards.push_back(shard_of(*opened, name, header));
    for (format::TensorFacts& tensor : header.tensors) {
      tensor.span.shard = static_cast<std::uint32_t>(number);
      facts_.tensors.push_back(std::move(tensor));
    }
    tensor_count_ += header.tensor_count;
    std::ranges::move(left_out_of(opened->file.path(), header), std::back_inserter(left_out_));
    if (number != 0) return *std::move(opened);
    facts_.metadata = std::move(header.metadata);
    split_ = header.split;
    return *std::move(opened);
  }

  // Twice: where the tensors lie depends on the alignment, which the first part says for all.
  Result<Header> header_of(const OpenShard& file, std::uint64_t number) {
    CAIRN_TRY(header, read_header(file, {whole_, std::nullopt}));
    const format::gguf::Split& split = header.split;
    if (number == 0) alignment_ = header.alignment;
    if (split.number == number && split.count == count_)
      return read_header(file, {whole_, alignment_});
    const std::string said = split.count == 0 ? "no part of a split model"
                                              : "part " + std::to_string(split.number + 1) +
                                                    " of " + std::to_string(split.count);
    return no_part(file.file.path(), "says that it is " + said + ", and is called part " +
                                         std::to_string(number + 1) + " of " +
                                         std::to_string(count_));
  }

  const Location& location_;
  const bool whole_;
  const std::string name_;  // of the model
  const std::uint64_t count_;
  format::IndexFacts facts_;
  std::vector<std::string> left_out_;
  std::vector<OpenShard> others_;
  std::uint32_t alignment_ = 0;
  std::uint64_t tensor_count_ = 0;
  format::gguf::Split split_;
};

// The model that the file is a part of, by the names of its other files.
Result<FileIndex> read_parts(const std::string& path, std::uint64_t count,
                             const FileReadOptions& how) {
  const std::string& name = how.name;
  const std::size_t suffix_size = part_suffix(0, count).size();
  // By the count in its name any part is recognised: the number is compared when all are read.
  const std::string_view end = name.size() > suffix_size
                                   ? std::string_view(name).substr(name.size() - suffix_size)
                                   : std::string_view();
  std::uint64_t number = 0;
  const bool numbered =
      end.size() > 6 &&
      std::from_chars(end.data() + 1, end.data() + 6, number).ptr == end.data() + 6 && number != 0;
  if (!numbered || end != part_suffix(number - 1, count) || number > count ||
      count > format::limits::kShardsMax) {
    return Error{Code::Unsupported, 0,
                 path + ": is one of " + std::to_string(count) +
                     " files of a split model, and the others are found by its name, which is to "
                     "end with " +
                     part_suffix(0, count) + " for the first one: rename it so"};
  }
  return PartsReader(*how.model, how.whole, name.substr(0, name.size() - suffix_size), count)
      .read();
}

}  // namespace

Result<FileIndex> read_gguf(OpenShard file, const FileReadOptions& how) {
  CAIRN_TRY(header, read_header(file, {how.whole, std::nullopt}));
  const std::uint64_t part_count = std::max<std::uint64_t>(header.split.count, 1);
  if (part_count > 1 && how.model != nullptr) return read_parts(file.file.path(), part_count, how);
  format::IndexFacts facts;
  facts.shards.push_back(shard_of(file, how.name, header));
  auto left_out = left_out_of(file.file.path(), header);
  facts.metadata = std::move(header.metadata);
  facts.tensors = std::move(header.tensors);
  return FileIndex{std::move(file), std::move(facts), std::move(left_out), part_count, {}, {}};
}

}  // namespace cairn::internal
