// usage: drop FILE…
//
// Syncs the files, drops them from the page cache, and fails if the kernel says that more than one
// part in a hundred stayed: somebody maps them, or they lie in memory.

#include <cstdio>

#include "plain.h"

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const auto file = cairn::bench::File::open(argv[i]);
    const auto stayed = file ? file->drop() : cairn::Result<std::uint64_t>(file.error());
    if (!stayed || *stayed > file->size() / 100) {
      std::fprintf(stderr, "drop: %s: %s\n", argv[i],
                   stayed ? "its pages stay" : stayed.error().what.c_str());
      return 1;
    }
  }
}
