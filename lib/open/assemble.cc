#include "lib/open/assemble.h"

#include <optional>
#include <string_view>
#include <utility>

#include "format/quoted.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {

Result<OpenShard> open_shard(const os::Directory& directory, const std::string& name,
                             bool follow_links) {
  CAIRN_TRY(opened, directory.open_seen(name, links_of(follow_links)));
  return OpenShard{std::move(opened.file), identity_of(opened.info)};
}

namespace {

// A bare name, or a path of such names.
bool is_below(std::string_view path) noexcept {
  for (std::size_t at = 0; (at = path.find('/')) != std::string_view::npos;
       path.remove_prefix(at + 1)) {
    if (!is_bare(path.substr(0, at))) return false;
  }
  return is_bare(path);
}

// Each folder is opened in the one before, and no link is followed to one.
Result<OpenShard> open_below(const os::Directory& directory, const std::string& name,
                             bool follow_links) {
  std::string_view rest = name;
  std::optional<os::Directory> folder;
  for (std::size_t at = 0; (at = rest.find('/')) != std::string_view::npos;
       rest.remove_prefix(at + 1)) {
    CAIRN_TRY(next, (folder ? *folder : directory).open_directory(rest.substr(0, at)));
    folder = std::move(next);
  }
  return open_shard(folder ? *folder : directory, std::string(rest), follow_links);
}

}  // namespace

Result<OpenShard> open_named_shard(const Location& location, const std::string& name,
                                   const std::string& path, Where where) {
  const std::string says = path + ": names the file " + format::quoted(name);
  if (where == Where::Here && !is_bare(name))
    return Error{Code::Unsafe, 0,
                 says +
                     ", which does not lie in the same directory; save the model again with all of "
                     "its files in one directory"};
  if (!is_below(name))
    return Error{
        Code::Unsafe, 0,
        says +
            ", which lies neither in the same directory nor below it; save the model again "
            "with all of its files in one directory"};
  if (has_control_characters(name))
    return Error{Code::Unsafe, 0, says + ", which has control characters"};
  auto opened = open_below(location.directory, name, location.links == os::Links::Follow);
  if (opened) return opened;
  Error missing = std::move(opened).error();
  missing.what += "; " + path + " names it";
  return missing;
}

format::ReadAt reads_of(const os::File& file) {
  return [&file](std::uint64_t offset_bytes, std::span<std::byte> out) -> format::Decoded<void> {
    const auto done = file.read_at(offset_bytes, out);
    if (done) return {};
    std::string why = done.error().what.substr(file.path().size() + 2);
    return format::DecodeError{done.error().code, offset_bytes, std::move(why)};
  };
}

Result<void> check_shard_names(const format::IndexView& index, const Location& location,
                               const std::string& path) {
  for (std::size_t i = 0; i < index.shard_count(); ++i) {
    std::string_view name = index.shard(i).name;
    if (name.starts_with(location.base)) name.remove_prefix(location.base.size());
    if (!has_control_characters(name)) continue;
    return Error{Code::Unsafe, 0,
                 path + ": shard " + format::quoted(index.shard(i).name) +
                     ": its name has control characters, which the prefix does not have"};
  }
  return {};
}

Error error_of(const std::string& path, const format::DecodeError& reason) {
  return {reason.code, 0,
          path + ": byte " + std::to_string(reason.byte_offset) + ": " + reason.what};
}

Result<Parts> assemble(const IndexSource& what, const format::IndexFacts& facts,
                       std::vector<os::File> shards, std::optional<format::PlainTensors> plain) {
  auto index = format::build_index(facts, std::move(plain));
  if (!index) return Error{Code::Corrupt, 0, what.index_path + ": " + index.error().what};
  return Parts{what.format, what.prefix, std::move(index->memory), index->view, std::move(shards)};
}

}  // namespace cairn::internal
