#pragma once

// One payload with several indexes: add the index of another format to a checkpoint, or rewrite the
// checkpoint where the bytes of the formats differ.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cairn/cast.h"
#include "cairn/checkpoint.h"
#include "cairn/error.h"
#include "cairn/exec_options.h"
#include "cairn/export.h"
#include "cairn/format_options.h"
#include "cairn/renaming.h"

namespace cairn {

// How a shard gets a second name.
enum class Link : std::uint8_t {
  // Of a shard of Cairn's or TensorFlow's, into which nobody writes again, and of a file beside
  // which an index is put: hard link, else reflink, else copy. Of another file, with `output`:
  // reflink, else copy, because tools may write into it later, and so into each file that is linked
  // to it.
  Auto,
  Hard,     // hard link, else an error; never of ONNX's external data, which onnx then refuses
  Reflink,  // a copy that shares its blocks with the original, else an error
  Copy,
};

// "auto", "hard", "reflink", "copy".
CAIRN_API std::string_view name(Link link) noexcept;

struct TransferOptions {
  std::filesystem::path output = {};  // a prefix; empty: the new index goes next to the payload
  Link link = Link::Auto;             // with `output`: how the shards get their new names
  bool replace = false;               // an existing checkpoint may be replaced
  bool follow_links = false;          // for the source, as OpenOptions::follow_links
  // How long to wait while another process publishes under the target prefix. Afterwards the call
  // returns Busy. 0: do not wait; max(): wait without a limit.
  std::chrono::milliseconds lock_wait{30'000};
  // Convert and export. True: what the target cannot hold is left out, and the result names it.
  // False: it is an error.
  bool allow_lossy = false;
  // Convert: only the tensors of these names. Nothing: all. A name that no tensor has is NotFound.
  std::optional<std::vector<std::string>> tensors = {};
  // Convert to Format::Safetensors. 0: one file. Else `output` is a directory, as the Hugging Face
  // libraries write one: each file has tensors of at most so many bytes; a larger tensor has a file
  // of its own.
  std::uint64_t max_shard_bytes = 0;
  // Convert: new names for the tensors that are written. `renaming` applies to the names that
  // `names` gives. With other names than the stored ones the object graph is left out, which knows
  // only those.
  TensorNames names = TensorNames::Stored;
  Renaming renaming = {};
  // Convert: new dtypes, at most one for each dtype. A dtype that no tensor has is a warning.
  std::vector<Cast> casts = {};
  // Import of a file that is not TensorFlow's: read each byte once for its checksum and hash.
  // False: read only what the file says of its tensors; they cannot be checked.
  bool sums = true;
  FormatOptions formats = {};  // import, export, convert: for the source
  ExecOptions exec = {};
};

struct Transfer {
  // The path that opens the result: a prefix, or a safetensors file. If its directory was renamed
  // in the meantime, this is the new path, and a warning says so.
  std::filesystem::path prefix;
  Link used = Link::Auto;  // Auto: the payload stayed where it is
  // 0, unless the payload was rewritten or could not be linked.
  std::uint64_t payload_bytes_copied = 0;
  // Tensors and metadata keys that were left out:
  // - with allow_lossy, what the target cannot hold;
  // - from a P.index that has a P.cairn next to it, tensors that TensorFlow cannot hold;
  // - always, what a Saver stored (a pin, a metric) and the target does not hold;
  // - with other names than the stored ones, the object graph.
  std::vector<std::string> not_nameable;
  std::vector<std::string> metadata_left_out;
  std::vector<std::string> safetensors_metadata_left_out;
  std::vector<NameChange> renamed;  // convert: in the order of the old names
  std::vector<CastCounts> casts;    // convert: those that were asked for, in their order
  std::vector<std::string> warnings;
};

// Adds Cairn's index to a checkpoint of another format. No tensor byte is moved.
//
// Of a file (safetensors, GGUF, npy, npz; a model.safetensors.index.json, with the files that it
// names; a Hugging Face directory) FILE.cairn is written beside it, as model.gguf.cairn. It has the
// checksums and hashes that these formats do not have. Who opens the file from then on opens it by
// FILE.cairn, as long as size, time and header of the file are as recorded; afterwards the file
// is opened by itself, with a warning, until it is imported again. There is no `output`, and what
// the file has and no checkpoint can hold needs `allow_lossy`.
//
// Of a TensorFlow checkpoint P.cairn is written, or a P.cairn whose files have changed is renewed.
// Tensor bytes are read in one case only: the shards of a P.cairn
// were touched or copied; then their checksums decide whether the P.cairn stays. With `output` the
// shards get unused names there.
//
// If TensorFlow has replaced the P.index of a P.cairn, the pin of that P.cairn stays, and warnings
// name the rest of what only the P.cairn held. If `replace` replaces a damaged P.cairn, a warning
// says that its contents are not known.
//
// The result is durable when the call returns; the payload is synced first. Until then the previous
// checkpoint under `output` stays whole. Errors: those of Checkpoint::open (also for a damaged
// P.cairn, without `replace`); Exists (there is a checkpoint under `output`, without `replace`);
// Unsupported (this format cannot be imported); Busy (`lock_wait` is over); Io, NoSpace.
CAIRN_API Result<Transfer> import_index(const std::filesystem::path& source,
                                        const TransferOptions& options = {}) noexcept;

// Adds the index of another format to the payload. Format::TensorFlow writes P.index, and records
// it in P.cairn. Format::Safetensors links a universal shard as P.safetensors; if `output` ends
// with ".safetensors", it is the name of that file. No tensor byte is moved, unless `output` is in
// a place where linking is impossible, or a file is not to be linked (Link::Auto, and external data
// of ONNX). Tensor bytes are read only where TensorFlow's index needs a checksum that the source
// does not have; a warning says so. Of a file of another format, P is by default the file's name
// without its extension ("model" for model.safetensors).
//
// Errors: those of import_index; Unsupported (the layout of the payload does not fit the target:
// the message names convert(); or the target cannot hold a tensor or metadata, without
// `allow_lossy`: then nothing is written).
//
// For all functions that write indexes under an output: the error is also Exists if a V1 checkpoint
// has that name, because the new indexes would hide it. With `replace` the V1 files stay, and a
// warning names them.
CAIRN_API Result<Transfer> export_index(const std::filesystem::path& source, Format target,
                                        const TransferOptions& options = {}) noexcept;

// Rewrites a checkpoint in the layout of the target, under `options.output`, which is required. The
// source is any checkpoint that Checkpoint::open opens. Every byte is checked while it is copied,
// and none is linked. Metadata is kept as WriterOptions describes. Targets:
// - Format::Cairn and Format::TensorFlow: a prefix.
// - Format::Safetensors: one file, whose name may lack ".safetensors"; or, with `max_shard_bytes`,
//   a directory with model-00001-of-00003.safetensors and so on, and model.safetensors.index.json;
//   model.safetensors alone, if all tensors fit into it. The directory gets its name at once,
//   whole. `replace` exchanges it with the one that is there, of which model*.safetensors and their
//   index go, and all other files stay.
// - Format::Npz and Format::Npy (of one tensor): a file, whose name may lack the suffix.
//
// The targets cannot hold everything:
// - TensorFlow: no DType::Opaque, no empty name, and no metadata but a "format" of "pt".
// - Safetensors: no strings, no dtypes that it has no name for, no name and no metadata() that is
//   not UTF-8, and of what a Saver stored the metrics only. A safetensors file has no step and no
//   P.meta; warnings say so. Dtypes that only its newest readers know are written, with a warning.
// - npz and npy: no strings, no dtypes of which an element is no whole number of bytes, no
// metadata,
//   and no name that cannot be the path of a member. Elements of a dtype that numpy does not know
//   (bfloat16, float8) are written as void of their width, with a warning.
//
// With `names`, `renaming` and `casts` the tensors get other names and dtypes. Checksums and hashes
// in the result are those of the new values.
//
// Errors: those of open, verify, Writer, name_changes and read_object_graph; Exists (there is a
// checkpoint under `output`, or an index or a directory that loaders would read instead, without
// `replace`; two tensors would get one name, and the message names both); Unsupported (the target
// cannot hold something, without `allow_lossy`; a cast of another dtype; the object graph would
// keep an old name; the file system cannot exchange two directories); Invalid (a dtype is cast
// twice, or to itself; not one tensor, for Format::Npy). After these nothing is written.
CAIRN_API Result<Transfer> convert(const std::filesystem::path& source, Format target,
                                   const TransferOptions& options) noexcept;

}  // namespace cairn
