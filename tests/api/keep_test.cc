// Whatever way a checkpoint goes from format to format, nothing of it changes in silence: each step
// keeps every tensor, byte for byte, and all metadata, or refuses with Unsupported and says what it
// cannot keep.

#include <doctest/doctest.h>

#include <array>
#include <functional>
#include <map>
#include <random>
#include <set>

#include "cairn/cairn.h"

#include "tests/unit/scratch.h"

namespace cairn {
namespace {

namespace fs = std::filesystem;
using test::Scratch;

// ---- What is to be kept

struct Held {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;
  std::vector<std::string> strings;
  friend bool operator==(const Held&, const Held&) = default;
};

struct Whole {
  std::map<std::string, Held> tensors;
  std::map<std::string, std::string> metadata;
  std::map<std::string, std::string> safetensors_metadata;
  friend bool operator==(const Whole&, const Whole&) = default;
};

// Keys of Cairn's own, and the format that a file gets where none is said.
bool is_anew(std::string_view key, std::string_view value) {
  return key.starts_with("cairn.") || (key == "format" && value == "pt");
}

Whole whole_of(const fs::path& path) {
  const Checkpoint checkpoint = test::open_checkpoint(path);
  Whole whole;
  for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i) {
    const Tensor tensor = checkpoint.tensor_at(i);
    Held& held = whole.tensors[std::string(tensor.name())];
    held.dtype = tensor.dtype_name();
    held.shape.assign(tensor.shape().begin(), tensor.shape().end());
    if (tensor.dtype() == DType::String) {
      const auto strings = tensor.strings();
      REQUIRE_OK(strings);
      for (const std::string_view text : *strings) held.strings.emplace_back(text);
    } else {
      held.bytes = test::bytes_of(tensor);
    }
  }
  for (std::size_t i = 0; i < checkpoint.metadata_count(); ++i) {
    const auto [key, value] = checkpoint.metadata_at(i);
    if (!is_anew(key, value) || key == "format") whole.metadata.emplace(key, value);
  }
  for (std::size_t i = 0; i < checkpoint.safetensors_metadata_count(); ++i) {
    const auto [key, value] = checkpoint.safetensors_metadata_at(i);
    if (!is_anew(key, value)) whole.safetensors_metadata.emplace(key, value);
  }
  return whole;
}

// ---- Random checkpoints

const std::array<OpaqueDType, 7> kOpaque{{{"F4", 4},
                                          {"F6_E2M3", 6},
                                          {"F6_E3M2", 6},
                                          {"F8_E8M0", 8},
                                          {"INT3", 3},
                                          {"wide", 40},
                                          {"blocks", 0, 2, 5}}};

std::uint64_t opaque_bytes(const OpaqueDType& dtype, std::uint64_t count) {
  return dtype.bits != 0 ? (count * dtype.bits + 7) / 8
                         : count / dtype.block_elements * dtype.block_bytes;
}

class Maker {
 public:
  explicit Maker(std::uint64_t seed) : random_(seed) {}

  std::size_t below(std::size_t end) { return random_() % end; }
  bool chance(std::size_t of) { return below(of) == 0; }

  // Plain ones have nothing that any of the formats lacks.
  void write(const fs::path& prefix, bool plain) {
    std::vector<TensorSpec> specs;
    for (std::size_t i = below(6); i-- > 0;) specs.push_back(spec(i, plain));
    WriterOptions options;
    if (!plain && chance(2)) options.metadata = pairs(false);
    if (!plain && chance(2)) options.safetensors_metadata = pairs(true);
    if (chance(2)) options.step = static_cast<std::int64_t>(below(1000));
    auto writer = Writer::create(prefix, specs, options);
    REQUIRE_OK(writer);
    for (const TensorSpec& each : specs) REQUIRE_OK(write_one(*writer, each));
    REQUIRE_OK(writer->commit());
  }

 private:
  TensorSpec spec(std::size_t number, bool plain) {
    TensorSpec spec{"t" + std::to_string(number), plain ? DType::Float32 : dtype(), {}};
    if (!plain && chance(8)) spec.name += "\xff";
    if (!plain && number == 0 && chance(4)) spec.name.clear();
    for (std::size_t rank = below(4); rank-- > 0;)
      spec.shape.push_back(static_cast<std::int64_t>(chance(8) ? 0 : 1 + below(5)));
    if (spec.dtype == DType::Opaque) spec.opaque = kOpaque[below(kOpaque.size())];
    if (spec.opaque.block_elements != 0) spec.shape.push_back(2);
    return spec;
  }

