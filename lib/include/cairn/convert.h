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
#include "cairn/exec_options.h"
#include "cairn/export.h"

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
  bool follow_links = false;     // of the source, as OpenOptions
  // How long to wait while another publishes under the prefix that is written to. 0: not at all;
  // max(): for ever. The wait is over: Busy.
  std::chrono::milliseconds lock_wait{30'000};
  // Convert and export: what the target cannot hold is left out, and named. Else it is an error.
  bool allow_lossy = false;
  ExecOptions exec;
};

struct Transfer {
  // What opens it: a prefix, or the path of a safetensors file. Where its directory was renamed
  // meanwhile, as it is found then, and a warning says so.
  std::filesystem::path prefix;
  Link used = Link::Auto;  // Auto: the payload stayed where it is
  // 0 unless linking was impossible, or the payload was rewritten.
  std::uint64_t payload_bytes_copied = 0;
  // Tensors and keys of metadata that were left out: with allow_lossy what the target cannot hold;
  // of P.index beside a P.cairn, tensors that TensorFlow cannot; in any case what a Saver noted (a
  // pin, a metric) and the target does not take.
  std::vector<std::string> not_nameable;
  std::vector<std::string> metadata_left_out;
  std::vector<std::string> safetensors_metadata_left_out;
  std::vector<std::string> warnings;
};

// Adds Cairn's index P.cairn beside the payload of a TensorFlow checkpoint, or renews one whose
// files changed since. No tensor byte is moved, and none read but where shards were touched or
// copied behind a P.cairn: then their bytes decide whether it stays. Under `output` the shards get
// names that are free. Of a P.cairn that TensorFlow has written past the pin stays, and what else
// it alone held is named; of a damaged one, where `replace` replaces it, a warning says that nobody
// can tell. Errors: those of Checkpoint::open (for a damaged P.cairn too, without `replace`);
// Exists
// (`output` is a checkpoint already, without `replace`); Unsupported (a format that cannot be
// imported); Busy (`lock_wait` is over); Io, NoSpace. Durable when it returns: the payload is
// synced first. Until then what was under `output` is there, whole.
CAIRN_API Result<Transfer> import_index(const std::filesystem::path& source,
                                        const TransferOptions& options = {}) noexcept;

// Adds another format's index beside the payload: Format::TensorFlow writes P.index, and the record
// of it in P.cairn; Format::Safetensors links a universal shard as P.safetensors. No tensor byte is
// read or moved, unless `output` lies where linking is impossible. Of an `output` that ends with
// ".safetensors" that is the file's name. Errors: as import_index; Unsupported (the payload does
// not lie as the target needs it: the sentence names convert(); the target cannot hold a tensor or
// what is known of the whole, and `allow_lossy` is not said: then nothing is written).
//
// Of all that writes indexes under an output: Exists, too, without `replace`, where a V1 checkpoint
// has the name, which nobody would read beside them; with `replace` its files stay, and a warning
// names them.
CAIRN_API Result<Transfer> export_index(const std::filesystem::path& source, Format target,
                                        const TransferOptions& options = {}) noexcept;

// Rewrites the payload of any checkpoint that open() takes in the target's layout, under
// `options.output`, which is required, and for safetensors may end with ".safetensors". Every byte
// is checked on the way. Metadata is kept as WriterOptions says.
//
// What the targets cannot hold: TensorFlow no DType::Opaque, no empty name and no metadata but a
// "format" of "pt"; safetensors no strings, no dtypes that it has no name for, no name and no
// metadata() that is not UTF-8; of what a Saver noted it takes the metrics alone. Dtypes that
// only its newest readers know are written, with a warning. Its file has no step and no P.meta
// either: warnings say so.
//
// Errors: those of open, verify and Writer; Exists (`output`, without `replace`); Unsupported (what
// the target cannot hold, without `allow_lossy`: nothing is written).
CAIRN_API Result<Transfer> convert(const std::filesystem::path& source, Format target,
                                   const TransferOptions& options) noexcept;

}  // namespace cairn
