#pragma once

// The wall between C and C++: errors as values of C, structs whose size the caller says, texts, and
// the numbers of enums, which a caller of C may get wrong.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "cairn/c.h"
#include "cairn/cairn.h"
#include "lib/try.h"

namespace cairn::c {

// The codes of C are those of C++ and 0.
cairn_code code_of(Code code) noexcept;

// The error of a code that a function of the caller's returned.
Error error_of(cairn_code code, int os_errno, std::string what);

// Gives the error to the caller, if it wants it; returns its code.
cairn_code fail(const Error& failed, cairn_error** error) noexcept;

// Runs the body of a function that can fail. The body returns a Result<void>, and sets the results
// of the caller as its last step.
template <class F>
cairn_code guarded(cairn_error** error, F&& body) noexcept {
  if (error != nullptr) *error = nullptr;
  const Result<void> done = at_boundary(std::forward<F>(body));
  return done ? CAIRN_OK : fail(done.error(), error);
}

inline Error invalid(std::string what) { return Error{Code::Invalid, 0, std::move(what)}; }

// The number of an enum that a caller of C set: it may be one that C++ does not allow to be read.
template <class E>
int number_of(const E& value) noexcept {
  static_assert(sizeof(E) == sizeof(int));
  int number = 0;
  std::memcpy(&number, &value, sizeof number);
  return number;
}

// ---- Texts

inline std::string_view view_of(cairn_string text) noexcept {
  return text.size == 0 ? std::string_view() : std::string_view(text.data, text.size);
}

inline cairn_string string_of(std::string_view text) noexcept { return {text.data(), text.size()}; }

inline std::vector<std::string_view> views_of(std::span<const cairn_string> texts) {
  std::vector<std::string_view> views;
  views.reserve(texts.size());
  for (const cairn_string& text : texts) views.push_back(view_of(text));
  return views;
}

// `what` names the argument.
Result<std::filesystem::path> path_of(const char* path, const char* what);

inline std::string_view text_or(const char* text, std::string_view otherwise) noexcept {
  return text == nullptr ? otherwise : std::string_view(text);
}

// ---- Structs of the caller's

// Copies a struct of the caller's, of which it knows fewer or more fields than the library, into
// `out`, which is zero. Invalid: the size cannot be. Unsupported: a field that the library does not
// know is set. `type` is its name in C.
Result<void> copy_struct(const void* given, std::span<std::byte> out, const char* type);

// The same; NULL: all defaults.
template <class T>
Result<T> struct_of(const T* given, const char* type) {
  T known;
  std::memset(&known, 0, sizeof known);
  if (given == nullptr) return known;
  CAIRN_CHECK(copy_struct(given, std::as_writable_bytes(std::span(&known, 1)), type));
  return known;
}

// A list of such structs, which lie `struct_size` of the first one apart.
template <class T>
Result<std::vector<T>> structs_of(const T* first, std::size_t count, const char* type) {
  std::vector<T> known(count);
  const auto* at = reinterpret_cast<const std::byte*>(first);
  std::size_t stride = 0;
  for (T& each : known) {
    std::size_t size = 0;
    std::memcpy(&size, at, sizeof size);
    if (stride != 0 && size != stride)
      return invalid(std::string("the elements of a list of ") + type + " differ in struct_size");
    stride = size;
    std::memset(&each, 0, sizeof each);
    CAIRN_CHECK(copy_struct(at, std::as_writable_bytes(std::span(&each, 1)), type));
    at += stride;
  }
  return known;
}

Result<void> check_reserved(std::uint32_t reserved, const char* type);

// ---- What several functions take

Result<ExecOptions> exec_of(const cairn_exec_options* given);
std::optional<DType> known_dtype(int number) noexcept;
Result<DType> dtype_of_number(int number);
Result<Format> format_of_number(int number);
Result<Verify> verify_of(int number, Verify otherwise);
Result<FormatOptions> formats_of(int void_dtype, std::int32_t expand);
Result<std::vector<TensorSpec>> specs_of(const cairn_tensor_spec* specs, std::size_t count);
Result<std::vector<std::pair<std::string, std::string>>> pairs_of(const cairn_key_value* pairs,
                                                                  std::size_t count);

// What open and restore have in common; `expected` is what the options refer to.
template <class Options, class Given>
Result<void> set_shared(Options& options, const Given& known, std::vector<TensorSpec>& expected) {
  CAIRN_TRY(verify, verify_of(number_of(known.verify), options.verify));
  options.verify = verify;
  options.follow_links = known.follow_links != 0;
  CAIRN_TRY(formats, formats_of(number_of(known.void_dtype), known.expand));
  options.formats = formats;
  CAIRN_TRY(specs, specs_of(known.expected, known.expected_count));
  expected = std::move(specs);
  options.expected = expected;
  if (known.expected_digest != nullptr) {
    Digest128& digest = options.expected_digest.emplace();
    std::memcpy(digest.bytes.data(), known.expected_digest, digest.bytes.size());
  }
  CAIRN_TRY(exec, exec_of(known.exec));
  options.exec = std::move(exec);
  return {};
}

// 0: 30 seconds.
Result<std::chrono::milliseconds> lock_wait_of(std::int64_t milliseconds);
cairn_dtype dtype_to_c(DType dtype) noexcept;
std::vector<Range> ranges_of(const cairn_slice* slice);

// ---- Results

// A position outside is a bug of the caller: the program prints a message and aborts.
cairn_string warning_at(std::span<const std::string> warnings, std::size_t position) noexcept;

// The texts of a result: what the pointers of its struct of C point to.
template <class T>
std::vector<cairn_string> strings_of(const std::vector<T>& texts) {
  std::vector<cairn_string> strings;
  strings.reserve(texts.size());
  for (const T& text : texts) {
    if constexpr (std::is_same_v<T, std::filesystem::path>) {
      strings.push_back(string_of(text.native()));
    } else {
      strings.push_back(string_of(text));
    }
  }
  return strings;
}

template <class T>
std::vector<const T*> pointers_to(const std::vector<T>& items) {
  std::vector<const T*> pointers;
  pointers.reserve(items.size());
  for (const T& item : items) pointers.push_back(&item);
  return pointers;
}

// A path, or nothing.
inline cairn_string path_string(const std::optional<std::filesystem::path>& path) noexcept {
  return path ? string_of(std::string_view(path->native())) : cairn_string{nullptr, 0};
}

// The checkpoints that were skipped, as C sees them.
class Skipped {
 public:
  explicit Skipped(std::vector<SkippedCheckpoint> skipped);
  const cairn_skipped_checkpoint* const* data() const noexcept { return pointers_.data(); }
  std::size_t size() const noexcept { return pointers_.size(); }

 private:
  std::vector<SkippedCheckpoint> skipped_;
  std::vector<cairn_skipped_checkpoint> items_;
  std::vector<const cairn_skipped_checkpoint*> pointers_;
};

// A checkpoint that was looked for and may have been found, with those that were skipped.
template <class C>
struct OwnedFound : C {
  template <class Found>
  explicit OwnedFound(Found found)
      : path(std::move(found.prefix)), passed(std::move(found.skipped)) {
    this->prefix = path_string(path);
    this->skipped = passed.data();
    this->skipped_count = passed.size();
  }

  std::optional<std::filesystem::path> path;
  Skipped passed;
};

// A list of texts that the caller frees: views of what lives longer, or of `owned`.
cairn_strings* new_strings(std::vector<std::filesystem::path> owned,
                           std::vector<cairn_string> views);

}  // namespace cairn::c

struct cairn_checkpoint {
  cairn::Checkpoint value;
};

struct cairn_stop {
  std::stop_source source;
};

// Of the caller, or of a save that lends it to a function of the caller's.
struct cairn_writer {
  std::optional<cairn::Writer> own;
  cairn::Writer* writer = nullptr;
};
