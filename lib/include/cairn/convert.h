#pragma once

// One payload, many indexes: giving a checkpoint the index of another format, and rewriting it
// where bytes must differ.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/error.h"
#include "cairn/export.h"
#include "cairn/work.h"

namespace cairn {

// How a payload gets a second name.
enum class Link : std::uint8_t {
  Auto,     // hard link, else reflink, else copy
  Hard,     // hard link or an error
  Reflink,  // a copy that shares its blocks, or an error
  Copy,
};

// "auto", "hard", "reflink", "copy".
CAIRN_API std::string_view name(Link link) noexcept;

struct TransferOptions {
  std::filesystem::path output;  // a prefix; empty: beside the payload
  Link link = Link::Auto;        // with `output`: how the shards get there
  bool replace = false;          // a checkpoint that is there may be replaced
  // How long to wait while another publishes under the prefix that is written to. 0: not at all;
  // max(): for ever. The wait is over: Busy.
  std::chrono::milliseconds lock_wait{30'000};
  Work work;
};

struct Transfer {
  std::filesystem::path prefix;  // where the result lies
  Link used = Link::Auto;        // Auto: the payload stayed where it is
  // 0 unless linking was impossible, or the payload was rewritten.
  std::uint64_t payload_bytes_copied = 0;
  // Tensors that the target format cannot name, left out of its index.
  std::vector<std::string> not_nameable;
  std::vector<std::string> notices;
};

// Adds Cairn's index P.cairn beside the payload of a TensorFlow checkpoint, or renews one whose
// files changed since. No tensor byte is moved, and none read but where shards were touched or
// copied behind a P.cairn: then their bytes decide whether it stays. Under `output` the shards get
// names that are free. Errors: those of Checkpoint::open (for a damaged P.cairn too, without
// `replace`); Exists (`output` is a checkpoint already, without `replace`); Unsupported (a format
// that cannot be imported); Busy (`lock_wait` is over); Io, NoSpace. Durable when it returns: the
// payload is synced first. Until then what was under `output` is there, whole.
CAIRN_API Result<Transfer> import_index(const std::filesystem::path& source,
                                        const TransferOptions& options = {}) noexcept;

// Adds another format's index beside the payload: Format::TensorFlow writes P.index, and the record
// of it in P.cairn; Format::Safetensors links a universal shard as P.safetensors. No tensor byte is
// read or moved, unless `output` lies where linking is impossible. Errors: as import_index;
// Unsupported (the payload does not lie as the target needs it: the sentence names convert()).
CAIRN_API Result<Transfer> export_index(const std::filesystem::path& source, Format target,
                                        const TransferOptions& options = {}) noexcept;

// Rewrites the payload of any checkpoint that open() takes in the target's layout, under
// `options.output`, which is required. Every byte is checked on the way. Errors: those of open,
// verify and Writer; Exists (`output`, without `replace`).
CAIRN_API Result<Transfer> convert(const std::filesystem::path& source, Format target,
                                   const TransferOptions& options) noexcept;

}  // namespace cairn
