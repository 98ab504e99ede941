#include "lib/write/temp_file.h"

#include <optional>
#include <utility>

#include "lib/os/retries.h"
#include "lib/try.h"

namespace cairn::internal {

TempFile::TempFile(const os::Directory& directory, std::string name, std::string temporary,
                   os::File file) noexcept
    : directory_(&directory),
      name_(std::move(name)),
      temporary_(std::move(temporary)),
      file_(std::move(file)) {}

TempFile::TempFile(TempFile&& other) noexcept
    : directory_(other.directory_),
      name_(std::move(other.name_)),
      temporary_(std::exchange(other.temporary_, {})),
      file_(std::move(other.file_)) {}

TempFile::~TempFile() {
  // Nobody is left to tell: what cannot be removed is recognised by its name and ignored.
  if (!temporary_.empty()) (void)at_boundary([&] { return directory_->remove(temporary_); });
}

namespace {

// Makes a file under one temporary name after the other, until it is surely ours: locked as long as
// its writer lives, which tells the dead from the living. Until then somebody else may take it for
// dead, also before it is open, of which `make` says that there is none; then it is made anew.
template <class Make, class Hold>
Result<std::pair<std::string, os::File>> make_held(const os::Directory& directory,
                                                   const std::string& name, Make make, Hold hold) {
  os::Retries retries;
  do {
    std::string temporary = os::temporary_name(name);
    auto file = make(temporary);
    if (!file) return std::move(file).error();
    if (!*file) continue;
    const Result<bool> ours = hold(**file);
    // Where the file system has no such locks, nobody can take it for dead either.
    if (!ours) return std::pair(std::move(temporary), **std::move(file));
    const auto there = directory.look(temporary);
    if (*ours && there && *there) return std::pair(std::move(temporary), **std::move(file));
    (void)directory.remove(temporary);
    if (!there) return there.error();
  } while (retries.once_more());
  return Error{Code::Busy, 0,
               directory.path() + ": another process removes the temporary files of " + name +
                   " as soon as they are created"};
}

}  // namespace

Result<TempFile> TempFile::create(const os::Directory& directory, std::string name) {
  CAIRN_TRY(made, make_held(
                      directory, name,
                      [&](const std::string& at) {
                        return directory.create_file(at).transform(
                            [](os::File file) { return std::optional(std::move(file)); });
                      },
                      [](const os::File& file) { return file.try_lock(); }));
  auto& [temporary, file] = made;
  return TempFile(directory, std::move(name), std::move(temporary), std::move(file));
}

Result<TempFile> TempFile::link(const os::Directory& directory, std::string name,
                                const os::File& source) {
  const auto make = [&](const std::string& at) -> Result<std::optional<os::File>> {
    CAIRN_CHECK(directory.link(source, at));
    auto file = directory.open_file(at, os::Links::Refuse);
    if (file) return std::optional(*std::move(file));
    if (file.error().code == Code::NotFound) return std::optional<os::File>();
    (void)directory.remove(at);
    return std::move(file).error();
  };
  // Others may link the same file meanwhile.
  CAIRN_TRY(made, make_held(directory, name, make,
                            [](const os::File& file) { return file.try_lock_shared(); }));
  auto& [temporary, file] = made;
  return TempFile(directory, std::move(name), std::move(temporary), std::move(file));
}

Result<void> TempFile::publish(Taken taken) {
  CAIRN_ASSERT(!temporary_.empty());
  CAIRN_CHECK(taken == Taken::Replace ? directory_->rename(temporary_, name_)
                                      : directory_->rename_new(temporary_, name_));
  temporary_.clear();
  file_.unlock();  // where other names of the file are left over, nobody lives who made them
  return {};
}

// The lock is held while the name goes. Without it, a writer that has created its file and locks it
// now would take for its own what is removed a moment later. It is held no longer than that: it is
// a lock of all the file's names, and whoever links the file meanwhile does not get it.
void remove_unheld(const os::Directory& directory, const std::string& temporary) {
  const auto file = directory.open_file(temporary, os::Links::Refuse);
  if (file && file->try_lock().value_or(false)) (void)directory.remove(temporary);
}

Result<TempFile> write_temp_file(const os::Directory& directory, std::string name,
                                 std::span<const std::byte> bytes) {
  CAIRN_TRY(temp, TempFile::create(directory, std::move(name)));
  CAIRN_CHECK(temp.file().write_at(0, bytes));
  CAIRN_CHECK(temp.file().sync());
  return std::move(temp);
}

}  // namespace cairn::internal
