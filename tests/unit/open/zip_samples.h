#pragma once

// Zip archives of every form that writers use, and of some that nobody should.

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <zlib.h>

#include "format/le.h"
#include "format/zip/inflate.h"

namespace cairn::test {

struct ZipMember {
  std::string name;
  std::string data;
  bool deflated = false;
  bool streamed = false;  // its sizes and sum stand behind it, not in the local header
  bool zip64 = false;     // its sizes stand in ZIP64 fields
  // What is said instead of the truth.
  std::optional<std::uint16_t> method = {};
  std::optional<std::uint32_t> crc32 = {};
  std::optional<std::uint64_t> size_bytes = {};
  std::optional<std::uint64_t> packed_bytes = {};
  std::optional<std::uint64_t> header_offset_bytes = {};
  std::optional<std::string> local_name = {};
  std::uint16_t flags = 0;
  std::size_t padding_bytes = 0;  // of the local header, by a field that aligns; 0, or 4 and more
};

struct ZipOptions {
  std::string prefix = {};      // what stands in front
  bool prefix_counted = false;  // by the offsets
  std::string comment = {};
  bool zip64 = false;  // a second end record
};

inline std::string deflate_raw(const std::string& data) {
  z_stream stream{};
  if (deflateInit2(&stream, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw std::runtime_error("deflateInit2");
  std::string packed(deflateBound(&stream, data.size()) + 16, '\0');
  std::string from = data;
  stream.next_in = reinterpret_cast<Bytef*>(from.data());
  stream.avail_in = static_cast<uInt>(from.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  if (deflate(&stream, Z_FINISH) != Z_STREAM_END) throw std::runtime_error("deflate");
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

// Builds an archive; `text` grows to be the file.
class ZipWriter {
 public:
  explicit ZipWriter(ZipOptions options) : options_(std::move(options)), text_(options_.prefix) {}

  void add(const ZipMember& member) {
    const std::string packed = member.deflated ? deflate_raw(member.data) : member.data;
    const std::uint64_t at = text_.size() - (options_.prefix_counted ? 0 : options_.prefix.size());
    const Said said{member.method.value_or(member.deflated ? 8 : 0),
                    member.crc32.value_or(format::zip::crc32(format::as_bytes(member.data))),
                    member.packed_bytes.value_or(packed.size()),
                    member.size_bytes.value_or(member.data.size()),
                    static_cast<std::uint16_t>(member.flags | (member.streamed ? 8 : 0))};
    const std::string& name = member.local_name ? *member.local_name : member.name;
    put_local(member, said, name);
    text_ += packed;
    if (member.streamed) {
      put(text_, std::uint32_t{0x08074b50}, said.crc32);
      put(text_, static_cast<std::uint32_t>(said.packed_bytes),
          static_cast<std::uint32_t>(said.size_bytes));
    }
    put_entry(member, said, member.header_offset_bytes.value_or(at));
    ++count_;
  }

  std::string finish() {
    const std::uint64_t at = text_.size() - (options_.prefix_counted ? 0 : options_.prefix.size());
    text_ += directory_;
    if (options_.zip64) {
      const std::uint64_t end_at = at + directory_.size();
      put(text_, std::uint32_t{0x06064b50}, std::uint64_t{44}, std::uint16_t{45}, std::uint16_t{45},
          std::uint32_t{0}, std::uint32_t{0}, count_, count_, std::uint64_t{directory_.size()}, at);
      put(text_, std::uint32_t{0x07064b50}, std::uint32_t{0}, end_at, std::uint32_t{1});
    }
    const auto count = static_cast<std::uint16_t>(options_.zip64 ? 0xffff : count_);
    const auto size = static_cast<std::uint32_t>(options_.zip64 ? kAll : directory_.size());
    const auto offset = static_cast<std::uint32_t>(options_.zip64 ? kAll : at);
    put(text_, std::uint32_t{0x06054b50}, std::uint32_t{0}, count, count, size, offset,
        static_cast<std::uint16_t>(options_.comment.size()));
    return text_ + options_.comment;
  }

 private:
  static constexpr std::uint64_t kAll = 0xffffffff;

  struct Said {
    std::uint16_t method;
    std::uint32_t crc32;
    std::uint64_t packed_bytes;
    std::uint64_t size_bytes;
    std::uint16_t flags;
  };

  template <class... Numbers>
  static void put(std::string& out, Numbers... numbers) {
    (format::append_le(out, numbers), ...);
  }

  static std::uint32_t narrow(std::uint64_t number, bool zip64) {
    return static_cast<std::uint32_t>(zip64 ? kAll : number);
  }

  static std::string field_of(const ZipMember& member, const Said& said) {
    std::string field;
    if (member.zip64)
      put(field, std::uint16_t{1}, std::uint16_t{16}, said.size_bytes, said.packed_bytes);
    return field;
  }

  void put_local(const ZipMember& member, const Said& said, const std::string& name) {
    const bool known = !member.streamed;
    std::string extra = field_of(member, said);
    if (member.padding_bytes != 0) {
      put(extra, std::uint16_t{0xd935}, static_cast<std::uint16_t>(member.padding_bytes - 4));
      extra.append(member.padding_bytes - 4, '\0');
    }
    put(text_, std::uint32_t{0x04034b50}, std::uint16_t{45}, said.flags, said.method,
        std::uint32_t{0}, known ? said.crc32 : 0u,
        known ? narrow(said.packed_bytes, member.zip64) : 0u,
        known ? narrow(said.size_bytes, member.zip64) : 0u, static_cast<std::uint16_t>(name.size()),
        static_cast<std::uint16_t>(extra.size()));
    text_ += name + extra;
  }

  void put_entry(const ZipMember& member, const Said& said, std::uint64_t at) {
    const std::string extra = field_of(member, said);
    put(directory_, std::uint32_t{0x02014b50}, std::uint32_t{45}, said.flags, said.method,
        std::uint32_t{0}, said.crc32, narrow(said.packed_bytes, member.zip64),
        narrow(said.size_bytes, member.zip64), static_cast<std::uint16_t>(member.name.size()),
        static_cast<std::uint16_t>(extra.size()), std::uint16_t{0}, std::uint16_t{0},
        std::uint16_t{0}, std::uint32_t{0}, static_cast<std::uint32_t>(at));
    directory_ += member.name + extra;
  }

  ZipOptions options_;
  std::string text_;
  std::string directory_;
  std::uint64_t count_ = 0;
};

inline std::string zip_of(const std::vector<ZipMember>& members, ZipOptions options = {}) {
  ZipWriter writer(std::move(options));
  for (const ZipMember& member : members) writer.add(member);
  return writer.finish();
}

}  // namespace cairn::test
