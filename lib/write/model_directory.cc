// Loaders take whatever model.safetensors or index they find, so a set of files must never be seen
// half written, nor beside files of another set. A directory gets its name by one rename, and takes
// the place of another one by one exchange (RENAME_EXCHANGE). A file system that cannot exchange is
// refused: two renames would leave a moment without any model.
//
// clang-format off
//   1. Write the files in NAME.cairn-tmp-…, and sync them. Take the lock of the name.
//   2. Give the files their names. If NAME is there: link its other files into the new directory,
//      with the directories that they are in. Sync the new directory.
//   3. Rename it to NAME, or exchange the two. Sync the parent: this is the commit.
//   4. After an exchange: remove the old directory, which has the temporary name.
// clang-format on
//
// Who dies before 3 leaves a temporary directory with the new files, who dies after it one with the
// old files. The next writer removes either by the same rule: a file goes if it belongs to a model,
// or if the directory NAME has the same file at the same place.

#include "lib/write/model_directory.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "lib/os/retries.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/try.h"
#include "lib/write/free_space.h"
#include "lib/write/publisher.h"

namespace cairn::internal {
namespace {

// "model-00001-of-00003.safetensors".
bool is_model_shard(std::string_view name) noexcept {
  const auto take = [&](std::string_view text) {
    if (!name.starts_with(text)) return false;
    name.remove_prefix(text.size());
    return true;
  };
  const auto take_number = [&] {
    constexpr std::size_t kDigitsMin = 5;
    const std::size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
    name.remove_prefix(digits);
    return digits >= kDigitsMin;
  };
  return take("model-") && take_number() && take("-of-") && take_number() &&
         name == kSafetensorsSuffix;
}

// Whether the other directory has the same file under this name.
bool has_same(const os::Directory& other, const std::string& name, const os::FileInfo& info) {
  const auto there = other.look(name);
  return there && *there && same_file(**there, info);
}

// Of a temporary file that a dead writer left there too.
bool belongs_to_model(const std::string& name) {
  return is_model_file(os::is_temporary_name(name) ? os::without_temporary_tail(name)
                                                   : std::string_view(name));
}

constexpr unsigned kDepthMax = 16;  // of directories in the directory: each holds descriptors

// Removes what `kept` has too: the same files, and directories that are empty then. In the model's
// own directory, of depth 0, its files go too. Nothing: all of it is gone. Else why it is not.
std::optional<std::string> remove_contents(const os::Directory& directory,
                                           const os::Directory* kept, unsigned depth) {
  const auto names = directory.names();
  if (!names) return names.error().what;
  for (const std::string& name : *names) {
    const auto info = directory.look(name);
    if (!info) return info.error().what;
    if (!*info) continue;
    const std::string lost = directory.path() + "/" + name + ": is in no other directory";
    Result<void> done;
    if ((*info)->kind == os::FileKind::Directory) {
      if (kept == nullptr || depth == kDepthMax) return lost;
      const auto inner = directory.open_directory(name);
      const auto kept_inner = kept->open_directory(name);
      if (!inner || !kept_inner) return lost;
      if (auto why = remove_contents(*inner, &*kept_inner, depth + 1)) return why;
      done = directory.remove_directory(name);
    } else {
      const bool goes = depth == 0 && belongs_to_model(name);
      if (!goes && (kept == nullptr || !has_same(*kept, name, **info))) return lost;
      done = directory.remove(name);
    }
    if (!done) return done.error().what;
  }
  return std::nullopt;
}

// Removes the directory `name` with the files of a model in it, and what `kept` has too. Nothing:
// it is gone. Else why it is not: some file has no other name, or cannot be removed.
std::optional<std::string> remove_model_directory(const os::Directory& parent,
                                                  const std::string& name,
                                                  const os::Directory& directory,
                                                  const os::Directory* kept) {
  const auto why = remove_contents(directory, kept, 0);
  // Not synced: if it comes back, the next writer removes it. Tried in any case: without a
  // descriptor an empty one cannot be listed.
  const auto done = parent.remove_directory(name);
  if (done) return std::nullopt;
  return why ? *why : done.error().what;
}

// Gives everything in a directory, but the files of the model in it, a second name in another one.
Result<void> link_contents(const os::Directory& from, const os::Directory& to, unsigned depth) {
  CAIRN_TRY(names, from.names());
  for (const std::string& name : names) {
    if (depth == 0 && is_model_file(name)) continue;
    CAIRN_TRY(info, from.look(name));
    if (!info) continue;
    if (info->kind != os::FileKind::Directory) {
      CAIRN_CHECK(from.link_into(to, name));
      continue;
    }
    if (depth == kDepthMax)
      return Error{Code::Unsupported, 0, from.path() + "/" + name + ": lies too deep"};
    CAIRN_TRY(inner, from.open_directory(name));
    CAIRN_TRY(made, to.create_directory(name));
    CAIRN_CHECK(link_contents(inner, made, depth + 1));
    CAIRN_CHECK(made.sync());
  }
  return {};
}

std::string shown(const os::Directory& parent, const std::string& name) {
  if (parent.path() == ".") return name;
  return (std::filesystem::path(parent.path()) / name).string();
}

// What is in the way of a model, in the words of an error.
Error is_there(const os::Directory& parent, const std::string& name, const std::string& what) {
  return {Code::Exists, 0, shown(parent, name) + ": " + what};
}

// Whether there is a directory with something in it; that is opened then.
Result<std::optional<os::Directory>> open_filled(const os::Directory& parent,
                                                 const std::string& name) {
  CAIRN_TRY(there, parent.look(name));
  if (!there) return std::optional<os::Directory>();
  if (there->kind != os::FileKind::Directory)
    return is_there(parent, name, "is there and is not a directory; choose another output");
  CAIRN_TRY(old, parent.open_directory(name));
  CAIRN_TRY(names, old.names());
  if (names.empty()) return std::optional<os::Directory>();
  return std::optional(std::move(old));
}

// Busy: another process writes a file there, which would be lost.
Result<void> check_replaceable(const os::Directory& old) {
  CAIRN_CHECK(remove_stale_files(old));
  CAIRN_TRY(names, old.names());
  const auto temporary =
      std::ranges::find_if(names, [](const auto& name) { return os::is_temporary_name(name); });
  if (temporary == names.end()) return {};
  return Error{Code::Busy, 0,
               old.path() + ": another process is writing in it (" + *temporary +
                   "); try again when it has ended"};
}

}  // namespace

std::string model_shard_name(std::size_t number, std::size_t count) {
  char text[64];
  std::snprintf(text, sizeof text, "model-%05zu-of-%05zu.safetensors", number + 1, count);
  return text;
}

bool is_model_file(std::string_view name) noexcept {
  if (name == kLockName) return true;
  if (name.ends_with(kCairnSuffix)) name.remove_suffix(kCairnSuffix.size());
  return name == kModelFile || name == kModelIndex || is_model_shard(name);
}

Result<void> refuse_model_directory(const os::Directory& parent, const std::string& name,
                                    bool replace) {
  CAIRN_TRY(old, open_filled(parent, name));
  if (!old) return {};
  if (replace) return check_replaceable(*old);
  CAIRN_TRY(names, old->names());
  std::ranges::sort(names);
  return is_there(parent, name,
                  "is there and is not empty (" + first_few(names) +
                      "); choose another output, or use replace (--replace), which replaces the "
                      "model in it and keeps its other files");
}

ModelDirectory::ModelDirectory(const os::Directory& parent, std::string name, std::string temporary,
                               os::Directory files) noexcept
    : parent_(&parent),
      name_(std::move(name)),
      temporary_(std::move(temporary)),
      files_(std::make_unique<os::Directory>(std::move(files))) {}

ModelDirectory::ModelDirectory(ModelDirectory&& other) noexcept
    : parent_(other.parent_),
      name_(std::move(other.name_)),
      temporary_(std::exchange(other.temporary_, {})),
      files_(std::move(other.files_)) {}

ModelDirectory::~ModelDirectory() {
  if (temporary_.empty()) return;
  // Nobody is left to tell: what cannot be removed goes with the next writer.
  (void)at_boundary([&]() -> Result<void> {
    // Over a network a rename that is reported as failed may have happened.
    CAIRN_TRY(there, parent_->look(temporary_));
    CAIRN_TRY(info, files_->info());
    if (!there || !same_file(*there, info)) return {};
    const auto old = parent_->open_directory(name_);
    (void)remove_model_directory(*parent_, temporary_, *files_, old ? &*old : nullptr);
    return {};
  });
}

Result<ModelDirectory> ModelDirectory::create(const os::Directory& parent, std::string name) {
  // What cannot be synced is refused before bytes are written.
  CAIRN_CHECK(parent.sync());
  os::Retries retries;
  do {
    std::string temporary = os::temporary_name(name);
    auto files = parent.create_directory(temporary);
    if (!files && files.error().code == Code::NotFound) continue;  // taken for dead
    if (!files) return std::move(files).error();
    const auto ours = files->try_lock();
    const auto info = files->info();
    const auto there = parent.look(temporary);
    // Where the file system has no such locks, nobody takes it for dead either.
    if ((!ours || *ours) && info && there && *there && same_file(**there, *info))
      return ModelDirectory(parent, std::move(name), std::move(temporary), *std::move(files));
    (void)parent.remove_directory(temporary);
    if (!info) return info.error();
    if (!there) return there.error();
  } while (retries.once_more());
  return Error{Code::Busy, 0,
               parent.path() + ": another process removes the temporary directories of " + name +
                   " as soon as they are created"};
}

Result<std::vector<std::string>> ModelDirectory::publish(std::span<TempFile> files, bool replace,
                                                         const LockWait& wait) {
  const auto lock = lock_prefix(*parent_, name_, wait);
  if (!lock) return lock.error();
  CAIRN_CHECK(refuse_model_directory(*parent_, name_, replace));
  for (TempFile& file : files) CAIRN_CHECK(file.publish(TempFile::Taken::Refuse));
  CAIRN_TRY(old, open_filled(*parent_, name_));
  if (old) return publish_instead(*old);
  CAIRN_CHECK(publish_new());
  return std::vector<std::string>();
}

// An empty directory may have the name: it is replaced, and nothing is lost.
Result<void> ModelDirectory::publish_new() {
  CAIRN_CHECK(files_->sync());
  CAIRN_CHECK(parent_->rename(temporary_, name_));
  temporary_.clear();
  return parent_->sync();
}

Result<std::vector<std::string>> ModelDirectory::publish_instead(const os::Directory& old) {
  if (auto done = link_contents(old, *files_, 0); !done) {
    Error error = std::move(done).error();
    error.what += "; it would be lost, so nothing is replaced; choose another output";
    return error;
  }
  CAIRN_CHECK(files_->sync());
  CAIRN_CHECK(parent_->exchange(temporary_, name_));
  const std::string temporary = std::exchange(temporary_, {});
  if (auto done = parent_->sync(); !done) {
    // Nobody knows which of the two has the name on the disk: neither goes.
    Error error = std::move(done).error();
    error.what += "; the next writer removes the old model, " + shown(*parent_, temporary);
    return error;
  }
  const auto why = remove_model_directory(*parent_, temporary, old, files_.get());
  if (!why) return std::vector<std::string>();
  return std::vector<std::string>{shown(*parent_, name_) +
                                  ": was replaced; what is left of the old directory is in " +
                                  shown(*parent_, temporary) + " (" + *why + ")"};
}

bool is_dead_model_directory(const os::Directory& parent, const std::string& temporary) {
  if (!os::is_temporary_name(temporary)) return false;
  const auto directory = parent.open_directory(temporary);
  return directory && directory->try_lock().value_or(false);
}

void remove_dead_model_directory(const os::Directory& parent, const std::string& temporary) {
  const auto directory = parent.open_directory(temporary);
  if (!directory || !directory->try_lock().value_or(false)) return;
  // Its writer may have died before it knew that the new names are durable.
  if (!parent.sync()) return;
  const auto kept = parent.open_directory(os::without_temporary_tail(temporary));
  (void)remove_model_directory(parent, temporary, *directory, kept ? &*kept : nullptr);
}

}  // namespace cairn::internal
