#include "format/name_index.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace cairn::format {
namespace {

TEST_CASE(
    "a name's value is found, the lowest where it has several, and nothing where it has none") {
  std::vector<std::string> names;
  for (int i = 0; i < 1000; ++i) names.push_back("name/" + std::to_string(i));
  NameIndex index(names.size() + 1);
  index.add(names[7], 5000);
  for (std::uint32_t i = 0; i < names.size(); ++i) index.add(names[i], i);
  index.sort();
  for (std::uint32_t i = 0; i < names.size(); ++i) REQUIRE(index.find(names[i]) == i);
  CHECK_FALSE(index.find("name/1000"));
  CHECK_FALSE(index.find(""));
  CHECK(index.find_twice() == names[7]);
}

TEST_CASE("without a name that is there twice none is found") {
  NameIndex index(3);
  CHECK_FALSE(index.find_twice());
  CHECK_FALSE(index.find("a"));
  for (const char* const name : {"a", "", "aa"}) index.add(name, 1);
  index.sort();
  CHECK_FALSE(index.find_twice());
  CHECK(index.find("") == 1);
}

}  // namespace
}  // namespace cairn::format
