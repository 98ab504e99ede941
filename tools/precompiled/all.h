// What nearly every verb includes of other libraries, for the compiler to read once. Each file
// includes what it uses all the same. No header of this project: tests/unit/precompiled says why.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>
