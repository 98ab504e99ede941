// The Writer.

#include "lib/c/boundary.h"

namespace cairn::c {

namespace {

Result<Writer> create(const char* given_prefix, std::vector<TensorSpec> specs,
                      const cairn_writer_options* given) {
  CAIRN_TRY(prefix, path_of(given_prefix, "the prefix of a checkpoint"));
  CAIRN_TRY(known, struct_of(given, "cairn_writer_options"));
  CAIRN_CHECK(check_reserved(known.reserved, "cairn_writer_options"));
  WriterOptions options;
  if (known.has_step != 0) options.step = known.step;
  CAIRN_TRY(metadata, pairs_of(known.metadata, known.metadata_count));
  options.metadata = std::move(metadata);
  CAIRN_TRY(of_safetensors, pairs_of(known.safetensors_metadata, known.safetensors_metadata_count));
  options.safetensors_metadata = std::move(of_safetensors);
  options.tensorflow_index = known.no_tensorflow_index == 0;
  options.cairn_index = known.no_cairn_index == 0;
  options.alignment_bytes = known.alignment_bytes;
  options.meta_graph = view_of(known.meta_graph);
  options.replace = known.keep_existing == 0;
  if (known.read_from != nullptr) options.read_from = known.read_from->value;
  CAIRN_TRY(lock_wait, lock_wait_of(known.lock_wait_ms));
  options.lock_wait = lock_wait;
  return Writer::create(prefix, std::move(specs), options);
}

std::span<const std::byte> bytes_of(const void* bytes, std::size_t size) {
  return {static_cast<const std::byte*>(bytes), size};
}

}  // namespace
}  // namespace cairn::c

using namespace cairn::c;
using cairn::Result;

cairn_code cairn_writer_create(const char* prefix, const cairn_tensor_spec* specs,
                               std::size_t count, const cairn_writer_options* options,
                               cairn_writer** writer, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(known, specs_of(specs, count));
    auto handle = std::make_unique<cairn_writer>();
    CAIRN_TRY(created, create(prefix, std::move(known), options));
    handle->own.emplace(std::move(created));
    handle->writer = &*handle->own;
    *writer = handle.release();
    return {};
  });
}

void cairn_writer_free(cairn_writer* writer) { delete writer; }

cairn_code cairn_writer_write(cairn_writer* writer, cairn_string name, const void* bytes,
                              std::size_t size_bytes, cairn_error** error) {
  return guarded(error,
                 [&] { return writer->writer->write(view_of(name), bytes_of(bytes, size_bytes)); });
}

cairn_code cairn_writer_write_all(cairn_writer* writer, const cairn_named_bytes* tensors,
                                  std::size_t count, const cairn_exec_options* exec,
                                  cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(options, exec_of(exec));
    std::vector<cairn::NamedBytes> named;
    named.reserve(count);
    for (const cairn_named_bytes& each : std::span(tensors, count))
      named.push_back({view_of(each.name), bytes_of(each.bytes, each.size_bytes)});
    return writer->writer->write_all(named, options);
  });
}

cairn_code cairn_writer_write_strings(cairn_writer* writer, cairn_string name,
                                      const cairn_string* values, std::size_t count,
                                      cairn_error** error) {
  return guarded(error, [&] {
    return writer->writer->write_strings(view_of(name), views_of({values, count}));
  });
}

cairn_code cairn_writer_write_encoded(cairn_writer* writer, cairn_string name, const void* bytes,
                                      std::size_t size_bytes, cairn_error** error) {
  return guarded(error, [&] {
    return writer->writer->write_encoded(view_of(name), bytes_of(bytes, size_bytes));
  });
}

cairn_code cairn_writer_append(cairn_writer* writer, cairn_string name, const void* bytes,
                               std::size_t size_bytes, cairn_error** error) {
  return guarded(
      error, [&] { return writer->writer->append(view_of(name), bytes_of(bytes, size_bytes)); });
}

cairn_code cairn_writer_tie(cairn_writer* writer, cairn_string name, cairn_string same_as,
                            cairn_error** error) {
  return guarded(error, [&] { return writer->writer->tie(view_of(name), view_of(same_as)); });
}

cairn_code cairn_writer_commit(cairn_writer* writer, const cairn_exec_options* exec,
                               cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    if (!writer->own) return invalid("a fill function must not commit: the Saver does");
    CAIRN_TRY(options, exec_of(exec));
    return writer->writer->commit(options);
  });
}

std::size_t cairn_writer_warning_count(const cairn_writer* writer) {
  return writer->writer->warnings().size();
}

cairn_string cairn_writer_warning_at(const cairn_writer* writer, std::size_t position) {
  return warning_at(writer->writer->warnings(), position);
}
