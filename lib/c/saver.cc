// The Saver.

#include "lib/c/boundary.h"

struct cairn_saver {
  cairn::Saver value;
};

struct cairn_pending_save {
  cairn::PendingSave value;
};

namespace cairn::c {

namespace {

Result<Retention> retention_of(const cairn_retention& rule) {
  const int order = number_of(rule.best);
  if (order != CAIRN_LOWEST && order != CAIRN_HIGHEST)
    return invalid(std::to_string(order) + " is no cairn_order");
  switch (const int number = number_of(rule.rule); number) {
    case CAIRN_KEEP_NEWEST:
      return Retention::newest(rule.count);
    case CAIRN_KEEP_EVERY_STEPS:
      return Retention::every_steps(rule.count);
    case CAIRN_KEEP_EVERY_HOURS:
      return Retention::every_hours(rule.hours);
    case CAIRN_KEEP_BEST:
      return Retention::best_by(
          std::string(view_of(rule.metric)),
          order == CAIRN_LOWEST ? Retention::Order::Lowest : Retention::Order::Highest, rule.count);
    case CAIRN_KEEP_TENSORFLOW_SAVER:
      return Retention::tensorflow_saver(rule.count, rule.hours);
    case CAIRN_KEEP_TENSORFLOW_MANAGER:
      return Retention::tensorflow_manager(rule.count, rule.hours);
    default:
      return invalid(std::to_string(number) + " is no cairn_retention_rule");
  }
}

Result<std::vector<Retention>> retentions_of(const cairn_saver_options& known) {
  if (known.keep_all != 0) {
    if (known.keep_any_of_count != 0)
      return invalid("keep_all is set, and keep_any_of is not empty: choose one");
    return std::vector<Retention>();
  }
  if (known.keep_any_of_count == 0) return SaverOptions().keep_any_of;
  CAIRN_TRY(rules, structs_of(known.keep_any_of, known.keep_any_of_count, "cairn_retention"));
  std::vector<Retention> keep_any_of;
  for (const cairn_retention& rule : rules) {
    CAIRN_TRY(retention, retention_of(rule));
    keep_any_of.push_back(std::move(retention));
  }
  return keep_any_of;
}

Result<SaverOptions> saver_options_of(const cairn_saver_options* given) {
  CAIRN_TRY(known, struct_of(given, "cairn_saver_options"));
  SaverOptions options;
  CAIRN_TRY(keep_any_of, retentions_of(known));
  options.keep_any_of = std::move(keep_any_of);
  options.pad_step_number = known.pad_step_number != 0;
  options.latest_filename = text_or(known.latest_filename, options.latest_filename);
  options.tensorflow_index = known.no_tensorflow_index == 0;
  options.follow_links = known.follow_links != 0;
  CAIRN_TRY(lock_wait, lock_wait_of(known.lock_wait_ms));
  options.lock_wait = lock_wait;
  if (known.staging_bytes_max != 0) options.staging_bytes_max = known.staging_bytes_max;
  CAIRN_TRY(exec, exec_of(known.exec));
  options.exec = std::move(exec);
  if (known.clock != nullptr) {
    options.clock = [clock = known.clock, context = known.clock_context] { return clock(context); };
  }
  return options;
}

Result<SaveOptions> save_options_of(const cairn_save_options* given) {
  CAIRN_TRY(known, struct_of(given, "cairn_save_options"));
  CAIRN_CHECK(check_reserved(known.reserved, "cairn_save_options"));
  SaveOptions options;
  if (known.has_step != 0) options.step = known.step;
  options.meta_graph = view_of(known.meta_graph);
  for (const cairn_metric& each : std::span(known.metrics, known.metrics_count))
    options.metrics.emplace_back(view_of(each.name), each.value);
  CAIRN_TRY(metadata, pairs_of(known.metadata, known.metadata_count));
  options.metadata = std::move(metadata);
  CAIRN_TRY(of_safetensors, pairs_of(known.safetensors_metadata, known.safetensors_metadata_count));
  options.safetensors_metadata = std::move(of_safetensors);
  options.pinned = known.pinned != 0;
  options.replace = known.keep_existing == 0;
  if (known.read_from != nullptr) options.read_from = known.read_from->value;
  if (known.exec != nullptr) {
    CAIRN_TRY(exec, exec_of(known.exec));
    options.exec = std::move(exec);
  }
  return options;
}

// Tensors of C as C++ has them; the views of their strings live here.
class NamedTensors {
 public:
  static Result<NamedTensors> of(const cairn_named_tensor* given, std::size_t count) {
    CAIRN_TRY(known, structs_of(given, count, "cairn_named_tensor"));
    NamedTensors named;
    named.strings_.reserve(count);
    for (const cairn_named_tensor& each : known) {
      if (each.spec == nullptr) return invalid("the spec of a cairn_named_tensor is NULL");
      CAIRN_TRY(specs, specs_of(each.spec, 1));
      named.strings_.push_back(views_of({each.strings, each.strings_count}));
      named.tensors_.push_back({std::move(specs.front()),
                                {static_cast<const std::byte*>(each.bytes), each.size_bytes},
                                named.strings_.back()});
    }
    return named;
  }

