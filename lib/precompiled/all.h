// What most files of this room include of the standard library, for the compiler to read once. Each
// file includes what it uses all the same: a build with -Db_pch=false shows what was forgotten.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>
