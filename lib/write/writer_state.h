#pragma once

// What stands behind a Writer: the tensors that were announced, what has come of them, and what
// commit() makes of it. writer.cc is the public handle, writer_state.cc takes the bytes,
// writer_commit.cc publishes.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/writer.h"
#include "format/facts.h"
#include "lib/os/file.h"
#include "lib/read/open_checkpoint.h"
#include "lib/write/batch.h"
#include "lib/write/incoming_tensor.h"
#include "lib/write/linked_shards.h"
#include "lib/write/publisher.h"
#include "lib/write/shard_writer.h"

namespace cairn {

class Writer::State {
 public:
  State(std::filesystem::path prefix, std::vector<TensorSpec> specs, WriterOptions options,
        os::Directory directory);

  Result<void> write_all(std::span<const NamedBytes> tensors, const ExecOptions& exec);
  Result<void> write_strings(std::string_view name, std::span<const std::string_view> values);
  Result<void> write_encoded(std::string_view name, std::span<const std::byte> bytes);
  Result<void> append(std::string_view name, std::span<const std::byte> chunk);
  Result<void> tie(std::string_view name, std::string_view same_as);
  Result<void> commit(const ExecOptions& exec);
  void before_publishing(std::function<Result<void>()> check) {
    before_publishing_ = std::move(check);
  }
  void created_at(std::int64_t created_ns) { created_ns_ = created_ns; }
  // Invalid: the tensor has another dtype. NotFound.
  Result<void> match_dtype(std::string_view name, DType dtype) const;
  void swept() { swept_ = true; }
  void in_idle_time(std::chrono::milliseconds idle_max) noexcept { idle_max_ = idle_max; }
  void link(internal::LinkedShards linked);
  bool is_whole(std::string_view name) const;
  std::uint64_t written_bytes() const noexcept;
  std::span<const std::string> warnings() const noexcept { return warnings_; }
  const os::Directory& directory() const noexcept { return directory_; }

 private:
  const internal::Parts& source() const noexcept {
    return internal::OpenCheckpoint::of(*options_.read_from).parts();
  }

  // ---- writer_state.cc ----
  Result<void> usable() const;
  // `guess`: where it is, if names come in the order of the specs.
  Result<std::size_t> find(std::string_view name, std::size_t guess = 0) const;
  Result<void> prepare();
  void place_linked(internal::Layout& layout) const;
  Result<void> check_verb(std::size_t tensor, bool encoded) const;
  Result<void> begin(std::size_t tensor, bool encoded);
  Result<void> take(const NamedBytes& given, std::vector<internal::TensorWrite>& writes);
  Result<void> append_raw(std::size_t tensor, std::span<const std::byte> bytes);
  Result<void> store_encoded(std::size_t tensor, std::span<const std::span<const std::byte>> parts,
                             std::uint32_t crc32c);

  // ---- writer_commit.cc ----
  Result<void> check_whole();
  Result<void> publish(internal::Publisher& publisher);
  std::vector<format::TensorFacts> tensor_facts() const;
  format::IndexFacts index_facts(std::uint32_t shard_count) const;
  Result<void> add_indexes(internal::Publisher& publisher, std::uint32_t shard_count);
  void warn_of_replaced();
  void warn_of_kept();

  std::filesystem::path prefix_;
  std::string base_;
  std::vector<TensorSpec> specs_;  // sorted by name
  std::vector<std::optional<std::size_t>> same_as_;
  WriterOptions options_;
  os::Directory directory_;
  std::mutex prepare_mutex_;
  std::atomic<bool> prepared_ = false;
  internal::LinkedShards linked_;
  std::vector<bool> is_linked_;  // parallel to specs_; empty: none
  std::optional<internal::ShardWriter> shards_;
  std::vector<internal::IncomingTensor> incoming_;
  std::function<Result<void>()> before_publishing_;
  std::optional<std::int64_t> created_ns_;
  std::chrono::milliseconds idle_max_{0};
  bool swept_ = false;  // what publishers left that died is gone
  bool stays_ = false;  // what was read lies under this prefix, and is to be there until commit()
  std::vector<std::string> warnings_;
  std::atomic<bool> broken_ = false;
  std::atomic<bool> committed_ = false;
};

}  // namespace cairn
