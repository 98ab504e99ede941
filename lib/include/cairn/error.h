#pragma once

// Errors as values. No exception crosses a public header of Cairn; every function that can fail
// returns a Result.
//
// Result carries std::expected's member names, so that it can become std::expected when C++23 is
// common. It is our own because libstdc++ 12 has none, and because reading a value that is not
// there must stop the program with the sentence that says why, instead of being undefined.

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

// What the caller can do about it. A new code appears only where a caller would act differently.
enum class Code : std::uint8_t {
  NotFound,     // no such file, tensor or checkpoint: look elsewhere
  Exists,       // something is already there: choose another name, or say `replace`
  Corrupt,      // bytes differ from what was stored: fetch the file again
  Unsupported,  // valid, but this version or this call cannot do it: upgrade, or call what the
                // sentence names
  Unsafe,       // a file tries to lead outside its directory, or is no regular file: refuse it
  Invalid,      // the caller's argument is wrong
  Io,           // the operating system said no; `os_errno` says how
  NoSpace,      // disk or quota is full: free space
  OutOfMemory,  // memory is exhausted
  Busy,         // somebody else holds it: try again
  Cancelled,    // the caller's stop token asked for it
};

// The name of a code, as written above: "NotFound", "Corrupt", …
CAIRN_API const char* name(Code code) noexcept;

struct Error {
  Code code{};
  int os_errno = 0;  // 0 where no system call failed
  std::string what;  // one sentence: what failed, on which file, at which byte. OutOfMemory never
                     // allocates it.
};

namespace detail {

[[noreturn]] inline void end_without_error() noexcept {
  std::fputs("cairn: error read from a successful result\n", stderr);
  std::abort();
}

}  // namespace detail

// A value of type T, or the reason why there is none.
// Reading the value of a failed Result (* or ->), or the error of a successful one, prints why to
// stderr and aborts: it is a bug of the caller.
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
  T* operator->() noexcept { return &checked(); }
  const T* operator->() const noexcept { return &**this; }

  template <class U>
  T value_or(U&& other) const& {
    return has_value() ? **this : static_cast<T>(std::forward<U>(other));
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
