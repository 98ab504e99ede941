// A file may be downloaded again, trained again, or replaced by another file of its name. Then
// FILE.cairn is not its index, and the file itself is read. Size and time are not enough to see
// this: an archive may give all files that it unpacks the same time. So the bytes that say where
// the tensors are (a header, a directory) are compared too. If only the inode differs, the file and
// FILE.cairn were copied together, and each tensor is checked before its first use, as with a
// copied P.cairn.

#include "lib/open/file_record.h"

#include <memory>
#include <utility>

#include "format/digest.h"
#include "format/quoted.h"
#include "lib/open/assemble.h"
#include "lib/open/file_formats.h"
#include "lib/open/load.h"
#include "lib/open/own_index.h"
#include "lib/read/blocks.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

enum class State : std::uint8_t { Same, Copied, Other };

State state_of(const format::FileIdentity& now, const format::FileIdentity& recorded) noexcept {
  if (now == recorded) return State::Same;
  const bool copied = now.size_bytes == recorded.size_bytes && now.mtime_ns == recorded.mtime_ns;
  return copied ? State::Copied : State::Other;
}

class RecordReader {
 public:
  RecordReader(const Location& location, std::string path)
      : location_(location), path_(std::move(path)) {}

  Result<FileRecord> run(std::shared_ptr<const os::Bytes> bytes, const format::IndexView& index) {
    const auto source = index.source_index();
    if (!source || source->name != location_.base)
      return not_used("it does not record " + location_.base);
    Parts parts{location_.file_format->format, location_.prefix, std::move(bytes), index};
    CAIRN_TRY(as_recorded, open_shards(parts));
    if (!as_recorded) return not_used(location_.base + " is not the file that it records");
    CAIRN_TRY(known, is_source(*source, parts));
    if (!known) return not_used(location_.base + " is not the file that it records");
    if (copied_ && is_beyond_check(parts.index))
      return not_used("it has no checksums, and the files were copied");
    parts.bytes_doubtful = copied_;
    parts.recorded = true;
    take_left_out(parts);
    return FileRecord{std::move(parts), std::nullopt};
  }

  FileRecord not_used(const std::string& why) const {
    return {std::nullopt,
            path_ + ": not used, because " + why + "; to renew it, run 'cairn import " +
                (location_.prefix.parent_path() / location_.base).string() + "' (import_index)"};
  }

 private:
  // False: one of them is not there, or is another file.
  Result<bool> open_shards(Parts& parts) {
    const bool follow = location_.links == os::Links::Follow;
    for (std::size_t i = 0; i < parts.index.shard_count(); ++i) {
      const auto recorded = parts.index.shard(i);
      auto shard = open_shard(location_.directory, std::string(recorded.name), follow);
      if (!shard && may_pass(shard.error())) return std::move(shard).error();
      if (!shard) return false;
      const State state = state_of(shard->identity, recorded.identity);
      if (state == State::Other) return false;
      copied_ |= state == State::Copied;
      parts.shards.push_back(std::move(shard->file));
    }
    return true;
  }

  static void take_left_out(Parts& parts) {
    std::string_view lines = parts.index.metadata(format::kLeftOutKey).value_or("");
    for (std::size_t end = 0; (end = lines.find('\n')) != std::string_view::npos;
         lines.remove_prefix(end + 1))
      parts.warnings.push_back(format::from_one_line(lines.substr(0, end)));
    if (!parts.warnings.empty()) parts.left_out = parts.warnings.front();
  }

  // The file is a shard itself, which is open already, or says which files are.
  Result<bool> is_source(const format::SourceIndexFacts& source, const Parts& parts) {
    for (std::size_t i = 0; i < parts.shards.size(); ++i) {
      const auto shard = parts.index.shard(i);
      if (shard.name == source.name && shard.identity == source.identity)
        return has_digest(parts.shards[i], source);
    }
    auto opened = location_.directory.open_seen(source.name, os::Links::Follow);
    if (!opened && may_pass(opened.error())) return std::move(opened).error();
    if (!opened) return false;
    const State state = state_of(identity_of(opened->info), source.identity);
    if (state == State::Other) return false;
    copied_ |= state == State::Copied;
    return has_digest(opened->file, source);
  }

  static Result<bool> has_digest(const os::File& file, const format::SourceIndexFacts& source) {
    const auto digest = digest_of(file, source.ranges);
    if (!digest && may_pass(digest.error())) return digest.error();
    return digest && *digest == source.digest;
  }

  // Of what has no sums nothing shows that a copied file has the bytes that were recorded. One file
  // alone has been compared, as far as the record depends on it.
  static bool is_beyond_check(const format::IndexView& index) {
    if (index.shard_count() < 2) return false;
    for (std::size_t i = 0; i < index.tensor_count(); ++i) {
      const auto tensor = index.tensor(i);
      if (!tensor.partitioned() && !tensor.span.crc32c) return true;
    }
    return false;
  }

  const Location& location_;
  std::string path_;
  bool copied_ = false;
};

}  // namespace

Result<Digest128> digest_of(const os::File& file, std::span<const format::FileRange> ranges) {
  format::Xxh3Stream digest;
  for (const format::FileRange& range : ranges) {
    CAIRN_CHECK(for_each_block(file, range.offset_bytes, range.size_bytes,
                               [&](auto block) { digest.update(block); }));
  }
  return digest.digest();
}

Result<FileRecord> load_record(const Location& location, unsigned threads_max) {
  auto opened = location.directory.open_seen(location.file(kCairnSuffix), location.links);
  if (!opened && opened.error().code == Code::NotFound) return FileRecord();
  if (!opened) return std::move(opened).error();
  const std::string path = opened->file.path();
  RecordReader reader(location, path);
  auto bytes = read_index(opened->file, opened->info, threads_max);
  if (!bytes && may_pass(bytes.error())) return std::move(bytes).error();
  if (!bytes) return reader.not_used(bytes.error().what);
  auto kept = std::make_shared<const os::Bytes>(*std::move(bytes));
  const auto index = decode_index(*kept, threads_max);
  if (!index) return reader.not_used(index.error().what);
  CAIRN_CHECK(check_shard_names(*index, location, path));
  return reader.run(std::move(kept), *index);
}

}  // namespace cairn::internal
