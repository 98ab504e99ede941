#include "format/tensorflow/table.h"

// Any reader takes any cut into blocks. The writer follows TensorFlow's cuts, separators and
// restart points to the byte all the same: then an exported index can be compared with TensorFlow's
// own, and a checkpoint that is exported twice gives the same file.

#include <algorithm>
#include <utility>

#include "format/digest.h"
#include "format/le.h"
#include "format/tensorflow/varint.h"

namespace cairn::format::tensorflow {

namespace {

constexpr std::size_t kBlockBytes = 262'144;
constexpr std::size_t kFooterHandlesBytes = 40;

std::size_t common_prefix(std::string_view a, std::string_view b) noexcept {
  const auto [at, unused] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<std::size_t>(at - a.begin());
}

unsigned char byte_at(std::string_view text, std::size_t position) noexcept {
  return static_cast<unsigned char>(text[position]);
}

// A short key that is at least `last` and less than `next`.
std::string separator(std::string_view last, std::string_view next) {
  const std::size_t differs_at = common_prefix(last, next);
  if (differs_at == last.size() || differs_at == next.size()) return std::string(last);
  const unsigned char byte = byte_at(last, differs_at);
  if (byte == 0xff || byte + 1 >= byte_at(next, differs_at)) return std::string(last);
  std::string key(last.substr(0, differs_at));
  key.push_back(static_cast<char>(byte + 1));
  return key;
}

// A short key that is not less than `last`.
std::string successor(std::string_view last) {
  const std::size_t at = last.find_first_not_of('\xff');
  if (at == std::string_view::npos) return std::string(last);
  std::string key(last.substr(0, at));
  key.push_back(static_cast<char>(byte_at(last, at) + 1));
  return key;
}

}  // namespace

void TableWriter::Block::add(std::string_view key, std::string_view value) {
  std::size_t shared = 0;
  if (since_restart < restart_every) {
    shared = common_prefix(last_key, key);
  } else {
    restarts.push_back(static_cast<std::uint32_t>(bytes.size()));
    since_restart = 0;
  }
  append_varint(bytes, shared);
  append_varint(bytes, key.size() - shared);
  append_varint(bytes, value.size());
  bytes.append(key.substr(shared));
  bytes.append(value);
  last_key = key;
  ++since_restart;
}

std::size_t TableWriter::Block::size() const noexcept {
  return bytes.size() + sizeof(std::uint32_t) * (restarts.size() + 1);
}

void TableWriter::add(std::string_view key, std::string_view value) {
  // An entry of at least two blocks gets a block of its own.
  if (!empty_ && key.size() + value.size() >= 2 * kBlockBytes) flush();
  if (!pending_handle_.empty()) index_pending(separator(last_key_, key));
  empty_ = false;
  data_.add(key, value);
  if (data_.size() >= kBlockBytes) flush();
}

std::string TableWriter::finish() {
  flush();
  if (!pending_handle_.empty()) index_pending(successor(last_key_));
  Block metaindex{1};
  std::string footer = write_block(metaindex);
  footer += write_block(index_);
  footer.resize(kFooterHandlesBytes, '\0');
  append_le(footer, kTableMagic);
  std::string file = std::move(file_).append(footer);
  *this = TableWriter();
  return file;
}

void TableWriter::flush() {
  if (data_.empty()) return;
  last_key_ = data_.last_key;
  pending_handle_ = write_block(data_);
}

// The index lists a block once the key behind it is known, because that makes a shorter separator.
void TableWriter::index_pending(std::string_view separator) {
  index_.add(separator, pending_handle_);
  pending_handle_.clear();
}

// Writes the block with its trailer, empties it, and gives its handle.
std::string TableWriter::write_block(Block& block) {
  for (const std::uint32_t restart : block.restarts) append_le(block.bytes, restart);
  append_le(block.bytes, static_cast<std::uint32_t>(block.restarts.size()));
  std::string handle;
  append_varint(handle, file_.size());
  append_varint(handle, block.bytes.size());
  block.bytes.push_back('\0');  // not compressed
  append_le(block.bytes, crc32c_mask(crc32c(as_bytes(block.bytes))));
  file_ += block.bytes;
  block.bytes.clear();
  block.restarts.assign(1, 0);
  block.last_key.clear();
  block.since_restart = 0;
  return handle;
}

}  // namespace cairn::format::tensorflow
