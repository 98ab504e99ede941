// One pass over both indexes, which are sorted by name. Nearly all tensors of nearly all pairs of
// checkpoints have the same name, dtype and shape, and a content hash on both sides. These are
// compared as they lie in the columns, in a few nanoseconds each; IndexView::tensor() puts together
// everything that a tensor can have, and takes the longer way for the others.

#include "lib/edit/diff_indexes.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "lib/read/identity.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using format::IndexView;
using Columns = IndexView::TensorColumns;

bool has_codes_of_its_own(const format::TensorRecord& record) noexcept {
  return record.dtype >= static_cast<std::uint16_t>(DType::Opaque);
}

bool is_same_name(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

enum class Verdict : std::uint8_t { Equal, EqualByChecksum, Undecided, Content, Shape, DType };

class Pass {
 public:
  Pass(const OpenCheckpoint& a, const OpenCheckpoint& b, bool trust_checksums)
      : a_(a),
        b_(b),
        of_a_(a.index().tensor_columns()),
        of_b_(b.index().tensor_columns()),
        trust_checksums_(trust_checksums) {}

  Result<IndexDiff> run();

 private:
  Result<Verdict> compare(const DiffPair& pair);
  Result<Verdict> compare_tensors(const DiffPair& pair);
  Result<Verdict> compare_spans(const format::Span& a, const format::Span& b);
  Result<bool> is_same_place(const IndexView::Tensor& a, const IndexView::Tensor& b);
  bool is_same_span(const format::Span& a, const format::Span& b) const noexcept;
  Result<void> know_files();
  void add(const DiffPair& pair, Verdict verdict);

  const OpenCheckpoint& a_;
  const OpenCheckpoint& b_;
  const Columns of_a_;
  const Columns of_b_;
  const bool trust_checksums_;
  IndexDiff found_;
  bool files_known_ = false;
  std::vector<os::FileInfo> files_of_a_;  // of the shards; empty: none is open
  std::vector<os::FileInfo> files_of_b_;
};

Result<IndexDiff> Pass::run() {
  const std::size_t a_count = of_a_.records.size();
  const std::size_t b_count = of_b_.records.size();
  std::size_t a = 0;
  std::size_t b = 0;
  while (a < a_count && b < b_count) {
    const std::string_view name_of_a = of_a_.name(a);
    const std::string_view name_of_b = of_b_.name(b);
    if (is_same_name(name_of_a, name_of_b)) {
      const DiffPair pair{a++, b++};
      CAIRN_TRY(verdict, compare(pair));
      add(pair, verdict);
    } else if (name_of_a < name_of_b) {
      found_.removed.push_back(a++);
    } else {
      found_.added.push_back(b++);
    }
  }
  for (; a < a_count; ++a) found_.removed.push_back(a);
  for (; b < b_count; ++b) found_.added.push_back(b);
  return std::move(found_);
}

Result<Verdict> Pass::compare(const DiffPair& pair) {
  const format::TensorRecord& a = of_a_.records[pair.a];
  const format::TensorRecord& b = of_b_.records[pair.b];
  if (a.dtype != b.dtype || a.bits != b.bits || has_codes_of_its_own(a))
    return compare_tensors(pair);
  if (!std::ranges::equal(of_a_.shape(pair.a), of_b_.shape(pair.b))) return Verdict::Shape;
  const Digest128* const hash_of_a = of_a_.content_hash(pair.a);
  const Digest128* const hash_of_b = of_b_.content_hash(pair.b);
  if (hash_of_a != nullptr && hash_of_b != nullptr)
    return *hash_of_a == *hash_of_b ? Verdict::Equal : Verdict::Content;
  const auto span_of_a = a_.index().plain_span(pair.a);
  const auto span_of_b = b_.index().plain_span(pair.b);
  if (!span_of_a || !span_of_b) return compare_tensors(pair);
  return compare_spans(*span_of_a, *span_of_b);
}

// The stored sums of bytes that are laid out in the same way.
enum class Sums : std::uint8_t { Unknown, Same, Different };

Sums compare_sums(const format::Span& a, const format::Span& b) noexcept {
  if (!a.crc32c || !b.crc32c || a.size_bytes != b.size_bytes) return Sums::Unknown;
  return *a.crc32c == *b.crc32c ? Sums::Same : Sums::Different;
}

bool is_same_layout(const IndexView::Tensor& a, const IndexView::Tensor& b) noexcept {
  return a.encoding == b.encoding && a.big_endian == b.big_endian &&
         std::ranges::equal(a.strides, b.strides) && a.partitioned() == b.partitioned();
}

Result<Verdict> Pass::compare_tensors(const DiffPair& pair) {
  const IndexView::Tensor a = a_.index().tensor(pair.a);
  const IndexView::Tensor b = b_.index().tensor(pair.b);
  if (!is_same_dtype(a, b)) return Verdict::DType;
  if (!std::ranges::equal(a.shape, b.shape)) return Verdict::Shape;
  if (a.content_hash && b.content_hash)
    return *a.content_hash == *b.content_hash ? Verdict::Equal : Verdict::Content;
  if (std::ranges::find(a.shape, 0) != a.shape.end()) return Verdict::Equal;
  // Bytes between the elements may differ, and their sum with them.
  const bool in_one_place = !a.partitioned() && a.strides.empty();
  if (in_one_place && is_same_layout(a, b)) return compare_spans(a.span, b.span);
  CAIRN_TRY(same_place, is_same_place(a, b));
  return same_place ? Verdict::Equal : Verdict::Undecided;
}

// Of bytes that mean the same elements if they are the same.
Result<Verdict> Pass::compare_spans(const format::Span& a, const format::Span& b) {
  CAIRN_CHECK(know_files());
  if ((a.size_bytes == 0 && b.size_bytes == 0) || is_same_span(a, b)) return Verdict::Equal;
  const Sums sums = compare_sums(a, b);
  if (sums == Sums::Different) return Verdict::Content;
  return sums == Sums::Same && trust_checksums_ ? Verdict::EqualByChecksum : Verdict::Undecided;
}

Result<bool> Pass::is_same_place(const IndexView::Tensor& a, const IndexView::Tensor& b) {
  if (!is_same_layout(a, b)) return false;
  CAIRN_CHECK(know_files());
  if (!a.partitioned()) return is_same_span(a.span, b.span);
  if (a.slices_end - a.slices_begin != b.slices_end - b.slices_begin) return false;
  for (std::uint32_t i = 0; i < a.slices_end - a.slices_begin; ++i) {
    const IndexView::Slice of_a = a_.index().slice(a.slices_begin + i);
    const IndexView::Slice of_b = b_.index().slice(b.slices_begin + i);
    if (!std::ranges::equal(of_a.extents, of_b.extents)) return false;
    if (!is_same_span(of_a.span, of_b.span)) return false;
  }
  return true;
}

bool Pass::is_same_span(const format::Span& a, const format::Span& b) const noexcept {
  if (files_of_a_.empty() || files_of_b_.empty()) return false;
  // Decoded values are in files in memory, of which each checkpoint has its own.
  return a.offset_bytes == b.offset_bytes && a.size_bytes == b.size_bytes &&
         same_file(files_of_a_[a.shard], files_of_b_[b.shard]);
}

Result<void> Pass::know_files() {
  if (files_known_) return {};
  files_known_ = true;
  const auto ask = [](const OpenCheckpoint& checkpoint,
                      std::vector<os::FileInfo>& files) -> Result<void> {
    for (const os::File& file : checkpoint.parts().shards) {
      CAIRN_TRY(info, file.info());
      files.push_back(info);
    }
    return {};
  };
  CAIRN_CHECK(ask(a_, files_of_a_));
  return ask(b_, files_of_b_);
}

void Pass::add(const DiffPair& pair, Verdict verdict) {
  switch (verdict) {
    case Verdict::EqualByChecksum:
      ++found_.equal_by_checksum_count;
      [[fallthrough]];
    case Verdict::Equal:
      ++found_.equal_count;
      return;
    case Verdict::Undecided:
      found_.undecided.push_back(pair);
      return;
    case Verdict::Content:
      found_.changed.push_back({pair, Change::Content});
      return;
    case Verdict::Shape:
      found_.changed.push_back({pair, Change::Shape});
      return;
    case Verdict::DType:
      found_.changed.push_back({pair, Change::DType});
      return;
  }
}

}  // namespace

bool is_same_dtype(const IndexView::Tensor& a, const IndexView::Tensor& b) noexcept {
  return a.dtype == b.dtype && a.opaque_dtype == b.opaque_dtype &&
         a.element_bits == b.element_bits && a.block == b.block;
}

Result<IndexDiff> diff_indexes(const OpenCheckpoint& a, const OpenCheckpoint& b,
                               bool trust_checksums) {
  return Pass(a, b, trust_checksums).run();
}

}  // namespace cairn::internal
