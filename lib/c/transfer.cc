// Import, export, convert, copy and merge.

#include "lib/c/boundary.h"

namespace cairn::c {

namespace {

constexpr Link kLinks[] = {Link::Auto, Link::Hard, Link::Reflink, Link::Copy};

cairn_link link_to_c(Link link) {
  switch (link) {
    case Link::Auto:
      return CAIRN_LINK_AUTO;
    case Link::Hard:
      return CAIRN_LINK_HARD;
    case Link::Reflink:
      return CAIRN_LINK_REFLINK;
    case Link::Copy:
      return CAIRN_LINK_COPY;
  }
  return CAIRN_LINK_AUTO;
}

Result<Link> link_of(int number) {
  for (const Link link : kLinks) {
    if (link_to_c(link) == number) return link;
  }
  return invalid(std::to_string(number) + " is no cairn_link");
}

Result<TensorNames> names_of(int number) {
  switch (number) {
    case CAIRN_NAMES_STORED:
      return TensorNames::Stored;
    case CAIRN_NAMES_PATH:
      return TensorNames::Path;
    case CAIRN_NAMES_VARIABLE:
      return TensorNames::Variable;
    default:
      return invalid(std::to_string(number) + " is no cairn_tensor_names");
  }
}

std::vector<NameChange> changes_of(const cairn_name_change* first, std::size_t count) {
  std::vector<NameChange> changes;
  for (const cairn_name_change& each : std::span(first, count))
    changes.push_back({std::string(view_of(each.from)), std::string(view_of(each.to))});
  return changes;
}

Result<std::vector<Cast>> casts_of(const cairn_cast* first, std::size_t count) {
  std::vector<Cast> casts;
  for (const cairn_cast& each : std::span(first, count)) {
    CAIRN_TRY(from, dtype_of_number(number_of(each.from)));
    CAIRN_TRY(to, dtype_of_number(number_of(each.to)));
    casts.push_back({from, to});
  }
  return casts;
}

// What convert alone reads.
Result<void> set_changes(TransferOptions& options, const cairn_transfer_options& known) {
  if (known.tensors_count != 0) {
    options.tensors.emplace();
    for (const cairn_string& each : std::span(known.tensors, known.tensors_count))
      options.tensors->emplace_back(view_of(each));
  }
  options.max_shard_bytes = known.max_shard_bytes;
  CAIRN_TRY(names, names_of(number_of(known.names)));
  options.names = names;
  options.renaming.names = changes_of(known.renamed, known.renamed_count);
  options.renaming.patterns = changes_of(known.patterns, known.patterns_count);
  options.renaming.strip_prefix = view_of(known.strip_prefix);
  CAIRN_TRY(casts, casts_of(known.casts, known.casts_count));
  options.casts = std::move(casts);
  return {};
}

Result<TransferOptions> options_of(const cairn_transfer_options* given) {
  CAIRN_TRY(known, struct_of(given, "cairn_transfer_options"));
  TransferOptions options;
  if (known.output != nullptr) options.output = known.output;
  CAIRN_TRY(link, link_of(number_of(known.link)));
  options.link = link;
  options.replace = known.replace != 0;
  options.follow_links = known.follow_links != 0;
  CAIRN_TRY(formats, formats_of(number_of(known.void_dtype), known.expand));
  options.formats = formats;
  options.allow_lossy = known.allow_lossy != 0;
  CAIRN_TRY(lock_wait, lock_wait_of(known.lock_wait_ms));
  options.lock_wait = lock_wait;
  CAIRN_TRY(exec, exec_of(known.exec));
  options.exec = std::move(exec);
  options.sums = known.no_sums == 0;
  CAIRN_CHECK(set_changes(options, known));
  return options;
}

struct OwnedTransfer : cairn_transfer {
  explicit OwnedTransfer(Transfer of_cairn)
      : cairn_transfer{},
        done(std::move(of_cairn)),
        tensor_names(strings_of(done.not_nameable)),
        metadata_keys(strings_of(done.metadata_left_out)),
        safetensors_keys(strings_of(done.safetensors_metadata_left_out)),
        warning_texts(strings_of(done.warnings)) {
    prefix = string_of(std::string_view(done.prefix.native()));
    used = link_to_c(done.used);
    payload_bytes_copied = done.payload_bytes_copied;
    not_nameable = tensor_names.data();
    not_nameable_count = tensor_names.size();
    metadata_left_out = metadata_keys.data();
    metadata_left_out_count = metadata_keys.size();
    safetensors_metadata_left_out = safetensors_keys.data();
    safetensors_metadata_left_out_count = safetensors_keys.size();
    for (const NameChange& each : done.renamed)
      changes.push_back({string_of(each.from), string_of(each.to)});
    renamed = changes.data();
    renamed_count = changes.size();
    for (const CastCounts& each : done.casts)
      counts.push_back({{dtype_to_c(each.cast.from), dtype_to_c(each.cast.to)},
                        each.tensor_count,
                        each.value_count,
                        each.became_infinite,
                        each.became_zero});
    count_pointers = pointers_to(counts);
    casts = count_pointers.data();
    casts_count = count_pointers.size();
    warnings = warning_texts.data();
    warnings_count = warning_texts.size();
  }

