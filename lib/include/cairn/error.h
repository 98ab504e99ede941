#pragma once

// Errors are values. No function in a public header of Cairn throws; every function that can fail
// returns a Result.
//
// Result has the member names of std::expected, so that it can become std::expected when C++23 is
// common. It is a type of its own for two reasons: libstdc++ 12 has no std::expected, and a program
// that reads a missing value must stop with a message instead of undefined behaviour.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "cairn/export.h"

namespace cairn {

// The kind of an error: what the caller can do. There is one code for each different action.
enum class Code : std::uint8_t {
  NotFound,     // there is no such file, tensor or checkpoint: use another path or name
  Exists,       // the target exists: choose another name, or set `replace`
  Corrupt,      // the bytes are not what was stored: get the file again
  Unsupported,  // valid, but this version or this function cannot do it: upgrade, or call the
                // function that the message names
  Unsafe,       // a file leads outside its directory, or is no regular file: do not trust it
  Invalid,      // an argument of the caller is wrong
  Io,           // a system call failed; `os_errno` says how
  NoSpace,      // the disk or the quota is full: free space
  OutOfMemory,  // there is not enough memory
  Busy,         // another process holds it: try again
  Cancelled,    // the caller's stop token requested it
};

// The name of a code, as written above: "NotFound", "Corrupt", …
CAIRN_API const char* name(Code code) noexcept;

struct Error {
  Code code{};
  int os_errno = 0;  // 0 if no system call failed
  std::string what;  // the message, one sentence: what failed, on which file, at which byte. For
                     // OutOfMemory it is set without an allocation.
};

namespace detail {

[[noreturn]] inline void end_without_error() noexcept {
  std::fputs("cairn: error read from a successful result\n", stderr);
  std::abort();
}

}  // namespace detail

// Whether handles and views that a T gives out are valid only as long as that T lives (a Checkpoint
// and its Tensors). A temporary Result of such a T has no ->: what it returned would refer to a T
// that is gone.
template <class T>
inline constexpr bool hands_out_views = false;

// A value of type T, or the error that prevented it. To read the value of a failed Result (with *
// or ->), or the error of a successful one, is a bug of the caller: the program prints a message to
// stderr and aborts.
template <class T, class E = Error>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  using error_type = E;

  Result(T value) noexcept : state_(std::in_place_index<0>, std::move(value)) {}
  Result(E error) noexcept : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  T& operator*() & noexcept { return checked(); }
  const T& operator*() const& noexcept { return const_cast<Result*>(this)->checked(); }
  T&& operator*() && noexcept { return std::move(checked()); }
  // By value, so that a loop over a temporary keeps it: for (const auto& tensor : *open(path)).
  T operator*() && noexcept
    requires hands_out_views<T>
  {
    return std::move(checked());
  }
  T* operator->() & noexcept { return &checked(); }
  const T* operator->() const& noexcept { return &**this; }
  T* operator->() && noexcept { return &checked(); }
  T* operator->() &&
    requires hands_out_views<T>
  = delete;

  // The same as *: it does not throw, as that of std::expected does.
  T& value() & noexcept { return **this; }
  const T& value() const& noexcept { return **this; }
  T value() && noexcept { return *std::move(*this); }

  template <class U>
  T value_or(U&& other) const& {
    return has_value() ? **this : static_cast<T>(std::forward<U>(other));
  }
  template <class U>
  T value_or(U&& other) && {
    return has_value() ? *std::move(*this) : static_cast<T>(std::forward<U>(other));
  }

  const E& error() const& noexcept { return const_cast<Result*>(this)->failed(); }
  E&& error() && noexcept { return std::move(failed()); }

  template <class F>
  auto and_then(F&& next) & -> std::invoke_result_t<F, T&> {
    if (!has_value()) return error();
    return std::invoke(std::forward<F>(next), **this);
  }
  template <class F>
  auto and_then(F&& next) && -> std::invoke_result_t<F, T&&> {
    if (!has_value()) return std::move(*this).error();
    return std::invoke(std::forward<F>(next), *std::move(*this));
  }
  template <class F>
  auto transform(F&& change) && -> Result<std::remove_cvref_t<std::invoke_result_t<F, T&&>>, E> {
    if (!has_value()) return std::move(*this).error();
    return std::invoke(std::forward<F>(change), *std::move(*this));
  }
  // What `instead` makes of the error, a Result of the same type.
  template <class F>
  Result or_else(F&& instead) && {
    if (has_value()) return std::move(*this);
    return std::invoke(std::forward<F>(instead), std::move(*this).error());
  }

 private:
  T& checked() noexcept {
    if (!has_value()) [[unlikely]] {
      std::fprintf(stderr, "cairn: value read from a failed result: %s\n", error().what.c_str());
      std::abort();
    }
    return *std::get_if<0>(&state_);
  }
  E& failed() noexcept {
    if (has_value()) [[unlikely]]
      detail::end_without_error();
    return *std::get_if<1>(&state_);
  }

  std::variant<T, E> state_;
};

template <class E>
class [[nodiscard]] Result<void, E> {
 public:
  using value_type = void;
  using error_type = E;

  Result() noexcept = default;
  Result(E error) noexcept : error_(std::move(error)), ok_(false) {}

  bool has_value() const noexcept { return ok_; }
  explicit operator bool() const noexcept { return ok_; }
  const E& error() const& noexcept { return const_cast<Result*>(this)->failed(); }
  E&& error() && noexcept { return std::move(failed()); }

  template <class F>
  auto and_then(F&& next) const -> std::invoke_result_t<F> {
    if (!ok_) return error_;
    return std::invoke(std::forward<F>(next));
  }
  template <class F>
  Result or_else(F&& instead) && {
    if (ok_) return {};
    return std::invoke(std::forward<F>(instead), std::move(error_));
  }

 private:
  E& failed() noexcept {
    if (ok_) [[unlikely]]
      detail::end_without_error();
    return error_;
  }

  E error_{};
  bool ok_ = true;
};

}  // namespace cairn