  DType dtype() {
    for (;;) {
      const auto number = static_cast<std::uint16_t>(1 + below(36));
      if (number > 33) return DType::Opaque;
      const auto dtype = static_cast<DType>(number);
      if (dtype != DType::Resource && dtype != DType::Variant) return dtype;
    }
  }

  std::vector<std::pair<std::string, std::string>> pairs(bool text) {
    std::vector<std::pair<std::string, std::string>> pairs;
    const std::array<std::string, 5> values{"", "pt", "flax", "caf\u00e9 \"q\"\n\x01",
                                            "{\"a\": 1}"};
    for (const char* key : {"format", "author", "", "caf\u00e9"}) {
      if (chance(2)) pairs.emplace_back(key, values[below(values.size())]);
    }
    if (!text && chance(4)) pairs.emplace_back("raw", "\xff");
    return pairs;
  }

  Result<void> write_one(Writer& writer, const TensorSpec& spec) {
    const std::uint64_t count = test::count_of(spec.shape);
    if (spec.dtype == DType::String) {
      std::vector<std::string> texts(count);
      for (std::string& text : texts) text.assign(below(20), static_cast<char>(below(256)));
      const std::vector<std::string_view> views(texts.begin(), texts.end());
      return writer.write_strings(spec.name, views);
    }
    const std::uint64_t bytes = spec.dtype == DType::Opaque ? opaque_bytes(spec.opaque, count)
                                                            : count * element_bytes(spec.dtype);
    return writer.write(spec.name, test::random_bytes(bytes, random_()));
  }

  std::mt19937_64 random_;
};

// ---- Steps

struct Went {
  fs::path path;
  std::vector<std::string> warnings = {};
  std::vector<std::string> tensors_left_out = {};
  std::vector<std::string> metadata_left_out = {};
  std::vector<std::string> safetensors_metadata_left_out = {};
};

Result<Went> went(Result<Transfer> done) {
  if (!done) return std::move(done).error();
  return Went{done->prefix, done->warnings, done->not_nameable, done->metadata_left_out,
              done->safetensors_metadata_left_out};
}

Result<Went> saved_from(const fs::path& from, const fs::path& to) {
  const Checkpoint source = test::open_checkpoint(from);
  SaveOptions options;
  for (std::size_t i = 0; i < source.metadata_count(); ++i) {
    const auto [key, value] = source.metadata_at(i);
    if (!key.starts_with("cairn.")) options.metadata.emplace_back(key, value);
  }
  for (std::size_t i = 0; i < source.safetensors_metadata_count(); ++i)
    options.safetensors_metadata.emplace_back(source.safetensors_metadata_at(i));
  std::vector<TensorSpec> specs;
  for (std::size_t i = 0; i < source.tensor_count(); ++i) {
    const Tensor tensor = source.tensor_at(i);
    const auto spec = tensor.spec();
    REQUIRE_OK(spec);
    specs.push_back(*spec);
  }
  auto saver = Saver::open(to.parent_path());
  REQUIRE_OK(saver);
  const auto fill = [&](Writer& writer) -> Result<void> {
    for (std::size_t i = 0; i < source.tensor_count(); ++i) {
      const Tensor tensor = source.tensor_at(i);
      if (tensor.dtype() != DType::String) {
        auto done = writer.write(tensor.name(), test::bytes_of(tensor));
        if (!done) return done;
        continue;
      }
      const auto strings = tensor.strings();
      if (!strings) return strings.error();
      const std::vector<std::string_view> views(strings->begin(), strings->end());
      auto done = writer.write_strings(tensor.name(), views);
      if (!done) return done;
    }
    return {};
  };
  auto saved = saver->save(to.filename().native(), specs, fill, options);
  if (!saved) return std::move(saved).error();
  // The name of a save says its step, or there is none.
  return Went{saved->prefix, {"the step is the caller's"}};
}

using Step = std::function<Result<Went>(const fs::path& from, const TransferOptions& to)>;

const std::map<std::string, Step>& steps() {
  const auto converted = [](Format target) {
    return [target](const fs::path& from, const TransferOptions& to) -> Result<Went> {
      return went(convert(from, target, to));
    };
  };
  const auto exported = [](Format target) {
    return [target](const fs::path& from, const TransferOptions& to) -> Result<Went> {
      return went(export_index(from, target, to));
    };
  };
  static const std::map<std::string, Step> all{
      {"convert to cairn", converted(Format::Cairn)},
      {"convert to tensorflow", converted(Format::TensorFlow)},
      {"convert to safetensors", converted(Format::Safetensors)},
      {"export to tensorflow", exported(Format::TensorFlow)},
      {"export to safetensors", exported(Format::Safetensors)},
      {"import", [](const fs::path& from,
                    const TransferOptions& to) { return went(import_index(from, to)); }},
      {"merge", [](const fs::path& from,
                   const TransferOptions& to) { return went(merge(std::array{from}, to)); }},
      {"rename",
       [](const fs::path& from, const TransferOptions& to) -> Result<Went> {
         Renaming there;
         there.patterns = {{"^t", "u"}};
         Renaming back;
         back.patterns = {{"^u", "t"}};
         auto done = rename_tensors(from, there, to);
         if (!done) return std::move(done).error();
         TransferOptions in_place;
         in_place.replace = true;
         auto undone = rename_tensors(done->transfer.prefix, back, in_place);
         REQUIRE_OK(undone);
         return Went{undone->transfer.prefix};
       }},
      {"salvage",
       [](const fs::path& from, const TransferOptions& to) -> Result<Went> {
         SalvageOptions options;
         options.output = to.output;
         auto done = salvage(from, options);
         if (!done) return std::move(done).error();
         CHECK(done->found.lost.empty());
         return Went{done->transfer.prefix};
       }},
      {"save", [](const fs::path& from, const TransferOptions& to) {
         return saved_from(from, to.output);
       }}};
  return all;
}

bool any_says(std::span<const std::string> warnings, std::string_view word) {
  return std::ranges::any_of(
      warnings, [&](const std::string& warning) { return warning.find(word) != warning.npos; });
}

// What is said to be left out is left out, and nothing else.
void check_lossy(const Step& step, const fs::path& from, TransferOptions to, Whole whole) {
  to.allow_lossy = true;
  const auto done = step(from, to);
  REQUIRE_OK(done);
  CHECK(any_says(done->warnings, "left out"));
  for (const std::string& name : done->tensors_left_out) CHECK(whole.tensors.erase(name) == 1);
  for (const std::string& key : done->metadata_left_out) CHECK(whole.metadata.erase(key) == 1);
  for (const std::string& key : done->safetensors_metadata_left_out)
    CHECK(whole.safetensors_metadata.erase(key) == 1);
  CHECK(whole_of(done->path) == whole);
}

// Goes every way of at most `depth` steps. Counts the steps that kept everything, and refusals.
struct Walk {
  const Scratch& scratch;
  std::size_t kept = 0;
  std::size_t refused = 0;
  std::size_t written = 0;
  std::map<std::string, std::size_t> kept_by = {};

