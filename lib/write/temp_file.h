#pragma once

// A file on its way to being published: written under a temporary name, which goes away unless
// publish() was reached.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "cairn/error.h"
#include "lib/os/file.h"

namespace cairn::internal {

class TempFile {
 public:
  // `directory` must outlive the draft.
  static Result<TempFile> create(const os::Directory& directory, std::string name);

  // Of a file that is there: another name of it. The Error carries errno, as Directory::link's.
  static Result<TempFile> link(const os::Directory& directory, std::string name,
                               const os::File& file);

  const os::File& file() const noexcept { return file_; }
  const std::string& name() const noexcept { return name_; }  // the one it will have
  const std::string& temporary_name() const noexcept { return temporary_; }
  void set_name(std::string name) noexcept { name_ = std::move(name); }

  // Gives the file its name. The bytes must be synced before, the directory after. Exists: the name
  // is taken, and Refuse is said.
  enum class Taken : std::uint8_t { Refuse, Replace };
  Result<void> publish(Taken taken);

  // The temporary name stays: for the next one who publishes under the prefix.
  void abandon() noexcept { temporary_.clear(); }

  TempFile(TempFile&& other) noexcept;
  TempFile& operator=(TempFile&&) = delete;
  ~TempFile();

 private:
  TempFile(const os::Directory& directory, std::string name, std::string temporary,
           os::File file) noexcept;

  const os::Directory* directory_;
  std::string name_;
  std::string temporary_;  // empty: published or moved from
  os::File file_;
};

// Removes the temporary file of a dead writer. One whose writer holds it stays, also where the
// writer came to it after somebody found that nobody held it.
void remove_unheld(const os::Directory& directory, const std::string& temporary);

// A draft that holds these bytes, synced: only the name is missing.
Result<TempFile> write_temp_file(const os::Directory& directory, std::string name,
                                 std::span<const std::byte> bytes);

}  // namespace cairn::internal
