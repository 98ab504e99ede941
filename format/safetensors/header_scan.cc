#include "format/safetensors/header_scan.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "format/checked.h"
#include "format/dtype.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/safetensors/header.h"
#include "format/sorted.h"

namespace cairn::format::safetensors {

namespace {

// An entry is the text of one tensor. Memory is reserved for as many tensors as a text of this size
// usually has; there may be more.
constexpr std::size_t kEntryBytesUsual = 80;
constexpr std::size_t kReservedMax = 1u << 18;

constexpr std::size_t kWindowBytes = 256u << 10;   // stays in the processor's cache
constexpr std::size_t kEntryBytesMax = 64u << 10;  // a longer one is left to the parser

constexpr std::uint64_t all_bytes(unsigned char byte) { return 0x0101010101010101u * byte; }

// Sets the top bit of every byte that is zero. Bytes above the lowest such byte may be wrong, so
// only the lowest bit that is set counts.
constexpr std::uint64_t zeros(std::uint64_t word) {
  return (word - all_bytes(1)) & ~word & all_bytes(0x80);
}

// The same for every byte that ends a plain string or must not be in it: a quotation mark, a
// backslash, a control character, a byte beyond ASCII.
constexpr std::uint64_t stops(std::uint64_t word) {
  const std::uint64_t control = (word - all_bytes(0x20)) & ~word & all_bytes(0x80);
  return zeros(word ^ all_bytes('"')) | zeros(word ^ all_bytes('\\')) | control |
         (word & all_bytes(0x80));
}

bool is_stop(char letter) noexcept {
  const auto byte = static_cast<unsigned char>(letter);
  return byte < 0x20 || byte >= 0x80 || letter == '"' || letter == '\\';
}

// The rest of the text, of which only a window is in memory: a header of 100,000 tensors has 9 MB,
// and memory for all of it costs more than the scan.
class Text {
 public:
  Text(const ReadAt& read, std::uint64_t begin, std::uint64_t end)
      : read_(read),
        next_(begin),
        last_(end),
        window_(std::make_unique_for_overwrite<char[]>(window_bytes())),
        at_(window_.get()),
        end_(at_) {}

  // Moves the window, so that the next entry is in it, if the entry has at most kEntryBytesMax.
  // False: the file cannot be read.
  bool refill() {
    const std::size_t rest = left();
    if (rest >= kEntryBytesMax || next_ == last_) return true;
    std::memmove(window_.get(), at_, rest);
    const std::size_t more = std::min<std::uint64_t>(window_bytes_ - rest, last_ - next_);
    const std::span<char> room(window_.get() + rest, more);
    if (!read_(next_, std::as_writable_bytes(room))) return false;
    next_ += more;
    at_ = window_.get();
    end_ = at_ + rest + more;
    return true;
  }

  bool take(std::string_view expected) noexcept {
    if (left() < expected.size() || std::string_view(at_, expected.size()) != expected)
      return false;
    at_ += expected.size();
    return true;
  }

  // The text of a string, up to its closing quotation mark, which is taken too. The opening one has
  // been taken before. std::nullopt: it is not plain, or does not end in the window.
  std::optional<std::string_view> take_string() noexcept {
    const char* stop = at_;
    std::uint64_t found = 0;
    while (end_ - stop >= 8 && found == 0) {
      found = stops(load_le<std::uint64_t>(reinterpret_cast<const std::byte*>(stop)));
      stop += found == 0 ? 8 : std::countr_zero(found) / 8;
    }
    while (stop != end_ && !is_stop(*stop)) ++stop;
    if (stop == end_ || *stop != '"') return std::nullopt;
    const std::string_view text(at_, static_cast<std::size_t>(stop - at_));
    at_ = stop + 1;
    return text;
  }

  // A number of up to 18 digits without leading zeros, as in JSON.
  std::optional<std::uint64_t> take_number() noexcept {
    const char* const begin = at_;
    std::uint64_t number = 0;
    while (at_ != end_ && *at_ >= '0' && *at_ <= '9' && at_ - begin < 19)
      number = 10 * number + static_cast<std::uint64_t>(*at_++ - '0');
    const auto digits = at_ - begin;
    if (digits == 0 || digits > 18 || (digits > 1 && *begin == '0')) return std::nullopt;
    return number;
  }

  bool only_spaces_left() {
    while (refill() && at_ != end_) {
      if (!std::all_of(at_, end_, [](char letter) { return letter == ' '; })) return false;
      at_ = end_;
    }
    return at_ == end_ && next_ == last_;
  }

 private:
  std::size_t window_bytes() const noexcept {
    return std::min<std::uint64_t>(kWindowBytes, last_ - next_);
  }
  std::size_t left() const noexcept { return static_cast<std::size_t>(end_ - at_); }

  const ReadAt& read_;
  std::uint64_t next_;        // where in the file the window ends
  const std::uint64_t last_;  // where in the file the text ends
  const std::size_t window_bytes_ = window_bytes();
  std::unique_ptr<char[]> window_;
  const char* at_;
  const char* end_;
};

// Reads the metadata, after `"__metadata__":{` has been taken.
bool scan_metadata(Text& text, KeyValues& metadata) {
  if (text.take("}")) return true;
  do {
    if (!text.take("\"")) return false;
    const auto key = text.take_string();
    if (!key || !text.take(":\"")) return false;
    const auto value = text.take_string();
    if (!value) return false;
    metadata.emplace_back(*key, *value);
  } while (text.take(","));
  std::vector<std::string_view> keys;
  for (const auto& [key, value] : metadata) keys.push_back(key);
  std::ranges::sort(keys);
  return std::ranges::adjacent_find(keys) == keys.end() && text.take("}");
}

class Scan {
 public:
  Scan(const ReadAt& read, std::uint64_t json_bytes)
      : text_(read, kLengthBytes, kLengthBytes + json_bytes),
        head_bytes_(kLengthBytes + json_bytes) {
    const std::size_t tensors = std::min(json_bytes / kEntryBytesUsual, kReservedMax);
    found_.tensors = PlainTensors({tensors, json_bytes / 2, 2 * tensors});
  }

