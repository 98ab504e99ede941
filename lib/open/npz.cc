// NumPy's archive (.npz) as a checkpoint: each member NAME.npy is the tensor NAME.
//
// A stored member is served from its place in the file. A deflated one is decoded on its first use,
// into one file in memory, which is the second shard.
//
// numpy reads a member only when it is used, so a member of Python objects, or one that is no
// array, does not prevent reading the others. Cairn does the same: what a checkpoint cannot hold is
// left out, and a warning names it. What is wrong with the archive itself is different, as deflated
// bytes that cannot be decoded: it is refused, except if the undamaged members are to be salvaged.

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "format/checked.h"
#include "format/digest.h"
#include "format/numpy/array.h"
#include "format/plain_facts.h"
#include "format/quoted.h"
#include "format/sorted.h"
#include "lib/open/file_formats.h"
#include "lib/open/zip_file.h"
#include "lib/read/identity.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using format::zip::Member;

constexpr std::string_view kSuffix = ".npy";
constexpr std::size_t kUsualHeaderBytes = 256;  // of an .npy: numpy writes 128

bool is_deflated(const Member& member) noexcept { return member.method == format::zip::kDeflated; }

// Why the member cannot be read, whatever it holds; empty: it can.
std::string_view unreadable(const Member& member) noexcept {
  if (!member.name.ends_with(kSuffix)) return "its name does not end in .npy";
  if (member.encrypted) return "it is encrypted";
  if (member.method != format::zip::kStored && !is_deflated(member))
    return "it is compressed by another method than deflate";
  return {};
}

// The elements of a deflated member: what of it lies behind the header.
struct ElementsOfMember {
  Member member;
  std::uint64_t data_offset_bytes;  // of the member, in the file
  std::uint64_t header_bytes;
  std::uint64_t size_bytes;

  // Errors: Io; Corrupt: no deflated bytes, too few, too many, or with another CRC-32.
  Result<void> decode(const os::File& file, const os::File& to, std::uint64_t offset_bytes) const {
    InflatedMember inflated(file, member, data_offset_bytes);
    std::vector<std::byte> block(header_bytes);
    CAIRN_CHECK(inflated.read(block));
    for (std::uint64_t done = 0; done < size_bytes; done += block.size()) {
      block.resize(std::min(kCachedBlockBytes, size_bytes - done));
      CAIRN_CHECK(inflated.read(block));
      CAIRN_CHECK(to.write_at(offset_bytes + done, block));
    }
    return inflated.finish();
  }
};

class NpzReader {
 public:
  // Neither the file nor the members may go before.
  NpzReader(const os::File& file, std::span<const Member> members, const FileReadOptions& how)
      : file_(file),
        members_(members),
        whole_(how.whole),
        void_dtype_(how.formats.void_dtype),
        heads_(file, members, kUsualHeaderBytes) {
    plain_.reserve(members.size());
  }

  Result<void> run() {
    for (const Member& member : members_) {
      auto added = add(member);
      if (added) continue;
      const Code code = added.error().code;
      if (code != Code::Unsupported && (code != Code::Corrupt || whole_))
        return std::move(added).error();
      leave_out(added.error());
    }
    if (left_out_count_ > kNamedMax)
      left_out_.push_back(file_.path() + ": " + std::to_string(left_out_count_ - kNamedMax) +
                          " more members are left out");
    if (!plain_.empty() || !tensors_.empty() || left_out_.empty()) return {};
    if (broken_) return *std::move(broken_);
    return Error{Code::Unsupported, 0,
                 file_.path() + ": no array of it can be read; the first reason is that of " +
                     first_reason_.substr(file_.path().size() + 2)};
  }

