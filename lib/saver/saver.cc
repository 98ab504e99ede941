// The public Saver, a handle to a Saver::State, and what its verbs share.

#include "cairn/saver.h"

#include <algorithm>
#include <utility>

#include "lib/read/identity.h"
#include "lib/saver/catalog_file.h"
#include "lib/saver/pending.h"
#include "lib/saver/retention.h"
#include "lib/saver/saver_state.h"
#include "lib/try.h"

namespace cairn {
namespace {

using internal::CheckpointFacts;
using internal::History;
using internal::HistoryEntry;
using internal::RetentionResult;

}  // namespace

// ---- What the verbs share -----------------------------------------------------------------------

double Saver::State::now_s() const {
  return options_.clock ? options_.clock() : static_cast<double>(os::now_ns()) * 1e-9;
}

// What to say where the directory's path leads elsewhere by now; what was `done`: "saved into".
std::optional<std::string> Saver::State::moved(const std::string& done) const {
  const auto own = directory_.info();
  const auto there = os::look(dir_.empty() ? "." : dir_);
  if (!own || !there) return std::nullopt;
  if (*there && internal::same_file(**there, *own)) return std::nullopt;
  const std::string now = directory_.path_now();
  return dir_.string() +
         (*there ? ": is now a different directory than the one that was opened"
                 : ": no longer exists") +
         "; Cairn " + done + " the directory that was opened" + (now.empty() ? "" : ", " + now) +
         "; to use the directory of this path, open another Saver";
}

internal::KeepState Saver::State::grid_of(const History& history) const {
  internal::KeepState grid = internal::first_grid(options_.keep_any_of, opened_s_);
  const auto* rule = internal::rule_of(options_.keep_any_of, Retention::Rule::TensorFlowSaver);
  if (rule != nullptr && history.grid && history.grid->hours == rule->hours)
    grid.next_keep_s = history.grid->next_keep_s;
  if (history.last_preserved_s != 0) grid.last_preserved_s = history.last_preserved_s;
  // As TensorFlow's Manager begins when the clock was set back.
  grid.last_preserved_s = std::min(grid.last_preserved_s, now_s());
  return grid;
}

RetentionResult Saver::State::apply_retention(const History& history,
                                              internal::RemovalLimit pace) const {
  std::vector<CheckpointFacts> known;
  for (const HistoryEntry& listed : history.listed) known.push_back(listed.known);
  return internal::apply_retention(options_.keep_any_of, known, grid_of(history), pace);
}

// ---- The public handle --------------------------------------------------------------------------

Result<Saver> Saver::open(const std::filesystem::path& dir, const SaverOptions& options) noexcept {
  return at_boundary([&]() -> Result<Saver> {
    if (auto sound = internal::check_rules(options.keep_any_of); !sound) {
      return Error{Code::Invalid, 0, dir.string() + ": " + sound.error().what};
    }
    CAIRN_CHECK(internal::check_written_name(dir, options.latest_filename));
    CAIRN_TRY(directory, os::Directory::open_or_create(dir));
    return Saver(std::make_unique<State>(dir, std::move(directory), options));
  });
}

Saver::Saver(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Saver::Saver(Saver&&) noexcept = default;
Saver& Saver::operator=(Saver&&) noexcept = default;
Saver::~Saver() = default;

Result<Saved> Saver::save(std::string_view name, std::span<const NamedTensor> tensors,
                          const SaveOptions& options) noexcept {
  return at_boundary([&] {
    internal::SaveContents contents;
    for (const NamedTensor& tensor : tensors) contents.specs.push_back(tensor.spec);
    contents.fill = [tensors, &exec = state_->exec_of(options)](Writer& writer) {
      return internal::write_all(writer, tensors, exec);
    };
    contents.in_memory = [tensors] {
      return std::vector<NamedTensor>(tensors.begin(), tensors.end());
    };
    return state_->save(name, std::move(contents), options);
  });
}

Result<Saved> Saver::save(std::string_view name, std::vector<TensorSpec> specs, const Fill& fill,
                          const SaveOptions& options) noexcept {
  return at_boundary([&] { return state_->save(name, {std::move(specs), fill, {}, {}}, options); });
}

Result<PendingSave> Saver::save_async(std::string_view name, std::span<const NamedTensor> tensors,
                                      Memory memory, const SaveOptions& options) noexcept {
  return at_boundary([&] { return state_->save_async(name, tensors, memory, options); });
}

Result<std::vector<std::filesystem::path>> Saver::last_checkpoints() const noexcept {
  return at_boundary([&] { return state_->last_checkpoints(); });
}

Result<void> Saver::pin(const std::filesystem::path& prefix, bool pinned) noexcept {
  return at_boundary(
      [&] { return state_->noting("pinned in", [&] { return state_->pin(prefix, pinned); }); });
}

Result<std::vector<RetentionDecision>> Saver::prune(bool dry_run) noexcept {
  return at_boundary([&] {
    return state_->noting(dry_run ? "read" : "pruned", [&] { return state_->prune(dry_run); });
  });
}

std::span<const std::string> Saver::warnings() const noexcept { return state_->warnings(); }

}  // namespace cairn