  bool run(std::uint64_t payload_bytes) {
    if (!text_.refill() || !text_.take("{")) return false;
    if (!text_.take("}") && !entries()) return false;
    return text_.only_spaces_left() && end_ == payload_bytes;
  }

  PlainHeader take() { return std::move(found_); }

 private:
  bool entries() {
    bool any_metadata = false;
    do {
      if (!text_.refill() || !text_.take("\"")) return false;
      const auto name = text_.take_string();
      if (!name || !text_.take(":{")) return false;
      if (*name != kMetadataKey) {
        if (!tensor(*name)) return false;
      } else if (std::exchange(any_metadata, true) || !scan_metadata(text_, found_.metadata)) {
        return false;
      }
    } while (text_.take(","));
    return text_.take("}");
  }

  bool tensor(std::string_view name) {
    if (!text_.take("\"dtype\":\"")) return false;
    const auto dtype = text_.take_string();
    if (!dtype || !known(*dtype) || !text_.take(",\"shape\":[") || !shape()) return false;
    if (!text_.take(",\"data_offsets\":[")) return false;
    const auto begin = text_.take_number();
    if (!begin || !text_.take(",")) return false;
    const auto end = text_.take_number();
    if (!end || !text_.take("]}")) return false;
    // It must start where the tensor before ends: without gaps and overlaps all tensors do.
    if (*begin != end_ || *end < *begin) return false;
    const auto count = element_count(shape_);
    const auto bits = count ? checked_mul(*count, 8 * element_bytes(dtype_)) : std::nullopt;
    if (!bits || *bits / 8 != *end - *begin) return false;
    end_ = *end;
    found_.tensors.add(name, dtype_, shape_,
                       {0, head_bytes_ + *begin, *end - *begin, std::nullopt});
    return true;
  }

  // Sets the dtype. Usually it is that of the tensor before.
  bool known(std::string_view name) {
    if (!name.empty() && name == dtype_name_) return true;
    const auto dtype = dtype_from_safetensors(name);
    if (!dtype) return false;
    dtype_ = *dtype;
    dtype_name_ = name;
    return true;
  }

  bool shape() {
    shape_.clear();
    if (text_.take("]")) return true;
    do {
      const auto dimension = text_.take_number();
      if (!dimension || shape_.size() == limits::kRankMax) return false;
      shape_.push_back(static_cast<std::int64_t>(*dimension));
    } while (text_.take(","));
    return text_.take("]");
  }

  Text text_;
  const std::uint64_t head_bytes_;
  std::uint64_t end_ = 0;  // where in the payload the last tensor so far ends
  DType dtype_{};
  std::string dtype_name_;
  std::vector<std::int64_t> shape_;
  PlainHeader found_;
};

using Positions = std::vector<std::uint32_t>;

// Divides the tensors into runs in which names ascend. Returns where each run ends.
Positions runs_of(const PlainTensors& all) {
  Positions ends;
  const auto count = static_cast<std::uint32_t>(all.size());
  for (std::uint32_t i = 1; i < count; ++i) {
    if (all.name(i) <= all.name(i - 1)) ends.push_back(i);
  }
  if (count != 0) ends.push_back(count);
  return ends;
}

// Merges neighbouring runs until one is left, and returns the order of the tensors by name. There
// are few runs: the library sorts by the width of the dtype first, then by name, so a model has a
// run for each width.
Positions merged(const PlainTensors& all, Positions ends) {
  Positions order(all.size());
  std::iota(order.begin(), order.end(), 0);
  Positions next(order.size());
  const auto part = [&order](std::uint32_t begin, std::uint32_t end) {
    return std::span(order).subspan(begin, end - begin);
  };
  const auto name = [&all](std::uint32_t position) { return all.name(position); };
  while (ends.size() > 1) {
    Positions left;
    for (std::size_t i = 0; i < ends.size(); i += 2) {
      const std::uint32_t begin = i == 0 ? 0 : ends[i - 1];
      const std::uint32_t end = i + 1 < ends.size() ? ends[i + 1] : ends[i];
      std::ranges::merge(part(begin, ends[i]), part(ends[i], end), next.begin() + begin, {}, name,
                         name);
      left.push_back(end);
    }
    order.swap(next);
    ends = std::move(left);
  }
  return order;
}

// Sorts by name. False: two tensors have the same name.
bool sort(PlainTensors& tensors) {
  Positions ends = runs_of(tensors);
  if (ends.size() <= 1) return true;
  tensors = in_order(tensors, merged(tensors, std::move(ends)));
  for (std::size_t i = 1; i < tensors.size(); ++i) {
    if (tensors.name(i) == tensors.name(i - 1)) return false;
  }
  return true;
}

}  // namespace

std::optional<PlainHeader> scan_header(const ReadAt& read, std::uint64_t json_bytes,
                                       std::uint64_t file_bytes) {
  Scan scan(read, json_bytes);
  if (!scan.run(file_bytes - kLengthBytes - json_bytes)) return std::nullopt;
  PlainHeader header = scan.take();
  if (!sort(header.tensors)) return std::nullopt;
  return header;
}

}  // namespace cairn::format::safetensors