  // Once. `file`: the one that was read.
  Result<FileIndex> index(OpenShard file, const FileReadOptions& how) {
    const std::string& name = how.name;
    FileIndex index{std::move(file), {}, std::move(left_out_), 1, {}, {}};
    format::ShardFacts shard{name, format::ShardKind::AnyFile, index.shard.identity};
    shard.head_bytes = shard.identity.size_bytes;
    const auto count_bytes = [&shard](const auto& span) {
      if (span.shard != 0) return;
      shard.head_bytes = std::min(shard.head_bytes, span.offset_bytes);
      shard.live_bytes += span.size_bytes;
    };
    for (const format::TensorFacts& tensor : tensors_) count_bytes(tensor.span);
    for (const PlainArray& array : plain_) count_bytes(array.span);
    index.facts.shards.push_back(std::move(shard));
    if (memory_) {
      CAIRN_CHECK(decoded_->make_room(*memory_));
      CAIRN_TRY(info, memory_->info());
      index.facts.shards.push_back({name + " (decoded)", format::ShardKind::AnyFile,
                                    identity_of(info), 0, 0, decoded_->members_bytes()});
      index.decoded = OpenShard{*std::move(memory_), identity_of(info)};
      index.decoded_members = std::move(decoded_);
    }
    if (how.plain && tensors_.empty()) {
      index.plain = columns();
      return index;
    }
    format::append_facts(columns(), tensors_);
    format::sort_by_name(tensors_);
    index.facts.tensors = std::move(tensors_);
    return index;
  }

 private:
  static constexpr std::size_t kNamedMax = 20;  // members that warnings name: stops a flood

  // A member whose header numpy wrote: its name is that of the member.
  struct PlainArray {
    std::string_view name;
    DType dtype{};
    format::ShortShape shape;
    format::Span span;
  };

  // The plain arrays, sorted.
  format::PlainTensors columns() const {
    const auto name = [this](std::size_t i) { return plain_[i].name; };
    std::size_t names_bytes = 0;
    std::size_t dims = 0;
    for (const PlainArray& array : plain_) {
      names_bytes += array.name.size();
      dims += array.shape.dims().size();
    }
    format::PlainTensors sorted({plain_.size(), names_bytes, dims});
    for (const std::size_t i : format::order_by_name(plain_.size(), name))
      sorted.add(plain_[i].name, plain_[i].dtype, plain_[i].shape.dims(), plain_[i].span);
    return sorted;
  }

  void leave_out(const Error& reason) {
    if (left_out_count_ == 0) first_reason_ = reason.what;
    if (++left_out_count_ <= kNamedMax) left_out_.push_back(reason.what + "; it is left out");
  }

  Error error(const Member& member, Code code, const std::string& why) const {
    return {code, 0, file_.path() + ": member " + format::quoted(member.name) + ": " + why};
  }

  Error error(const Member& member, const format::DecodeError& reason) const {
    return error(member, reason.code, reason.what);
  }

  // For a stored member, whose bytes begin there, and are no array that can be read.
  std::optional<format::TensorFacts> no_array(const Member& member, std::uint64_t begin,
                                              const format::DecodeError& reason) {
    const bool is_broken = reason.code == Code::Corrupt;
    const std::string byte =
        is_broken ? "byte " + std::to_string(begin + reason.byte_offset) + ": " : "";
    Error why = error(member, reason.code, byte + reason.what);
    leave_out(why);
    if (is_broken && !broken_) broken_ = std::move(why);
    return std::nullopt;
  }

  Result<void> add(const Member& member) {
    const std::string_view why = unreadable(member);
    if (!why.empty()) return error(member, Code::Unsupported, std::string(why));
    const std::string_view name =
        std::string_view(member.name).substr(0, member.name.size() - kSuffix.size());
    CAIRN_TRY(head, heads_.read(member));
    if (!is_deflated(member)) {
      if (const auto array = format::numpy::scan_array(head.data(member), member.size_bytes)) {
        const std::uint64_t offset = array->data_offset_bytes;
        plain_.push_back({name,
                          array->dtype,
                          array->shape,
                          {0, head.data_offset_bytes + offset, member.size_bytes - offset, {}}});
        return {};
      }
    }
    CAIRN_TRY(tensor, is_deflated(member) ? decode(member, head) : in_place(member, head));
    if (!tensor) return {};
    tensors_.push_back(*std::move(tensor));
    tensors_.back().name = name;
    return {};
  }

