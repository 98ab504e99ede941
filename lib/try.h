#pragma once

// The two macros of control flow, the one of assertion, and at_boundary(), which no exception
// passes. Any room may include it; it is not installed.

#include <cstdio>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <system_error>
#include <type_traits>
#include <utility>

#include "cairn/error.h"

#define CAIRN_CONCAT_INNER(a, b) a##b
#define CAIRN_CONCAT(a, b) CAIRN_CONCAT_INNER(a, b)

// CAIRN_TRY(file, open_file(name)): `file` is the value, or the function returns the error.
#define CAIRN_TRY(name, expression)                        \
  auto CAIRN_CONCAT(name, _result) = (expression);         \
  if (!CAIRN_CONCAT(name, _result)) [[unlikely]]           \
    return std::move(CAIRN_CONCAT(name, _result)).error(); \
  auto&& name = *CAIRN_CONCAT(name, _result)

// CAIRN_CHECK(file.sync()): goes on, or the function returns the error.
#define CAIRN_CHECK(expression)                                       \
  do {                                                                \
    if (auto cairn_result = (expression); !cairn_result) [[unlikely]] \
      return std::move(cairn_result).error();                         \
  } while (false)

// For what only a bug of Cairn can break, never for the contents of a file. Also on in release
// builds. Not used where bytes are processed.
#define CAIRN_ASSERT(condition)                                                        \
  do {                                                                                 \
    if (!(condition)) [[unlikely]] {                                                   \
      std::fprintf(stderr, "cairn: %s:%d: assertion failed: %s\n", __FILE__, __LINE__, \
                   #condition);                                                        \
      std::abort();                                                                    \
    }                                                                                  \
  } while (false)

namespace cairn {

// Runs the body of a public function: an exception inside becomes an Error.
template <class F>
std::invoke_result_t<F> at_boundary(F&& body) noexcept {
  try {
    return std::forward<F>(body)();
  } catch (const std::bad_alloc&) {
    return Error{Code::OutOfMemory, 0, "out of memory"};
  } catch (const std::length_error&) {
    return Error{Code::OutOfMemory, 0, "out of memory"};
  } catch (const std::system_error& error) {
    return Error{Code::Io, error.code().value(), error.what()};
  } catch (const std::exception& error) {
    return Error{Code::Io, 0, error.what()};
  } catch (...) {  // of a function of the caller's: nothing of ours throws so
    return Error{Code::Io, 0, "a function of the caller's threw what is no std::exception"};
  }
}

}  // namespace cairn
