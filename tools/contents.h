#pragma once

// What `cairn save` writes: tensors given as words, and the rest from another checkpoint.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/error.h"
#include "cairn/exec_options.h"
#include "cairn/saver.h"
#include "cairn/writer.h"
#include "npy_file.h"

namespace cairn::tools {

class Contents {
 public:
  // `words`: NAME=FILE.npy, NAME:DTYPE=FILE.npy or NAME:DTYPE=VALUE. `from`: whatever open takes;
  // empty: nothing. A name that the source has as an object path means the object's tensor.
  // Errors: Invalid (no such word, a name twice, nothing at all), Exists (another dtype or shape
  // than the source's, without `replace`), those of open_npy and Checkpoint::open. Reads headers
  // and indexes, no tensor.
  struct From {
    const std::string& path;
    bool replace = false;
    bool follow_links = false;
  };
  static Result<Contents> gather(std::span<const std::string> words, const From& from);

  // Takes the names of what was given as object paths, and adds what makes a checkpoint of
  // TensorFlow 2's: the object graph and, where it was not given, save_counter. Errors: those of
  // object_keys.
  Result<void> become_objects(std::int64_t save_counter);

  std::vector<TensorSpec> specs() const;
  std::span<const std::string> warnings() const;

  const std::optional<Checkpoint>& source() const noexcept { return source_; }

  // Names of tensors that the source has and an incremental save need not write: from now on
  // fill() leaves them out. Empty: the source is not a checkpoint with Cairn's index.
  std::vector<std::string> leave_in_source();

  // Takes over what the source says of itself.
  void add_metadata(SaveOptions& options) const;

  // Gives the writer every byte. Memory: some blocks, and one tensor where it is partitioned,
  // big-endian or of strings.
  Result<void> fill(Writer& writer, const ExecOptions& exec) const;

 private:
  struct Given {
    TensorSpec spec;
    std::string value;            // a scalar's stored bytes; of a String the string
    std::optional<NpyFile> file;  // then there is no value
  };

  static Result<Given> parse(std::string_view word);
  static Result<Given> parse_file(std::string_view word, std::string_view name,
                                  std::optional<DType> dtype, const std::string& path);
  Result<void> meet_source(bool replace);

  std::vector<Given> given_;
  std::optional<Checkpoint> source_;
  std::vector<Tensor> taken_;  // from the source
  std::vector<Tensor> left_;   // likewise, and not written again
};

}  // namespace cairn::tools
