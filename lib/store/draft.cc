#include "lib/store/draft.h"

#include <utility>

#include "lib/try.h"

namespace cairn::store {

Draft::Draft(const os::Directory& directory, std::string name, std::string temporary,
             os::File file) noexcept
    : directory_(&directory),
      name_(std::move(name)),
      temporary_(std::move(temporary)),
      file_(std::move(file)) {}

Draft::Draft(Draft&& other) noexcept
    : directory_(other.directory_),
      name_(std::move(other.name_)),
      temporary_(std::exchange(other.temporary_, {})),
      file_(std::move(other.file_)) {}

Draft::~Draft() {
  // Nobody is left to tell: what cannot be removed is recognised by its name and ignored.
  if (!temporary_.empty()) (void)at_boundary([&] { return directory_->remove(temporary_); });
}

Result<Draft> Draft::create(const os::Directory& directory, std::string name) {
  constexpr int kAttempts = 8;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::string temporary = os::temporary_name(name);
    CAIRN_TRY(file, directory.create_file(temporary));
    Draft draft(directory, name, std::move(temporary), std::move(file));
    // Locked as long as its writer lives: so remove_leftovers tells the dead from the living.
    // Between the two calls somebody else may have taken the file for dead; then it is made anew.
    const auto ours = draft.file_.try_lock();
    if (!ours) return draft;
    CAIRN_TRY(there, directory.look(draft.temporary_));
    if (*ours && there) return draft;
  }
  return Error{
      Code::Busy, 0,
      directory.path() + ": temporary files of " + name + " are removed as fast as they are made"};
}

Result<void> Draft::publish(Taken taken) {
  CAIRN_ASSERT(!temporary_.empty());
  CAIRN_CHECK(taken == Taken::Replace ? directory_->rename(temporary_, name_)
                                      : directory_->rename_new(temporary_, name_));
  temporary_.clear();
  return {};
}

Result<Draft> draft_with(const os::Directory& directory, std::string name,
                         std::span<const std::byte> bytes) {
  CAIRN_TRY(draft, Draft::create(directory, std::move(name)));
  CAIRN_CHECK(draft.file().write_at(0, bytes));
  CAIRN_CHECK(draft.file().sync());
  return std::move(draft);
}

void remove_leftovers(const os::Directory& directory, std::string_view base) {
  const auto names = directory.names();
  if (!names) return;
  for (const std::string& name : *names) {
    if (!name.starts_with(base) || !os::is_temporary_name(name)) continue;
    const auto file = directory.open_file(name, os::Links::Refuse);
    if (file && file->try_lock().value_or(false)) (void)directory.remove(name);
  }
}

}  // namespace cairn::store
