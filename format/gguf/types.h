#pragma once

// The types of ggml, by the numbers that a GGUF file gives them. FORMAT.md, "GGUF".

#include <cstdint>
#include <string_view>

#include "cairn/dtype.h"
#include "format/facts.h"

namespace cairn::format::gguf {

struct Type {
  std::uint32_t number = 0;
  std::string_view name;        // ggml's: "F32", "Q4_K"
  DType dtype = DType::Opaque;  // of what lies in blocks: Opaque
  Block block;                  // of Opaque only

  // How many elements lie in how many bytes.
  std::uint32_t elements() const noexcept { return dtype == DType::Opaque ? block.elements : 1; }
  std::uint32_t bytes() const noexcept {
    return dtype == DType::Opaque ? block.bytes : element_bytes(dtype);
  }
};

// nullptr: no such type, or one that ggml has removed.
const Type* type_of(std::uint32_t number) noexcept;
const Type* type_named(std::string_view name) noexcept;

}  // namespace cairn::format::gguf
