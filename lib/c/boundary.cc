// What c.h says of all functions: errors, structs that know their size, texts.

#include "lib/c/boundary.h"

#include <cstdlib>
#include <new>
#include <stop_token>

// Made with one allocation, and its message follows it.
struct cairn_error {
  cairn_code code;
  std::int32_t os_errno;
  const char* message;
};

namespace cairn::c {

namespace {

// Where there is no memory for an error. Nobody changes or frees it.
constinit cairn_error no_memory{CAIRN_OUT_OF_MEMORY, 0, "out of memory"};

cairn_error* new_error(cairn_code code, int os_errno, std::string_view what) noexcept {
  void* const memory = std::malloc(sizeof(cairn_error) + what.size() + 1);
  if (memory == nullptr) return &no_memory;
  char* const message = static_cast<char*>(memory) + sizeof(cairn_error);
  std::copy(what.begin(), what.end(), message);
  message[what.size()] = '\0';
  return new (memory) cairn_error{code, os_errno, message};
}

// More than any struct of C will ever have: a size that was not set.
constexpr std::size_t kStructBytesMax = 4096;

struct StringList : cairn_strings {
  std::vector<std::filesystem::path> owned;
  std::vector<cairn_string> views;
};

}  // namespace

cairn_code code_of(Code code) noexcept {
  switch (code) {
    case Code::NotFound:
      return CAIRN_NOT_FOUND;
    case Code::Exists:
      return CAIRN_EXISTS;
    case Code::Corrupt:
      return CAIRN_CORRUPT;
    case Code::Unsupported:
      return CAIRN_UNSUPPORTED;
    case Code::Unsafe:
      return CAIRN_UNSAFE;
    case Code::Invalid:
      return CAIRN_INVALID;
    case Code::Io:
      return CAIRN_IO;
    case Code::NoSpace:
      return CAIRN_NO_SPACE;
    case Code::OutOfMemory:
      return CAIRN_OUT_OF_MEMORY;
    case Code::Busy:
      return CAIRN_BUSY;
    case Code::Cancelled:
      return CAIRN_CANCELLED;
  }
  return CAIRN_IO;
}

Error error_of(cairn_code code, int os_errno, std::string what) {
  const int number = number_of(code);
  for (int each = 0; each <= static_cast<int>(Code::Cancelled); ++each) {
    if (code_of(static_cast<Code>(each)) == number)
      return Error{static_cast<Code>(each), os_errno, std::move(what)};
  }
  return Error{Code::Io, os_errno, std::move(what)};
}

cairn_code fail(const Error& failed, cairn_error** error) noexcept {
  const cairn_code code = code_of(failed.code);
  if (error != nullptr) *error = new_error(code, failed.os_errno, failed.what);
  return code;
}

Result<std::filesystem::path> path_of(const char* path, const char* what) {
  if (path == nullptr) return invalid(std::string(what) + " is NULL: pass a path");
  return std::filesystem::path(path);
}

Result<void> copy_struct(const void* given, std::span<std::byte> out, const char* type) {
  std::size_t size = 0;
  std::memcpy(&size, given, sizeof size);
  if (size < sizeof size || size > kStructBytesMax) {
    return invalid(std::string("struct_size of a ") + type + " is " + std::to_string(size) +
                   ": set it to sizeof(" + type + "), as " + type + "_init() does");
  }
  const auto* const bytes = static_cast<const std::byte*>(given);
  const std::size_t known = std::min(size, out.size());
  std::copy_n(bytes, known, out.data());
  const auto* const set =
      std::find_if(bytes + known, bytes + size, [](std::byte byte) { return byte != std::byte{}; });
  if (set == bytes + size) return {};
  return Error{Code::Unsupported, 0,
               std::string("the option at byte ") + std::to_string(set - bytes) + " of a " + type +
                   " is not known to this version of libcairn-c (" + std::to_string(out.size()) +
                   " bytes are): install the version that the program was compiled with, or leave "
                   "the option at 0"};
}

Result<void> check_reserved(std::uint32_t reserved, const char* type) {
  if (reserved == 0) return {};
  return invalid(std::string("the reserved field of a ") + type + " is not 0");
}

cairn_string warning_at(std::span<const std::string> warnings, std::size_t position) noexcept {
  CAIRN_ASSERT(position < warnings.size());
  return string_of(warnings[position]);
}

Skipped::Skipped(std::vector<SkippedCheckpoint> skipped) : skipped_(std::move(skipped)) {
  items_.reserve(skipped_.size());
  for (const SkippedCheckpoint& each : skipped_)
    items_.push_back({string_of(std::string_view(each.prefix.native())), string_of(each.why)});
  pointers_ = pointers_to(items_);
}

cairn_strings* new_strings(std::vector<std::filesystem::path> owned,
                           std::vector<cairn_string> views) {
  auto list = std::make_unique<StringList>();
  list->owned = std::move(owned);
  list->views = list->owned.empty() ? std::move(views) : strings_of(list->owned);
  list->values = list->views.data();
  list->count = list->views.size();
  return list.release();
}

}  // namespace cairn::c

using namespace cairn::c;

const char* cairn_code_name(cairn_code code) {
  const int number = number_of(code);
  if (number == CAIRN_OK) return "Ok";
  for (int each = 0; each <= static_cast<int>(cairn::Code::Cancelled); ++each) {
    const auto of_cairn = static_cast<cairn::Code>(each);
    if (code_of(of_cairn) == number) return cairn::name(of_cairn);
  }
  return "Unknown";
}

cairn_error* cairn_error_new(cairn_code code, const char* message) {
  return new_error(code, 0, text_or(message, ""));
}

void cairn_error_free(cairn_error* error) {
  if (error != &no_memory) std::free(error);
}

cairn_code cairn_error_code(const cairn_error* error) { return error->code; }
const char* cairn_error_message(const cairn_error* error) { return error->message; }
std::int32_t cairn_error_os_errno(const cairn_error* error) { return error->os_errno; }

cairn_code cairn_stop_new(cairn_stop** stop, cairn_error** error) {
  return guarded(error, [&]() -> cairn::Result<void> {
    *stop = new cairn_stop();
    return {};
  });
}

void cairn_stop_request(const cairn_stop* stop) { std::stop_source(stop->source).request_stop(); }

void cairn_stop_free(cairn_stop* stop) { delete stop; }

void cairn_strings_free(cairn_strings* strings) { delete static_cast<StringList*>(strings); }
void cairn_text_free(char* text) { std::free(text); }

std::uint32_t cairn_c_version(void) { return CAIRN_C_VERSION; }
const char* cairn_version(void) { return cairn::version().data(); }
