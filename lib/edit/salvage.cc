// Salvage copies. Linking the shards, as merge does, would cost nothing and take along what it is
// called for to leave behind: the damaged bytes, the bad sectors under them, a file that somebody
// may still be writing to. What it writes lies in fresh shards, without a byte that no tensor owns.
//
// It reads everything twice. A writer plans its shards before the first byte comes, so it must be
// known before which tensors there will be; and what was whole a minute ago is compared again while
// it is copied, since a disk that fails goes on failing. A tensor that has gone bad in between is
// an error, and not one more in the list: the plan is made.

#include "cairn/salvage.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "format/quoted.h"
#include "lib/edit/convert.h"
#include "lib/edit/examine.h"
#include "lib/edit/transfer.h"
#include "lib/open/recoverable.h"
#include "lib/os/parallel.h"
#include "lib/read/names.h"
#include "lib/read/open_checkpoint.h"
#include "lib/try.h"

namespace cairn {
namespace {

// Whether the output is the checkpoint that is salvaged, however it is spelt.
Result<bool> is_source(const internal::Location& source, const std::filesystem::path& output) {
  const auto parts = internal::Prefix::of(output);
  if (parts.base != source.base) return false;
  const auto directory = os::Directory::open(parts.directory);
  if (!directory && directory.error().code == Code::NotFound) return false;
  if (!directory) return directory.error();
  return internal::same_place({*directory, parts.base}, {source.directory, source.base});
}

Result<void> check_output(const std::filesystem::path& source, const TransferOptions& options) {
  if (options.output.empty())
    return Error{Code::Invalid, 0, source.string() + ": salvage needs an output prefix"};
  return internal::refuse_existing(options, Format::Cairn);
}

Error nothing_whole(const internal::SalvageScan& examined) {
  const Salvageable& found = examined.found;
  const LostTensor& first = found.lost.front();
  return {Code::Corrupt, 0,
          examined.location.prefix.string() + ": none of its " +
              std::to_string(found.tensors_total) + " tensors is whole; the first one is " +
              format::quoted(first.name) + ": " + first.ranges.front().why};
}

Result<Transfer> write(internal::SalvageScan& examined, const TransferOptions& options) {
  const auto& index = internal::OpenCheckpoint::of(examined.checkpoint).index();
  internal::Payload payload{examined.checkpoint,
                            internal::as_stored(index, examined.whole),
                            internal::writer_options(examined.checkpoint),
                            {}};
  auto graph = internal::meta_graph(examined.location, options.follow_links);
  if (!graph && !internal::is_damage(graph.error())) return std::move(graph).error();
  if (graph) {
    payload.writing.meta_graph = *std::move(graph);
  } else {
    examined.found.warnings.push_back(graph.error().what + ": left out");
  }
  Transfer transfer;
  transfer.prefix = options.output;
  transfer.used = Link::Copy;
  CAIRN_CHECK(internal::rewrite(payload, options, transfer));
  internal::warn_of_fingerprint(options.output, transfer);
  std::ranges::move(transfer.warnings, std::back_inserter(examined.found.warnings));
  transfer.warnings.clear();
  return transfer;
}

}  // namespace

Result<Salvageable> salvageable(const std::filesystem::path& source, const ExecOptions& exec,
                                bool follow_links) noexcept {
  return at_boundary([&]() -> Result<Salvageable> {
    CAIRN_TRY(recoverable, internal::find_recoverable(source, follow_links));
    CAIRN_TRY(examined, internal::examine(std::move(recoverable), exec, 1));
    return std::move(examined.found);
  });
}

Result<Salvaged> salvage(const std::filesystem::path& source,
                         const SalvageOptions& options) noexcept {
  return at_boundary([&]() -> Result<Salvaged> {
    TransferOptions writing;
    writing.output = options.output;
    writing.replace = options.replace;
    writing.follow_links = options.follow_links;
    writing.lock_wait = options.lock_wait;
    CAIRN_CHECK(check_output(source, writing));
    CAIRN_TRY(recoverable, internal::find_recoverable(source, options.follow_links));
    CAIRN_TRY(same, is_source(recoverable.location, options.output));
    if (same) {
      return Error{
          Code::Invalid, 0,
          options.output.string() + ": is the checkpoint that is salvaged; choose another output"};
    }
    CAIRN_TRY(examined, internal::examine(std::move(recoverable), options.exec, 2));
    if (examined.whole.empty() && !examined.found.lost.empty()) return nothing_whole(examined);
    writing.exec = os::part_of(options.exec, {examined.pass_bytes, 2 * examined.pass_bytes});
    CAIRN_TRY(transfer, write(examined, writing));
    return Salvaged{std::move(transfer), std::move(examined.found)};
  });
}

}  // namespace cairn