  Transfer done;
  std::vector<cairn_string> tensor_names;
  std::vector<cairn_string> metadata_keys;
  std::vector<cairn_string> safetensors_keys;
  std::vector<cairn_string> warning_texts;
  std::vector<cairn_name_change> changes;
  std::vector<cairn_cast_counts> counts;
  std::vector<const cairn_cast_counts*> count_pointers;
};

// `call` gets the source and the options.
template <class Call>
cairn_code transfer_by(const char* source, const cairn_transfer_options* options,
                       cairn_transfer** transfer, cairn_error** error, Call call) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(path, path_of(source, "the source"));
    CAIRN_TRY(known, options_of(options));
    CAIRN_TRY(done, call(path, known));
    if (transfer != nullptr) *transfer = new OwnedTransfer(std::move(done));
    return {};
  });
}

}  // namespace
}  // namespace cairn::c

using namespace cairn::c;
using cairn::Result;

void cairn_transfer_free(cairn_transfer* transfer) { delete static_cast<OwnedTransfer*>(transfer); }

cairn_code cairn_import_index(const char* source, const cairn_transfer_options* options,
                              cairn_transfer** transfer, cairn_error** error) {
  return transfer_by(source, options, transfer, error, cairn::import_index);
}

cairn_code cairn_export_index(const char* source, cairn_format target,
                              const cairn_transfer_options* options, cairn_transfer** transfer,
                              cairn_error** error) {
  return transfer_by(source, options, transfer, error,
                     [&](const auto& path, const auto& known) -> Result<cairn::Transfer> {
                       CAIRN_TRY(format, format_of_number(number_of(target)));
                       return cairn::export_index(path, format, known);
                     });
}

cairn_code cairn_convert(const char* source, cairn_format target,
                         const cairn_transfer_options* options, cairn_transfer** transfer,
                         cairn_error** error) {
  return transfer_by(source, options, transfer, error,
                     [&](const auto& path, const auto& known) -> Result<cairn::Transfer> {
                       CAIRN_TRY(format, format_of_number(number_of(target)));
                       return cairn::convert(path, format, known);
                     });
}

cairn_code cairn_copy_checkpoint(const char* source, const cairn_transfer_options* options,
                                 cairn_transfer** transfer, cairn_error** error) {
  return transfer_by(source, options, transfer, error, cairn::copy_checkpoint);
}

cairn_code cairn_merge(const char* const* sources, std::size_t count,
                       const cairn_transfer_options* options, cairn_transfer** transfer,
                       cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    std::vector<std::filesystem::path> paths;
    for (const char* each : std::span(sources, count)) {
      CAIRN_TRY(path, path_of(each, "a source"));
      paths.push_back(std::move(path));
    }
    CAIRN_TRY(known, options_of(options));
    CAIRN_TRY(done, cairn::merge(paths, known));
    if (transfer != nullptr) *transfer = new OwnedTransfer(std::move(done));
    return {};
  });
}
