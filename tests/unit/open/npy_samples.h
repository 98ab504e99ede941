#pragma once

// .npy files, as numpy writes them.

#include <string>
#include <string_view>

namespace cairn::test {

// A file of version 1.0 with this dictionary, and so many bytes of elements.
inline std::string npy(std::string dictionary, std::string_view elements) {
  dictionary.resize((dictionary.size() + 10 + 1 + 63) / 64 * 64 - 11, ' ');
  dictionary += '\n';
  std::string file("\x93NUMPY\x01\0", 8);
  file += static_cast<char>(dictionary.size() % 256);
  file += static_cast<char>(dictionary.size() / 256);
  return file + dictionary + std::string(elements);
}

inline std::string npy_of(std::string_view descr, std::string_view shape, bool fortran,
                          std::string_view elements) {
  return npy("{'descr': '" + std::string(descr) + "', 'fortran_order': " +
                 (fortran ? "True" : "False") + ", 'shape': " + std::string(shape) + ", }",
             elements);
}

}  // namespace cairn::test
