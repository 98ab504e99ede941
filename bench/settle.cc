// usage: settle BYTES
//
// Leaves so much free memory that costs nothing to take: see settle() in plain.h. For peers, whose
// processes cannot call it.

#include <cstdio>
#include <cstdlib>

#include "plain.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s BYTES\n", argv[0]);
    return 2;
  }
  cairn::bench::settle(std::strtoull(argv[1], nullptr, 10));
}
