// One save.
//
// It changes three things: the checkpoint, the catalog, and the files of those that retention
// lets go of. They cannot change at once, so the journal says beforehand what will be done, and
// each step leaves the directory such that what is listed is whole:
//
//   lock → finish what a dead writer began (journal.h) → read the directory's history → judge
//   → journal → the checkpoint, committed → the catalog → removals → journal gone → unlock
//
// Nothing is remembered between two saves but the options and the time the Saver was made, from
// which TensorFlow's keep-grid starts in a directory that has none.

#include <algorithm>
#include <iterator>
#include <utility>

#include "format/quoted.h"
#include "format/safetensors/header.h"
#include "lib/edit/transfer.h"
#include "lib/open/load.h"
#include "lib/read/names.h"
#include "lib/saver/apply_retention.h"
#include "lib/saver/catalog_file.h"
#include "lib/saver/checkpoint_files.h"
#include "lib/saver/journal.h"
#include "lib/saver/orphan_indexes.h"
#include "lib/saver/saver_metadata.h"
#include "lib/saver/saver_state.h"
#include "lib/try.h"
#include "lib/write/remarks.h"
#include "lib/write/writer_access.h"

namespace cairn {
namespace {

using internal::HistoryEntry;
using internal::RetentionResult;

Error invalid(std::string what) { return {Code::Invalid, 0, std::move(what)}; }

}  // namespace

// ---- What a save decides ------------------------------------------------------------------------

Result<std::string> Saver::State::checked_base(std::string_view name,
                                               const SaveOptions& what) const {
  if (!internal::is_bare(name)) {
    return invalid(dir_.string() + ": " + format::quoted(name) +
                   " cannot be the name of a checkpoint; it must be a file name without slashes");
  }
  if (!format::safetensors::is_utf8(name)) {
    return invalid(dir_.string() + ": " + format::quoted(name) +
                   " cannot be the name of a checkpoint; it must be UTF-8, which a catalog needs");
  }
  for (const auto& [key, value] : what.metadata) {
    if (!key.starts_with(format::kReservedKeys)) continue;
    return invalid(dir_.string() + ": metadata " + format::quoted(key) +
                   ": keys that begin with \"cairn.\" are reserved for the Saver");
  }
  std::string base = what.step ? internal::with_step(name, *what.step, options_.pad_step_number)
                               : std::string(name);
  if (base != options_.latest_filename) return base;
  return invalid(dir_.string() + ": a checkpoint named " + base +
                 " would have the name of the catalog");
}

Result<Saver::State::Plan> Saver::State::plan_of(const std::string& base, const SaveOptions& what,
                                                 std::span<const std::string> names) const {
  CAIRN_TRY(history, internal::read_history(place()));
  // A pin belongs to the name: to save under it again does not take it away.
  const auto same = std::ranges::find(history.listed, base, &HistoryEntry::base);
  const bool known = same != history.listed.end();
  CAIRN_TRY(before,
            known ? Result<internal::Pin>(internal::Pin{same->known.pinned, same->known.unread})
                  : internal::pin_of(place(), base));
  Plan plan;
  if (!history.listed.empty()) plan.latest = history.listed.back().base;
  const bool pinned = what.pinned || before.pinned || !before.unread.empty();
  const double now = now_s();
  std::erase_if(history.listed, [&](const HistoryEntry& listed) { return listed.base == base; });
  history.listed.push_back({dir_ / base, base, {now, what.step, what.metrics, pinned, {}}, {}});
  RetentionResult result = apply_retention(history, internal::RemovalLimit::Save);

  plan.base = base;
  CAIRN_TRY(protected_as, internal::protect_referenced(place(), names, history, result));
  plan.warnings = std::move(protected_as);
  if (!what.pinned && !before.unread.empty()) {
    plan.warnings.push_back(
        (dir_ / base).string() +
        ": is pinned, because the checkpoint that it replaced may have been pinned: " +
        before.unread + "; to unpin it, use Saver::pin() (cairn pin --remove)");
  }
  CAIRN_TRY(leaving, internal::files_to_remove(place(), names, history, result));
  internal::apply(result, options_.keep_any_of, history);
  plan.history = std::move(history);
  plan.journal.catalog = options_.latest_filename;
  CAIRN_TRY(adding, internal::before_adding(place(), base));
  plan.journal.adding = std::move(adding);
  plan.journal.removing = std::move(leaving);
  plan.writer.step = what.step;
  plan.writer.metadata = what.metadata;
  plan.writer.safetensors_metadata = what.safetensors_metadata;
  for (auto& entry : internal::metadata_of({now, what.metrics, pinned, plan.history.grid}))
    plan.writer.metadata.push_back(std::move(entry));
  plan.writer.tensorflow_index = options_.tensorflow_index;
  plan.writer.meta_graph = what.meta_graph;
  plan.writer.read_from = what.read_from;
  plan.writer.lock_wait = options_.lock_wait;
  return plan;
}

// ---- What a save does ---------------------------------------------------------------------------

// What the save shares shards with. Nothing: it is not incremental, or, where the caller has not
// named it, there is nothing to share with.
Result<std::optional<internal::Parts>> Saver::State::open_base(Plan& plan,
                                                               const SaveOptions& what) const {
  using Base = std::optional<internal::Parts>;
  if (!what.base.empty()) {
    CAIRN_TRY(found, internal::find(what.base, options_.follow_links));
    return Base(std::move(found.parts));
  }
  if (!options_.incremental || !plan.latest || plan.latest->empty()) return Base();
  internal::OpenAttempt attempt(directory_);
  auto parts = internal::retry_until_stable(attempt, [&]() -> Result<internal::Parts> {
    CAIRN_TRY(twin, directory_.duplicate());
    CAIRN_TRY(location, internal::locate_in(std::move(twin), *plan.latest, dir_ / *plan.latest));
    return internal::load(location, options_.follow_links, attempt);
  });
  if (parts) return Base(*std::move(parts));
  plan.sharing.warnings.push_back(
      "everything is written, because the latest checkpoint cannot be opened: " +
      parts.error().what);
  return Base();
}

Result<void> Saver::State::share(Plan& plan, const internal::SaveContents& contents,
                                 const SaveOptions& what, const ExecOptions& exec) const {
  CAIRN_TRY(from, open_base(plan, what));
  if (!from) {
    if (what.unchanged.empty()) return {};
    return invalid((dir_ / plan.base).string() + ": tensor " +
                   format::quoted(what.unchanged.front()) +
                   " is said to be unchanged, but there is no checkpoint that has it");
  }
  const std::uint64_t since_full = internal::saver_metadata(from->index).saves_since_full;
  const bool full = options_.full_every != 0 && since_full + 1 >= options_.full_every;
  CAIRN_TRY(sharing,
            internal::share_with(*from, contents, {what.unchanged, !full, what.verify_linked, exec},
                                 directory_, plan.base));
  if (!sharing.linked.shards.empty()) {
    internal::SaverMetadata note;
    note.saves_since_full = since_full + 1;
    for (auto& entry : internal::metadata_of(note))
      plan.writer.metadata.push_back(std::move(entry));
  }
  plan.sharing = std::move(sharing);
  plan.from = std::move(from);
  return {};
}

Result<void> Saver::State::write_checkpoint(Plan& plan, internal::SaveContents contents,
                                            const ExecOptions& exec, Saved& saved) const {
  CAIRN_TRY(twin, directory_.duplicate());
  CAIRN_TRY(writer, WriterAccess::create_in(std::move(twin), dir_ / plan.base,
                                            std::move(contents.specs), plan.writer));
  WriterAccess::created_at(writer, plan.journal.adding.created_ns);
  if (plan.from) {
    if (!plan.sharing.linked.shards.empty()) saved.base = plan.from->prefix;
    saved.shared_bytes = plan.sharing.shared_bytes;
    saved.dead_bytes = plan.sharing.dead_bytes;
    CAIRN_CHECK(internal::take_from_base(*plan.from, plan.sharing, writer));
  }
  CAIRN_CHECK(contents.fill(writer));
  CAIRN_CHECK(writer.commit(exec));
  saved.written_bytes = WriterAccess::written_bytes(writer);
  saved.warnings = std::move(plan.sharing.warnings);
  std::ranges::copy(writer.warnings(), std::back_inserter(saved.warnings));
  return {};
}

// TensorFlow takes no lock. What it has listed while the checkpoint was written is to stay listed.
Result<void> Saver::State::catch_up(Plan& plan, const SaveOptions& what) const {
  CAIRN_TRY(same, internal::unchanged(place(), plan.journal.adding, options_.latest_filename));
  if (same) return {};
  CAIRN_TRY(names, directory_.names());
  CAIRN_TRY(anew, plan_of(plan.base, what, names));
  plan.history = std::move(anew.history);
  plan.journal.removing = std::move(anew.journal.removing);
  plan.warnings = std::move(anew.warnings);
  // The indexes as they were before the save, the catalog as it is now.
  auto& files = plan.journal.adding.files;
  const auto is_catalog = [&](const format::JournalFile& file) {
    return file.name == options_.latest_filename;
  };
  std::erase_if(files, is_catalog);
  std::ranges::copy_if(anew.journal.adding.files, std::back_inserter(files), is_catalog);
  return internal::write_journal(directory_, plan.journal);
}

// The caller's lock covers all of it.
Result<Saved> Saver::State::run(const std::string& base, internal::SaveContents contents,
                                const SaveOptions& what, const ExecOptions& exec) const {
  CAIRN_TRY(recovery, internal::recover_and_sweep(place(), now_s()));
  const internal::Target target{directory_, base, (dir_ / base).string()};
  const bool over_v1 = internal::is_named_as_v1(recovery.names, base);
  if (!what.replace) CAIRN_CHECK(internal::refuse_replaced_tensors(target, contents.specs));
  if (!what.replace && over_v1) CAIRN_CHECK(internal::refuse_to_hide_v1(target));
  CAIRN_TRY(plan, plan_of(base, what, recovery.names));
  CAIRN_CHECK(share(plan, contents, what, exec));
  CAIRN_CHECK(internal::write_journal(directory_, plan.journal));
  Saved saved{.prefix = dir_ / base};
  const auto written = write_checkpoint(plan, std::move(contents), exec, saved);
  if (!written) {
    // Busy: for certain nothing was published, whatever another has published there meanwhile.
    if (written.error().code == Code::Busy) internal::remove_journal(directory_);
    if (written.error().code != Code::Busy) internal::roll_back(place(), plan.journal);
    return written.error();
  }
  auto done =
      catch_up(plan, what).and_then([&] { return internal::write_history(place(), plan.history); });
  if (!done) {
    Error error = std::move(done).error();
    error.what = (dir_ / base).string() +
                 ": is saved and whole, but the catalog does not list it: " + error.what +
                 "; the next save will list it";
    return error;
  }
  if (over_v1) internal::warn_of_hidden_v1(target, saved.warnings);
  std::ranges::move(recovery.warnings, std::back_inserter(saved.warnings));
  std::ranges::move(plan.warnings, std::back_inserter(saved.warnings));
  bool all = true;
  for (const auto& removed : plan.journal.removing) {
    const auto went =
        internal::remove_checkpoint_files(directory_, removed, internal::IdentityCheck::ByFile);
    all = all && went;
    if (went && went->gone()) saved.deleted.push_back(dir_ / removed.base);
    if (!went) saved.warnings.push_back(went.error().what + "; the next save tries again");
    if (went && !went->gone())
      saved.warnings.push_back((dir_ / removed.base).string() + ": " +
                               internal::describe_remaining(*went));
  }
  if (all) internal::remove_journal(directory_);
  for (const HistoryEntry& listed : plan.history.listed) saved.kept.push_back(listed.path);
  if (auto elsewhere = moved("saved into")) saved.warnings.push_back(*std::move(elsewhere));
  return saved;
}

Result<Saved> Saver::State::save(std::string_view name, internal::SaveContents contents,
                                 const SaveOptions& what) {
  CAIRN_CHECK(wait_for_pending());
  CAIRN_TRY(base, checked_base(name, what));
  const ExecOptions& exec = exec_of(what);
  const auto lock = internal::Lock::of_directory(directory_, lock_wait(exec));
  if (!lock) return lock.error();
  return run(base, std::move(contents), what, exec);
}

}  // namespace cairn
