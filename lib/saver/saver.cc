// The Saver.
//
// One save changes three things: the checkpoint, the catalog, and the files of those that retention
// lets go of. They cannot change at once, so the journal says beforehand what will be done, and
// each step leaves the directory such that what is listed is whole:
//
//   lock → finish what a dead writer began (journal.h) → read the directory's history → judge
//   → journal → the checkpoint, committed → the catalog → removals → journal gone → unlock
//
// Nothing is remembered between two saves but the options and the time the Saver was made, from
// which TensorFlow's keep-grid starts in a directory that has none.

#include "cairn/saver.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <system_error>
#include <thread>

#include "cairn/convert.h"
#include "format/quoted.h"
#include "format/safetensors/header.h"
#include "lib/edit/transfer.h"
#include "lib/open/catalog.h"
#include "lib/os/signals.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/saver/apply_retention.h"
#include "lib/saver/catalog_file.h"
#include "lib/saver/checkpoint_files.h"
#include "lib/saver/history.h"
#include "lib/saver/journal.h"
#include "lib/saver/orphan_indexes.h"
#include "lib/saver/pending.h"
#include "lib/saver/retention.h"
#include "lib/saver/without_room.h"
#include "lib/try.h"
#include "lib/write/lock.h"
#include "lib/write/remarks.h"
#include "lib/write/writer_access.h"