  std::span<const NamedTensor> tensors() const noexcept { return tensors_; }

 private:
  std::vector<std::vector<std::string_view>> strings_;
  std::vector<NamedTensor> tensors_;
};

struct OwnedSaved : cairn_saved {
  explicit OwnedSaved(Saved of_cairn)
      : saved(std::move(of_cairn)),
        kept_strings(strings_of(saved.kept)),
        deleted_strings(strings_of(saved.deleted)),
        warning_strings(strings_of(saved.warnings)) {
    prefix = string_of(saved.prefix.native());
    kept = kept_strings.data();
    kept_count = kept_strings.size();
    deleted = deleted_strings.data();
    deleted_count = deleted_strings.size();
    warnings = warning_strings.data();
    warnings_count = warning_strings.size();
  }

  Saved saved;
  std::vector<cairn_string> kept_strings;
  std::vector<cairn_string> deleted_strings;
  std::vector<cairn_string> warning_strings;
};

Result<void> give(Result<Saved> done, cairn_saved** saved) {
  if (!done) return std::move(done).error();
  if (saved != nullptr) *saved = new OwnedSaved(*std::move(done));
  return {};
}

struct OwnedDecisions : cairn_retention_decisions {
  explicit OwnedDecisions(std::vector<RetentionDecision> of_cairn) : found(std::move(of_cairn)) {
    for (const RetentionDecision& each : found) {
      items.push_back({string_of(each.prefix.native()), string_of(each.why), each.kept ? 1 : 0, 0});
    }
    pointers = pointers_to(items);
    decisions = pointers.data();
    count = pointers.size();
  }

  std::vector<RetentionDecision> found;
  std::vector<cairn_retention_decision> items;
  std::vector<const cairn_retention_decision*> pointers;
};

// What a fill function of the caller's returned, as an Error; takes its error.
Result<void> result_of(cairn_code code, cairn_error* error) {
  const std::unique_ptr<cairn_error, decltype(&cairn_error_free)> owner(error, &cairn_error_free);
  if (number_of(code) == CAIRN_OK) return {};
  if (error == nullptr)
    return error_of(code, 0, std::string("the fill function returned ") + cairn_code_name(code));
  return error_of(code, cairn_error_os_errno(error), cairn_error_message(error));
}

Result<Saver::Memory> memory_of(int number) {
  switch (number) {
    case CAIRN_MEMORY_COPY:
      return Saver::Memory::Copy;
    case CAIRN_MEMORY_BORROW:
      return Saver::Memory::Borrow;
    default:
      return invalid(std::to_string(number) + " is no cairn_memory");
  }
}

}  // namespace
}  // namespace cairn::c

using namespace cairn::c;
using cairn::Result;

