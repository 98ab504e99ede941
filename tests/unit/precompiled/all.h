// What nearly every test includes of other libraries, for the compiler to read once. Each file
// includes what it uses all the same. No header of this project: a compiler cache finds a
// precompiled header by its text without comments, but the compiler knows those in it by their
// bytes.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>
