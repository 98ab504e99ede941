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
  std::string temporary = os::temporary_name(name);
  CAIRN_TRY(file, directory.create_file(temporary));
  return Draft(directory, std::move(name), std::move(temporary), std::move(file));
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

}  // namespace cairn::store
