// A model that is replaced while requests use it.

#include <stop_token>

#include "lib/c/boundary.h"

struct cairn_live {
  cairn::Live value;
};

struct cairn_snapshot {
  cairn::Snapshot value;
  cairn_checkpoint checkpoint;
};

namespace cairn::c {

namespace {

// What prepare of the caller's made, and how it ends.
struct Model {
  Model(void* made, const cairn_live_options& options) noexcept
      : value(made), free_model(options.free_model), context(options.context) {}
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  ~Model() {
    if (free_model != nullptr && value != nullptr) free_model(context, value);
  }
  void* value;
  void (*free_model)(void*, void*);
  void* context;
};

Result<std::shared_ptr<void>> prepare(const cairn_live_options& options,
                                      const Checkpoint& checkpoint) {
  const cairn_checkpoint of_c{checkpoint};
  void* made = nullptr;
  cairn_error* failed = nullptr;
  const cairn_code code = options.prepare(options.context, &of_c, &made, &failed);
  const std::unique_ptr<cairn_error, void (*)(cairn_error*)> error(failed, cairn_error_free);
  if (code == CAIRN_OK) return std::shared_ptr<void>(std::make_shared<Model>(made, options));
  if (error == nullptr)
    return error_of(code, 0, std::string("prepare returned ") + cairn_code_name(code));
  return error_of(code, cairn_error_os_errno(error.get()), cairn_error_message(error.get()));
}

Result<LiveOptions> live_options_of(const cairn_live_options* given) {
  CAIRN_TRY(known, struct_of(given, "cairn_live_options"));
  LiveOptions options;
  CAIRN_TRY(expected, specs_of(known.expected, known.expected_count));
  options.expected = std::move(expected);
  if (known.expected_digest != nullptr) {
    Digest128& digest = options.expected_digest.emplace();
    std::memcpy(digest.bytes.data(), known.expected_digest, digest.bytes.size());
  }
  options.same_tensors = known.any_tensors == 0;
  if (known.prepare != nullptr)
    options.prepare = [known](const Checkpoint& checkpoint) { return prepare(known, checkpoint); };
  constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();
  if (known.bytes_per_second_max != 0)
    options.bytes_per_second_max =
        known.bytes_per_second_max == kNoLimit ? 0 : known.bytes_per_second_max;
  if (known.populate_bytes_max != 0) options.populate_bytes_max = known.populate_bytes_max;
  if (known.poll_ms != 0) options.poll = std::chrono::milliseconds(known.poll_ms);
  options.follow_links = known.follow_links != 0;
  return options;
}

// What the pointers of the result point to.
struct OwnedStatus : cairn_live_status {
  explicit OwnedStatus(LiveStatus of_cairn) : cairn_live_status{}, own(std::move(of_cairn)) {
    static_assert(static_cast<int>(LiveState::Preparing) == CAIRN_LIVE_PREPARING);
    prefix = string_of(own.prefix.native());
    rollback = string_of(own.rollback.native());
    candidate = string_of(own.candidate.native());
    last_error = string_of(own.last_error);
    generation = own.generation;
    done_bytes = own.done_bytes;
    total_bytes = own.total_bytes;
    swap_count = own.swap_count;
    rejected_count = own.rejected_count;
    rollback_count = own.rollback_count;
    released_count = own.released_count;
    retired_count = own.retired_count;
    checked_bytes = own.checked_bytes;
    populated_bytes = own.populated_bytes;
    texts = strings_of(own.warnings);
    warnings = texts.data();
    warnings_count = texts.size();
    for (const QuarantinedCheckpoint& each : own.quarantine)
      items.push_back(
          {string_of(each.prefix.native()), string_of(each.why), code_of(each.code), 0});
    pointers = pointers_to(items);
    quarantine = pointers.data();
    quarantine_count = pointers.size();
    state = static_cast<cairn_live_state>(own.state);
  }

  LiveStatus own;
  std::vector<cairn_string> texts;
  std::vector<cairn_quarantined_checkpoint> items;
  std::vector<const cairn_quarantined_checkpoint*> pointers;
};

}  // namespace
}  // namespace cairn::c

using namespace cairn::c;
using cairn::Result;

cairn_code cairn_live_open(const char* path, const cairn_live_options* options, cairn_live** live,
                           cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(known_path, path_of(path, "the path of a cairn_live"));
    CAIRN_TRY(of_cairn, live_options_of(options));
    CAIRN_TRY(opened, cairn::Live::open(known_path, of_cairn));
    *live = new cairn_live{std::move(opened)};
    return {};
  });
}

void cairn_live_free(cairn_live* live) { delete live; }

std::int64_t cairn_live_poll(cairn_live* live, std::int64_t budget_ms) {
  return live->value.poll(std::chrono::milliseconds(budget_ms)).count();
}

void cairn_live_run(cairn_live* live, const cairn_stop* stop) {
  live->value.run(stop != nullptr ? stop->source.get_token() : std::stop_token());
}

cairn_code cairn_live_current(const cairn_live* live, cairn_snapshot** snapshot,
                              cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    cairn::Snapshot current = live->value.current();
    if (!current) {
      *snapshot = nullptr;
      return {};
    }
    const cairn::Checkpoint& checkpoint = current.checkpoint();
    *snapshot = new cairn_snapshot{current, {checkpoint}};
    return {};
  });
}

cairn_code cairn_live_rollback(cairn_live* live, cairn_error** error) {
  return guarded(error, [&] { return live->value.rollback(); });
}

void cairn_snapshot_free(cairn_snapshot* snapshot) { delete snapshot; }

const cairn_checkpoint* cairn_snapshot_checkpoint(const cairn_snapshot* snapshot) {
  return &snapshot->checkpoint;
}

std::uint64_t cairn_snapshot_generation(const cairn_snapshot* snapshot) {
  return snapshot->value.generation();
}

void* cairn_snapshot_model(const cairn_snapshot* snapshot) {
  const auto* const model = snapshot->value.model<Model>();
  return model == nullptr ? nullptr : model->value;
}

cairn_code cairn_live_get_status(const cairn_live* live, cairn_live_status** status,
                                 cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(now, live->value.status());
    *status = new OwnedStatus(std::move(now));
    return {};
  });
}

void cairn_live_status_free(cairn_live_status* status) { delete static_cast<OwnedStatus*>(status); }

cairn_code cairn_live_prometheus(const cairn_live* live, char** text, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(now, live->value.status());
    CAIRN_TRY(said, cairn::prometheus_text(now));
    char* const copy = ::strdup(said.c_str());
    if (copy == nullptr) return cairn::Error{cairn::Code::OutOfMemory, 0, "out of memory"};
    *text = copy;
    return {};
  });
}
