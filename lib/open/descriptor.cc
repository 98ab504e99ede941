// Opening what is open already. A directory's descriptor is as good as its path: all files of a
// checkpoint are opened below one anyway. A file's descriptor gives that file and no other, so only
// a checkpoint in one file can be opened so.

#include <string>
#include <utility>

#include "lib/open/file_formats.h"
#include "lib/open/identify.h"
#include "lib/open/open.h"
#include "lib/os/descriptor.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn {
namespace internal {
namespace {

Error needs_others(const std::string& name, const std::string& what) {
  return {Code::Unsupported, 0,
          name + ": " + what +
              ", so its descriptor alone is not enough; pass a descriptor of the directory, and "
              "the name of the prefix or the file in it"};
}

Result<Parts> load_opened(os::File file, const os::FileInfo& info,
                          const std::filesystem::path& name, const FormatOptions& formats) {
  const std::string base = name.filename().string();
  CAIRN_TRY(type, identify(file));
  if (type == FileType::CairnIndex || type == FileType::Table)
    return needs_others(name.string(), "is an index, and the tensors are in other files");
  const FileFormat* const found = file_format(type, base);
  if (found == nullptr)
    return Error{Code::Unsupported, 0, name.string() + ": is " + describe(base, type)};
  const FileFormat& format = with_suffix_of(*found, base);
  CAIRN_TRY(read,
            format.read({std::move(file), identity_of(info)}, {base, true, nullptr, formats}));
  if (read.part_count != 1)
    return needs_others(name.string(), "is one of several files of a model");
  OpenAttempt attempt;
  return assemble_file(std::move(read), format, name.parent_path() / stem_of(format, base),
                       attempt);
}

Result<Checkpoint> open_in(const os::Directory& directory, const std::string& name,
                           const OpenOptions& options) {
  const std::filesystem::path shown = directory.path() == "."
                                          ? std::filesystem::path(name)
                                          : std::filesystem::path(directory.path()) / name;
  OpenAttempt attempt(directory);
  auto opened = retry_until_stable(attempt, [&]() -> Result<Checkpoint> {
    CAIRN_TRY(twin, directory.duplicate());
    CAIRN_TRY(location, locate_below(std::move(twin), name, shown, links_of(options.follow_links)));
    location.formats = options.formats;
    location.index_only = options.index_only;
    CAIRN_TRY(parts, load(location, options.follow_links, attempt, index_threads(options.exec)));
    return OpenCheckpoint::make(std::move(parts), options);
  });
  if (opened) return opened;
  return attempt.explain(shown, std::move(opened).error());
}

Result<Checkpoint> open_duplicate(int fd, const std::filesystem::path& name,
                                  const OpenOptions& options) {
  if (!name.has_filename()) {
    return Error{Code::Invalid, 0,
                 name.string() + ": cannot be the name of what descriptor " + std::to_string(fd) +
                     " has open: it is empty, or it ends with a slash"};
  }
  CAIRN_TRY(file, os::duplicate(fd, name.string()));
  CAIRN_TRY(info, file.info());
  if (info.kind == os::FileKind::Directory) {
    if (!is_bare(name.native())) {
      return Error{Code::Invalid, 0,
                   name.string() +
                       ": must be the name of a prefix or a file in the directory that "
                       "descriptor " +
                       std::to_string(fd) + " has open, without a slash"};
    }
    const std::string now = os::Directory::of(std::move(file)).path_now();
    CAIRN_TRY(again, os::duplicate(fd, now.empty() ? "." : now));
    return open_in(os::Directory::of(std::move(again)), name.native(), options);
  }
  if (info.kind != os::FileKind::Regular)
    return Error{Code::Unsafe, 0, name.string() + ": is no regular file"};
  CAIRN_TRY(parts, load_opened(std::move(file), info, name, options.formats));
  if (options.index_only) leave_shards(parts);
  return OpenCheckpoint::make(std::move(parts), options);
}

}  // namespace
}  // namespace internal

Result<Checkpoint> Checkpoint::open_descriptor(int fd, const std::filesystem::path& name,
                                               const OpenOptions& options) noexcept {
  return internal::reported(options.on_event, name, [&] {
    return at_boundary([&] { return internal::open_duplicate(fd, name, options); });
  });
}

}  // namespace cairn