void cairn_saved_free(cairn_saved* saved) { delete static_cast<OwnedSaved*>(saved); }

cairn_code cairn_saver_open(const char* dir, const cairn_saver_options* options,
                            cairn_saver** saver, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(path, path_of(dir, "the directory of a Saver"));
    CAIRN_TRY(known, saver_options_of(options));
    CAIRN_TRY(opened, cairn::Saver::open(path, known));
    *saver = new cairn_saver{std::move(opened)};
    return {};
  });
}

void cairn_saver_free(cairn_saver* saver) { delete saver; }

cairn_code cairn_saver_save(cairn_saver* saver, const char* name, const cairn_named_tensor* tensors,
                            std::size_t count, const cairn_save_options* options,
                            cairn_saved** saved, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(named, NamedTensors::of(tensors, count));
    CAIRN_TRY(known, save_options_of(options));
    return give(saver->value.save(text_or(name, ""), named.tensors(), known), saved);
  });
}

cairn_code cairn_saver_save_filled(cairn_saver* saver, const char* name,
                                   const cairn_tensor_spec* specs, std::size_t count,
                                   cairn_fill fill, void* context,
                                   const cairn_save_options* options, cairn_saved** saved,
                                   cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(known_specs, specs_of(specs, count));
    CAIRN_TRY(known, save_options_of(options));
    const auto fill_by_c = [&](cairn::Writer& writer) -> Result<void> {
      cairn_writer lent;
      lent.writer = &writer;
      cairn_error* failed = nullptr;
      const cairn_code code = fill(context, &lent, &failed);
      return result_of(code, failed);
    };
    return give(saver->value.save(text_or(name, ""), std::move(known_specs), fill_by_c, known),
                saved);
  });
}

cairn_code cairn_saver_save_async(cairn_saver* saver, const char* name,
                                  const cairn_named_tensor* tensors, std::size_t count,
                                  cairn_memory memory, const cairn_save_options* options,
                                  cairn_pending_save** pending, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(named, NamedTensors::of(tensors, count));
    CAIRN_TRY(known_memory, memory_of(number_of(memory)));
    CAIRN_TRY(known, save_options_of(options));
    CAIRN_TRY(begun,
              saver->value.save_async(text_or(name, ""), named.tensors(), known_memory, known));
    *pending = new cairn_pending_save{std::move(begun)};
    return {};
  });
}

bool cairn_pending_save_done(const cairn_pending_save* pending) { return pending->value.done(); }

cairn_code cairn_pending_save_wait(const cairn_pending_save* pending, cairn_saved** saved,
                                   cairn_error** error) {
  return guarded(error, [&] { return give(pending->value.wait(), saved); });
}

void cairn_pending_save_free(cairn_pending_save* pending) { delete pending; }

cairn_code cairn_saver_last_checkpoints(const cairn_saver* saver, cairn_strings** prefixes,
                                        cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(listed, saver->value.last_checkpoints());
    *prefixes = new_strings(std::move(listed), {});
    return {};
  });
}

cairn_code cairn_saver_pin(cairn_saver* saver, const char* prefix, bool pinned,
                           cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(path, path_of(prefix, "the prefix of a checkpoint"));
    return saver->value.pin(path, pinned);
  });
}

void cairn_retention_decisions_free(cairn_retention_decisions* decisions) {
  delete static_cast<OwnedDecisions*>(decisions);
}

cairn_code cairn_saver_prune(cairn_saver* saver, bool dry_run,
                             cairn_retention_decisions** decisions, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(decided, saver->value.prune(dry_run));
    if (decisions != nullptr) *decisions = new OwnedDecisions(std::move(decided));
    return {};
  });
}

std::size_t cairn_saver_warning_count(const cairn_saver* saver) {
  return saver->value.warnings().size();
}

cairn_string cairn_saver_warning_at(const cairn_saver* saver, std::size_t position) {
  return warning_at(saver->value.warnings(), position);
}