namespace cairn {
namespace {

using internal::CheckpointFacts;
using internal::History;
using internal::HistoryEntry;
using internal::Retained;
using internal::RetentionResult;

Error invalid(std::string what) { return {Code::Invalid, 0, std::move(what)}; }

}  // namespace

class Saver::State {
 public:
  State(std::filesystem::path dir, os::Directory directory, SaverOptions options)
      : dir_(std::move(dir)), directory_(std::move(directory)), options_(std::move(options)) {
    opened_s_ = now_s();
  }
  ~State() { join(); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  const ExecOptions& exec_of(const SaveOptions& what) const noexcept {
    return what.exec ? *what.exec : options_.exec;
  }
  Result<Saved> save(std::string_view name, std::vector<TensorSpec> specs, const Fill& fill,
                     const SaveOptions& what);
  Result<PendingSave> save_async(std::string_view name, std::span<const NamedTensor> tensors,
                                 Memory memory, const SaveOptions& what);
  Result<std::vector<std::filesystem::path>> last_checkpoints() const;
  Result<void> pin(const std::filesystem::path& prefix, bool pinned);
  Result<std::vector<RetentionDecision>> prune(bool dry_run);
  std::span<const std::string> warnings() const noexcept { return warnings_; }

  // The answer of `todo`, and a warning where that was `done` elsewhere than the path says.
  template <class Todo>
  auto noting(const char* done, Todo todo) {
    warnings_.clear();
    auto answer = todo();
    auto elsewhere = answer ? moved(done) : std::nullopt;
    if (elsewhere) warnings_.push_back(*std::move(elsewhere));
    return answer;
  }

 private:
  // What is decided before the first byte is written.
  struct Plan {
    std::string base;
    WriterOptions writer;
    History history;  // as it will be, the new checkpoint in it
    format::JournalFacts journal;
    std::vector<std::string> warnings;
  };

  internal::Place place() const {
    return {dir_, directory_, options_.latest_filename, options_.follow_links};
  }
  internal::LockWait lock_wait(const ExecOptions& exec) const {
    return {options_.lock_wait, exec.stop};
  }
  internal::LockWait lock_wait() const { return lock_wait(options_.exec); }
  double now_s() const;
  void join();
  Result<void> wait_for_pending();
  Result<std::vector<std::string>> recover_from_journal();
  Result<std::string> checked_base(std::string_view name, const SaveOptions& what) const;
  internal::KeepState grid_of(const History& history) const;
  RetentionResult apply_retention(const History& history, internal::RemovalLimit pace) const;
  Result<Plan> plan_of(const std::string& base, const SaveOptions& what,
                       std::span<const std::string> names) const;
  std::optional<std::string> moved(const std::string& done) const;
  Result<Saved> run(const std::string& base, std::vector<TensorSpec> specs, const Fill& fill,
                    const SaveOptions& what, const ExecOptions& exec) const;
  Result<std::vector<std::string>> write_checkpoint(const Plan& plan, std::vector<TensorSpec> specs,
                                                    const Fill& fill,
                                                    const ExecOptions& exec) const;
  Result<void> catch_up(Plan& plan, const SaveOptions& what) const;
  Result<void> add_unlisted(const History& history, std::span<const std::string> names,
                            std::multimap<double, RetentionDecision>& decisions) const;
  Result<std::map<std::string, std::string>> release(History history, const RetentionResult& result,
                                                     std::span<const std::string> names) const;

  std::filesystem::path dir_;
  os::Directory directory_;
  SaverOptions options_;
  double opened_s_ = 0;
  std::vector<std::string> warnings_;
  std::shared_ptr<PendingSave::State> pending_;
  std::thread thread_;
};

// ---- What a save decides ------------------------------------------------------------------------

double Saver::State::now_s() const {
  return options_.clock ? options_.clock() : static_cast<double>(os::now_ns()) * 1e-9;
}

Result<std::string> Saver::State::checked_base(std::string_view name,
                                               const SaveOptions& what) const {
  if (!internal::is_bare(name)) {
    return invalid(dir_.string() + ": " + format::quoted(name) +
                   " cannot be a checkpoint's name: it is to be a file name, without slashes");
  }
  if (!format::safetensors::is_utf8(name)) {
    return invalid(dir_.string() + ": " + format::quoted(name) +
                   " cannot be a checkpoint's name: a catalog names checkpoints in UTF-8");
  }
  for (const auto& [key, value] : what.metadata) {
    if (!key.starts_with(format::kReservedKeys)) continue;
    return invalid(dir_.string() + ": metadata " + format::quoted(key) +
                   ": keys that begin with \"cairn.\" are the Saver's own");
  }
  std::string base = what.step ? internal::with_step(name, *what.step, options_.pad_step_number)
                               : std::string(name);
  if (base != options_.latest_filename) return base;
  return invalid(dir_.string() + ": a checkpoint named " + base + " would be the catalog itself");
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

Result<Saver::State::Plan> Saver::State::plan_of(const std::string& base, const SaveOptions& what,
                                                 std::span<const std::string> names) const {
  CAIRN_TRY(history, internal::read_history(place()));
  // A pin belongs to the name: to save under it again does not take it away.
  const auto same = std::ranges::find(history.listed, base, &HistoryEntry::base);
  const bool known = same != history.listed.end();
  CAIRN_TRY(before,
            known ? Result<internal::Pin>(internal::Pin{same->known.pinned, same->known.unread})
                  : internal::pin_of(place(), base));
  const bool pinned = what.pinned || before.pinned || !before.unread.empty();
  const double now = now_s();
  std::erase_if(history.listed, [&](const HistoryEntry& listed) { return listed.base == base; });
  history.listed.push_back({dir_ / base, base, {now, what.step, what.metrics, pinned, {}}, {}});
  RetentionResult result = apply_retention(history, internal::RemovalLimit::Save);

  Plan plan;
  plan.base = base;
  CAIRN_TRY(protected_as, internal::protect_referenced(place(), names, history, result));
  plan.warnings = std::move(protected_as);
  if (!what.pinned && !before.unread.empty()) {
    plan.warnings.push_back((dir_ / base).string() +
                            ": is pinned, as what it replaces may have been: " + before.unread +
                            "; Saver::pin() (cairn pin --remove) unpins it");
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

// What the writer has to say.
Result<std::vector<std::string>> Saver::State::write_checkpoint(const Plan& plan,
                                                                std::vector<TensorSpec> specs,
                                                                const Fill& fill,
                                                                const ExecOptions& exec) const {
  CAIRN_TRY(twin, directory_.duplicate());
  CAIRN_TRY(writer, WriterAccess::create_in(std::move(twin), dir_ / plan.base, std::move(specs),
                                            plan.writer));
  WriterAccess::created_at(writer, plan.journal.adding.created_ns);
  CAIRN_CHECK(fill(writer));
  CAIRN_CHECK(writer.commit(exec));
  return std::vector<std::string>(writer.warnings().begin(), writer.warnings().end());
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
Result<Saved> Saver::State::run(const std::string& base, std::vector<TensorSpec> specs,
                                const Fill& fill, const SaveOptions& what,
                                const ExecOptions& exec) const {
  CAIRN_TRY(recovery, internal::recover_and_sweep(place(), now_s()));
  const internal::Target target{directory_, base, (dir_ / base).string()};
  const bool over_v1 = internal::is_named_as_v1(recovery.names, base);
  if (!what.replace) CAIRN_CHECK(internal::refuse_replaced_tensors(target, specs));
  if (!what.replace && over_v1) CAIRN_CHECK(internal::refuse_to_hide_v1(target));
  CAIRN_TRY(plan, plan_of(base, what, recovery.names));
  CAIRN_CHECK(internal::write_journal(directory_, plan.journal));
  const auto written = write_checkpoint(plan, std::move(specs), fill, exec);
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
  Saved saved{dir_ / base, {}, {}, *written};
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

// What to say where the directory's path leads elsewhere by now; what was `done`: "saved into".
std::optional<std::string> Saver::State::moved(const std::string& done) const {
  const auto own = directory_.info();
  const auto there = os::look(dir_.empty() ? "." : dir_);
  if (!own || !there) return std::nullopt;
  if (*there && internal::same_file(**there, *own)) return std::nullopt;
  const std::string now = directory_.path_now();
  return dir_.string() +
         (*there ? ": is another directory by now than the one that was opened"
                 : ": is not there any more") +
         "; " + done + " the directory that was opened" + (now.empty() ? "" : ", " + now) +
         ": open another Saver for the one that the path names";
}

Result<Saved> Saver::State::save(std::string_view name, std::vector<TensorSpec> specs,
                                 const Fill& fill, const SaveOptions& what) {
  CAIRN_CHECK(wait_for_pending());
  CAIRN_TRY(base, checked_base(name, what));
  const ExecOptions& exec = exec_of(what);
  const auto lock = internal::Lock::of_directory(directory_, lock_wait(exec));
  if (!lock) return lock.error();
  return run(base, std::move(specs), fill, what, exec);
}

// ---- A save behind the caller's back ------------------------------------------------------------

void Saver::State::join() {
  if (thread_.joinable()) thread_.join();
}

Result<void> Saver::State::wait_for_pending() {
  join();
  const auto pending = std::exchange(pending_, nullptr);
  const auto error = pending ? pending->unheard() : std::nullopt;
  if (!error) return {};
  return Error{
      error->code, error->os_errno,
      "the asynchronous save before this one failed, and this one has not begun: " + error->what};
}

namespace {

// A limit of the user or of the container may leave no thread.
template <class Run>
Result<std::thread> start(const std::filesystem::path& dir, Run run) {
  try {
    return std::thread(std::move(run));
  } catch (const std::system_error& failed) {
    return Error{Code::OutOfMemory, failed.code().value(),
                 dir.string() + ": no thread is to be had for an asynchronous save (" +
                     failed.code().message() +
                     "), and it has not begun; save() needs none, and 'ulimit -u' or the "
                     "container's limit of processes allows more"};
  }
}

}  // namespace

Result<PendingSave> Saver::State::save_async(std::string_view name,
                                             std::span<const NamedTensor> tensors, Memory memory,
                                             const SaveOptions& what) {
  CAIRN_CHECK(wait_for_pending());
  CAIRN_TRY(base, checked_base(name, what));
  // Progress is told to the thread that called, and that one has gone on.
  ExecOptions exec = exec_of(what);
  exec.progress = nullptr;
  CAIRN_TRY(lock, internal::Lock::of_directory(directory_, lock_wait(exec)));
  std::vector<TensorSpec> specs;
  for (const NamedTensor& tensor : tensors) specs.push_back(tensor.spec);
  std::vector<NamedTensor> borrowed;
  std::shared_ptr<internal::StagingBuffer> staging;
  if (memory == Memory::Borrow) {
    borrowed.assign(tensors.begin(), tensors.end());
  } else {
    staging = std::make_shared<internal::StagingBuffer>(tensors, options_.staging_bytes_max);
  }
  const auto fill = [borrowed = std::move(borrowed), staging, exec](Writer& writer) {
    return staging ? staging->write(writer, exec) : internal::write_all(writer, borrowed, exec);
  };
  auto pending = std::make_shared<PendingSave::State>();
  auto write = [this, base, specs = std::move(specs), fill, what, exec, staging, pending,
                lock = std::move(lock)]() mutable {
    auto result = at_boundary([&] { return run(base, std::move(specs), fill, what, exec); });
    if (staging) staging->release();
    // Whoever is told that the save is done may take the lock at once.
    {
      const internal::Lock released = std::move(lock);
    }
    pending->finish(std::move(result));
  };
  {
    const os::SignalsBlocked blocked;  // in the new thread too
    CAIRN_TRY(thread, start(dir_, std::move(write)));
    thread_ = std::move(thread);
  }
  pending_ = pending;
  if (staging) staging->copy();
  return PendingSave(std::move(pending));
}

// ---- The directory ------------------------------------------------------------------------------

Result<std::vector<std::filesystem::path>> Saver::State::last_checkpoints() const {
  CAIRN_TRY(history, internal::read_history(place()));
  std::vector<std::filesystem::path> paths;
  for (const HistoryEntry& listed : history.listed) paths.push_back(listed.path);
  return paths;
}

// The names in the directory; what there is to say of it is a warning of the Saver's.
Result<std::vector<std::string>> Saver::State::recover_from_journal() {
  auto recovery = internal::recover_and_sweep(place(), now_s());
  if (!recovery) return internal::with_advice_to_free(std::move(recovery).error());
  std::ranges::move(recovery->warnings, std::back_inserter(warnings_));
  return std::move(recovery->names);
}

Result<void> Saver::State::pin(const std::filesystem::path& prefix, bool pinned) {
  CAIRN_CHECK(wait_for_pending());
  const auto lock = internal::Lock::of_directory(directory_, lock_wait());
  if (!lock) return lock.error();
  CAIRN_CHECK(recover_from_journal());
  const std::string base = prefix.filename().string();
  CAIRN_TRY(twin, directory_.duplicate());
  CAIRN_TRY(location, internal::locate_in(std::move(twin), base, dir_ / base));
  location.links = internal::links_of(options_.follow_links);
  TransferOptions importing;
  importing.follow_links = options_.follow_links;
  importing.lock_wait = options_.lock_wait;
  importing.exec.stop = options_.exec.stop;
  constexpr int kAttempts = 8;
  for (int attempt = 1;; ++attempt) {
    // Of TensorFlow's making, or written anew by it since.
    const bool own = location.has(internal::kCairnSuffix);
    const auto current = own ? internal::load_own_index(location) : Error{Code::NotFound, 0, {}};
    if (!current || !current->current)
      CAIRN_CHECK(internal::import_in(directory_, base, dir_ / base, importing));
    auto done = internal::change_saver_metadata(
        location, lock_wait(), [pinned](internal::SaverMetadata& metadata) {
          return std::exchange(metadata.pinned, pinned) != pinned;
        });
    // Another may have published without P.cairn between the two.
    if (done || done.error().code != Code::NotFound || attempt == kAttempts) return done;
  }
}

// Those that the catalog does not list: nobody's to remove.
Result<void> Saver::State::add_unlisted(const History& history, std::span<const std::string> names,
                                        std::multimap<double, RetentionDecision>& decisions) const {
  for (const std::string& base : internal::checkpoints_among(names)) {
    const auto is_it = [&](const HistoryEntry& listed) {
      return listed.base == base || (listed.base.empty() && listed.path == dir_ / base);
    };
    if (std::ranges::any_of(history.listed, is_it)) continue;
    CAIRN_TRY(known, internal::checkpoint_facts(place(), base));
    decisions.emplace(known.saved_s,
                      RetentionDecision{dir_ / base, true,
                                        known.pinned ? "pinned" : "the catalog does not list it"});
  }
  return {};
}

// The bases of those whose files stay, and why.
Result<std::map<std::string, std::string>> Saver::State::release(
    History history, const RetentionResult& result, std::span<const std::string> names) const {
  const double grid_before_s = grid_of(history).next_keep_s;
  CAIRN_TRY(leaving, internal::files_to_remove(place(), names, history, result));
  internal::apply(result, options_.keep_any_of, history);
  const bool grid_moved = history.grid && history.grid->next_keep_s != grid_before_s;
  const auto announce = [&](std::size_t left) -> Result<void> {
    if (left > 0 || leaving.empty())
      CAIRN_CHECK(internal::write_journal(directory_, {options_.latest_filename, {}, leaving, {}}));
    if (grid_moved) CAIRN_CHECK(internal::write_grid(place(), history, lock_wait()));
    return internal::write_history(place(), history);
  };
  CAIRN_CHECK(internal::with_space(place(), leaving, announce));
  std::map<std::string, std::string> stayed;
  for (const auto& what : leaving) {
    CAIRN_TRY(removal,
              internal::remove_checkpoint_files(directory_, what, internal::IdentityCheck::ByFile));
    if (!removal.gone()) stayed.emplace(what.base, internal::describe_remaining(removal));
  }
  internal::remove_journal(directory_);
  return stayed;
}

Result<std::vector<RetentionDecision>> Saver::State::prune(bool dry_run) {
  CAIRN_CHECK(wait_for_pending());
  std::optional<internal::Lock> lock;
  if (!dry_run) {
    CAIRN_TRY(taken, internal::Lock::of_directory(directory_, lock_wait()));
    lock.emplace(std::move(taken));
  }
  CAIRN_TRY(names, dry_run ? directory_.names() : recover_from_journal());
  CAIRN_TRY(history, internal::read_history(place()));
  std::multimap<double, RetentionDecision>
      by_age;  // those of the same age in the order of the catalog
  CAIRN_CHECK(add_unlisted(history, names, by_age));
  RetentionResult result = apply_retention(history, internal::RemovalLimit::Prune);
  CAIRN_CHECK(internal::protect_referenced(place(), names, history, result));  // decisions say it
  bool changes = false;
  for (std::size_t i = 0; i < history.listed.size(); ++i) {
    const HistoryEntry& listed = history.listed[i];
    const auto& [retained, why] = result.of[i];
    changes |= retained != Retained::Listed;
    by_age.emplace(listed.known.saved_s,
                   RetentionDecision{listed.path, retained != Retained::Deleted, why});
  }
  std::vector<RetentionDecision> decisions;
  for (auto& [time_s, decision] : by_age) decisions.push_back(std::move(decision));
  if (dry_run || !changes) return decisions;
  auto stayed = release(std::move(history), result, names);
  if (!stayed) return internal::with_advice_to_free(std::move(stayed).error());
  for (RetentionDecision& decision : decisions) {
    const auto why = stayed->find(decision.prefix.filename().string());
    if (!decision.kept && why != stayed->end()) decision = {decision.prefix, true, why->second};
  }
  return decisions;
}

// ---- The public handle --------------------------------------------------------------------------

Result<Saver> Saver::open(const std::filesystem::path& dir, const SaverOptions& options) noexcept {
  return at_boundary([&]() -> Result<Saver> {
    if (auto sound = internal::check_rules(options.keep_any_of); !sound) {
      return invalid(dir.string() + ": " + sound.error().what);
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
    std::vector<TensorSpec> specs;
    for (const NamedTensor& tensor : tensors) specs.push_back(tensor.spec);
    const auto fill = [tensors, &exec = state_->exec_of(options)](Writer& writer) {
      return internal::write_all(writer, tensors, exec);
    };
    return state_->save(name, std::move(specs), fill, options);
  });
}

Result<Saved> Saver::save(std::string_view name, std::vector<TensorSpec> specs, const Fill& fill,
                          const SaveOptions& options) noexcept {
  return at_boundary([&] { return state_->save(name, std::move(specs), fill, options); });
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
      [&] { return state_->noting("marked in", [&] { return state_->pin(prefix, pinned); }); });
}

Result<std::vector<RetentionDecision>> Saver::prune(bool dry_run) noexcept {
  return at_boundary([&] {
    return state_->noting(dry_run ? "looked into" : "pruned",
                          [&] { return state_->prune(dry_run); });
  });
}

std::span<const std::string> Saver::warnings() const noexcept { return state_->warnings(); }

}  // namespace cairn