  void go(const fs::path& from, const Whole& whole, int depth) {
    for (const auto& [name, step] : steps()) {
      INFO("step: ", name, ", from ", from.string());
      TransferOptions to;
      to.output = scratch / std::to_string(written++) / "m";
      const auto done = step(from, to);
      if (!done) {
        INFO(done.error().what);
        // No tensor to rename is no tensor lost.
        const bool nothing_to_rename = name == "rename" && done.error().code == Code::NotFound;
        CHECK((done.error().code == Code::Unsupported || nothing_to_rename));
        CHECK_FALSE(done.error().what.empty());
        CHECK_FALSE(fs::exists(to.output.parent_path()));
        const bool can_be_lossy = done.error().what.find("cannot hold") != std::string::npos;
        if (name.starts_with("convert")) CHECK(can_be_lossy);
        if (can_be_lossy) check_lossy(step, from, to, whole);
        ++refused;
        continue;
      }
      CHECK(whole_of(done->path) == whole);
      const auto step_before = test::open_checkpoint(from).step();
      if (test::open_checkpoint(done->path).step() != step_before)
        CHECK(any_says(done->warnings, "step"));
      ++kept;
      ++kept_by[name];
      if (depth > 1) go(done->path, whole, depth - 1);
    }
  }
};

TEST_CASE("every way of at most three conversions keeps everything, or refuses and says what") {
  const char* given = std::getenv("CAIRN_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  MESSAGE("seed ", seed);
  Maker maker(seed);
  std::map<std::string, std::size_t> kept_by;
  std::size_t refused = 0;
  for (int round = 0; round < 10; ++round) {
    INFO("round ", round, " of seed ", seed);
    const Scratch scratch;
    const bool plain = round % 4 == 0;
    maker.write(scratch / "start", plain);
    Walk walk{scratch};
    walk.go(scratch / "start", whole_of(scratch / "start"), round < 3 ? 3 : 2);
    refused += walk.refused;
    for (const auto& [name, count] : walk.kept_by) kept_by[name] += count;
  }
  CHECK(refused != 0);
  CHECK(kept_by.size() == steps().size());
}

}  // namespace
}  // namespace cairn
