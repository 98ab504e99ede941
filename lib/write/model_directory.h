#pragma once

// A directory that holds a model in one or several safetensors files, on its way to being
// published: written under a temporary name beside its own, which it gets at once, whole.
//
// Where a directory of that name is there, the two exchange their names. The model's files in it go
// then; all others have a second name in the new one before, so that none is lost.

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/error.h"
#include "lib/os/file.h"
#include "lib/write/lock.h"
#include "lib/write/temp_file.h"

namespace cairn::internal {

inline constexpr std::string_view kModelFile = "model.safetensors";
inline constexpr std::string_view kModelIndex = "model.safetensors.index.json";

// "model-00001-of-00003.safetensors"; the number counts from 0.
std::string model_shard_name(std::size_t number, std::size_t count);

// Whether a file is one of those that a model in this directory consists of, or a record of one
// (FILE.cairn): these are replaced with the model.
bool is_model_file(std::string_view name) noexcept;

// Exists: the name is taken by something else than an empty directory, or, with `replace`, by no
// directory. Unsupported: what is there cannot be replaced, because a directory in it would be
// lost. Busy: another process is writing in it.
Result<void> refuse_model_directory(const os::Directory& parent, const std::string& name,
                                    bool replace);

class ModelDirectory {
 public:
  // Makes it in `parent`, which must outlive it. Errors: Io, NoSpace.
  static Result<ModelDirectory> create(const os::Directory& parent, std::string name);

  ModelDirectory(ModelDirectory&& other) noexcept;
  ModelDirectory& operator=(ModelDirectory&&) = delete;
  ~ModelDirectory();  // removes it, unless it was published

  // Where its files are written. It moves with the object, and temporary files refer to it.
  const os::Directory& files() const noexcept { return *files_; }

  // Gives the files, whose bytes are synced, their names, and then the directory its own. Durable
  // when it returns. With an error, what was there is there still, or the new one is, whole.
  // Returns warnings: the old one could not be removed. Errors: those of refuse_model_directory();
  // Busy; Unsupported: the file system cannot exchange two directories.
  Result<std::vector<std::string>> publish(std::span<TempFile> files, bool replace,
                                           const LockWait& wait);

 private:
  ModelDirectory(const os::Directory& parent, std::string name, std::string temporary,
                 os::Directory files) noexcept;
  Result<void> publish_new();
  Result<std::vector<std::string>> publish_instead(const os::Directory& old);

  const os::Directory* parent_;
  std::string name_;
  std::string temporary_;                 // empty: published or moved from
  std::unique_ptr<os::Directory> files_;  // held, so that the living are told from the dead
};

// Whether this temporary name is that of a model directory whose writer died.
bool is_dead_model_directory(const os::Directory& parent, const std::string& temporary);

// Removes such a one: the files of a model, and those that have another name in the directory that
// has the name. What is left stays, and so does the directory. The caller holds the lock of the
// parent.
void remove_dead_model_directory(const os::Directory& parent, const std::string& temporary);

}  // namespace cairn::internal