  // Nothing: it is left out.
  Result<std::optional<format::TensorFacts>> in_place(const Member& member,
                                                      const ZipMemberHead& head) {
    std::span<const std::byte> begin = head.data(member);
    os::Bytes longer{0};
    // A local header may be long, to align what is behind it, and an .npy header as well.
    const auto reach = [&](std::uint64_t bytes) -> Result<void> {
      bytes = std::min(bytes, member.size_bytes);
      if (bytes <= begin.size()) return {};
      longer = os::Bytes(bytes);
      CAIRN_CHECK(file_.read_at(head.data_offset_bytes, longer));
      begin = longer;
      return {};
    };
    CAIRN_CHECK(reach(format::numpy::kPreambleBytes));
    const auto size = format::numpy::data_offset_bytes(
        begin.first(std::min(begin.size(), format::numpy::kPreambleBytes)));
    if (!size) return no_array(member, head.data_offset_bytes, size.error());
    CAIRN_CHECK(reach(*size));
    auto tensor = format::numpy::decode_array(begin.first(std::min(begin.size(), *size)),
                                              member.size_bytes, void_dtype_);
    if (!tensor) return no_array(member, head.data_offset_bytes, tensor.error());
    tensor->span.offset_bytes += head.data_offset_bytes;
    return std::optional(*std::move(tensor));
  }

  // Its header is decoded now, its elements on their first use.
  Result<std::optional<format::TensorFacts>> decode(const Member& member,
                                                    const ZipMemberHead& head) {
    InflatedMember inflated(file_, member, head.data_offset_bytes);
    std::vector<std::byte> begin(
        std::min<std::uint64_t>(member.size_bytes, format::numpy::kPreambleBytes));
    CAIRN_CHECK(inflated.read(begin));
    const auto size = format::numpy::data_offset_bytes(begin);
    if (!size) return error(member, size.error());
    const std::size_t preamble_bytes = begin.size();
    begin.resize(std::max<std::uint64_t>(std::min(*size, member.size_bytes), preamble_bytes));
    CAIRN_CHECK(inflated.read(std::span(begin).subspan(preamble_bytes)));
    auto tensor = format::numpy::decode_array(
        std::span(begin).first(std::min<std::uint64_t>(begin.size(), *size)), member.size_bytes,
        void_dtype_);
    if (!tensor) return error(member, tensor.error());
    if (!memory_) {
      CAIRN_TRY(memory, os::memory_file(file_.path() + " (decoded)"));
      memory_ = std::move(memory);
      decoded_ = std::make_shared<DecodedMembers>(file_.path());
    }
    const ElementsOfMember elements{member, head.data_offset_bytes, begin.size(),
                                    tensor->span.size_bytes};
    const auto decode = [elements](std::span<const os::File> shards, const os::File& to,
                                   std::uint64_t offset_bytes) {
      return elements.decode(shards.front(), to, offset_bytes);
    };
    tensor->span = {1, decoded_->add(elements.size_bytes, decode), elements.size_bytes, {}};
    // An empty array has no use on which its sum would be compared.
    if (!whole_ || elements.size_bytes == 0)
      CAIRN_CHECK(elements.decode(file_, *memory_, tensor->span.offset_bytes));
    return std::optional(*std::move(tensor));
  }

  const os::File& file_;
  const std::span<const Member> members_;
  const bool whole_;
  const std::optional<DType> void_dtype_;
  ZipHeads heads_;
  std::vector<PlainArray> plain_;
  std::vector<format::TensorFacts> tensors_;  // the others
  std::vector<std::string> left_out_;
  std::size_t left_out_count_ = 0;
  std::string first_reason_;
  std::optional<Error> broken_;     // of the first array that is
  std::optional<os::File> memory_;  // for what is decoded
  std::shared_ptr<DecodedMembers> decoded_;
};

}  // namespace

Result<FileIndex> read_npz(OpenShard file, const FileReadOptions& how) {
  const auto refused = [&](Error error) {
    return named_for_what_it_is(file.file, std::move(error),
                                {FileType::NumpyArchive, FileType::Zip});
  };
  const auto members = read_zip_members(file.file, {0, file.identity.size_bytes});
  if (!members) return refused(members.error());
  NpzReader reader(file.file, *members, how);
  if (auto done = reader.run(); !done) return refused(std::move(done).error());
  return reader.index(std::move(file), how);
}

}  // namespace cairn::internal
