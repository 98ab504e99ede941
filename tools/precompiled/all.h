// What nearly every verb includes, for the compiler to read once. Each file includes what it uses
// all the same.

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "cairn/cairn.h"
