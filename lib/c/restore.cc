// Restore.

#include "lib/c/boundary.h"

namespace cairn::c {

namespace {

cairn_io_method method_to_c(IoMethod method) {
  switch (method) {
    case IoMethod::Map:
      return CAIRN_IO_MAP;
    case IoMethod::Populate:
      return CAIRN_IO_POPULATE;
    case IoMethod::Read:
      return CAIRN_IO_READ;
    case IoMethod::Direct:
      return CAIRN_IO_DIRECT;
  }
  return CAIRN_IO_AUTO;
}

constexpr IoMethod kMethods[] = {IoMethod::Map, IoMethod::Populate, IoMethod::Read,
                                 IoMethod::Direct};

std::optional<IoMethod> known_method(int number) noexcept {
  for (const IoMethod method : kMethods) {
    if (method_to_c(method) == number) return method;
  }
  return std::nullopt;
}

Result<Restored> restore(const char* given_path, const cairn_restore_options* given) {
  CAIRN_TRY(path, path_of(given_path, "the path of a checkpoint"));
  CAIRN_TRY(known, struct_of(given, "cairn_restore_options"));
  CAIRN_CHECK(check_reserved(known.reserved, "cairn_restore_options"));
  RestoreOptions options;
  const int method = number_of(known.method);
  options.method = known_method(method);
  if (method != CAIRN_IO_AUTO && !options.method)
    return invalid(std::to_string(method) + " is no cairn_io_method");
  std::vector<TensorSpec> expected;
  CAIRN_CHECK(set_shared(options, known, expected));
  return cairn::restore(path, options);
}

struct OwnedRestored : cairn_restored {
  explicit OwnedRestored(Restored& restored)
      : reason_text(std::move(restored.reason)), file_system_text(std::move(restored.file_system)) {
    method = method_to_c(restored.method);
    has_resident_bytes = restored.resident_bytes ? 1 : 0;
    reason = string_of(reason_text);
    payload_bytes = restored.payload_bytes;
    resident_bytes = restored.resident_bytes.value_or(0);
    available_bytes = restored.available_bytes;
    file_system = string_of(file_system_text);
  }

  std::string reason_text;
  std::string file_system_text;
};

}  // namespace
}  // namespace cairn::c

using namespace cairn::c;
using cairn::Result;

cairn_string cairn_io_method_name(cairn_io_method method) {
  const auto known = known_method(number_of(method));
  return string_of(known ? cairn::name(*known) : "auto");
}

cairn_code cairn_restore(const char* path, const cairn_restore_options* options,
                         cairn_checkpoint** checkpoint, cairn_restored** restored,
                         cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(done, restore(path, options));
    auto opened = std::make_unique<cairn_checkpoint>(std::move(done.checkpoint));
    if (restored != nullptr) *restored = new OwnedRestored(done);
    *checkpoint = opened.release();
    return {};
  });
}

void cairn_restored_free(cairn_restored* restored) { delete static_cast<OwnedRestored*>(restored); }
