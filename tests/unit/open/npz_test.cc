// NumPy's archives, opened where they lie.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/convert.h"
#include "cairn/copy.h"
#include "cairn/restore.h"
#include "cairn/salvage.h"
#include "tests/unit/open/npy_samples.h"
#include "tests/unit/open/zip_samples.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using test::has;
using test::npy;
using test::npy_of;
using test::refusal;
using test::Sandbox;
using test::write_file;
using test::zip_of;
using test::ZipMember;

using Floats = std::vector<float>;

std::string bytes_of(const Floats& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

const std::string kSix = bytes_of({1, 2, 3, 4, 5, 6});

// One of each kind that is read.
std::vector<ZipMember> several() {
  return {{.name = "w.npy", .data = npy_of("<f4", "(2, 3)", false, kSix), .zip64 = true},
          {.name = "packed.npy", .data = npy_of("<f4", "(6,)", false, kSix), .deflated = true},
          {.name = "columns.npy", .data = npy_of("<f4", "(3, 2)", true, kSix), .deflated = true},
          {.name = "big.npy",
           .data = npy_of(">i2", "(2,)", false, std::string("\0\1\0\2", 4)),
           .streamed = true},
          {.name = "c.npy.npy", .data = npy_of("<f8", "(0, 4)", false, ""), .deflated = true},
          {.name = "c.npy", .data = npy_of("|u1", "()", false, "\x07")}};
}

Floats floats(const Checkpoint& checkpoint, const char* name) {
  const auto tensor = checkpoint.tensor(name);
  REQUIRE_MESSAGE(tensor, refusal(tensor));
  const auto values = tensor->values<float>();
  REQUIRE_MESSAGE(values, refusal(values));
  return {values->begin(), values->end()};
}

// Of opening the file, or of its tensor "bad", which is decoded when it is used.
std::string refusal_of_bad(const std::filesystem::path& path) {
  const auto checkpoint = Checkpoint::open(path);
  if (!checkpoint) return refusal(checkpoint);
  const auto verified = checkpoint->verify();
  REQUIRE_MESSAGE(verified, refusal(verified));
  REQUIRE(verified->damage.size() == 1);
  CHECK(verified->damage.front().tensor == "bad");
  OpenOptions options;
  options.access = Access::Copy;
  const std::string copied = refusal(Checkpoint::open(path, options));
  options.access = Access::Private;
  CHECK(refusal(Checkpoint::open(path, options)) == copied);
  CHECK(refusal(checkpoint->tensor("bad")->bytes()) == copied);
  return copied;
}

void check_several(const Checkpoint& checkpoint) {
  CHECK(checkpoint.tensor_count() == 6);
  CHECK(floats(checkpoint, "w") == Floats{1, 2, 3, 4, 5, 6});
  CHECK(floats(checkpoint, "packed") == Floats{1, 2, 3, 4, 5, 6});
  CHECK(floats(checkpoint, "columns") == Floats{1, 4, 2, 5, 3, 6});
  CHECK(*checkpoint.tensor("big")->values<std::int16_t>() == std::vector<std::int16_t>{1, 2});
  CHECK(*checkpoint.tensor("c")->values<std::uint8_t>() == std::vector<std::uint8_t>{7});
  CHECK(checkpoint.tensor("c.npy")->values<double>()->empty());
}

TEST_CASE("an .npz file opens where it lies, in every access mode and by its contents") {
  Sandbox box;
  write_file(box / "m.npz", zip_of(several()));
  write_file(box / "other", zip_of(several(), {.comment = "by any name"}));
  for (const Access access : {Access::Shared, Access::Private, Access::Copy}) {
    for (const char* name : {"m.npz", "other"}) {
      OpenOptions options;
      options.access = access;
      const auto checkpoint = Checkpoint::open(box / name, options);
      REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
      check_several(*checkpoint);
    }
  }
  const auto checkpoint = Checkpoint::open(box / "m.npz");
  CHECK(checkpoint->format() == Format::Npz);
  CHECK(name(checkpoint->format()) == "npz");
  CHECK(checkpoint->prefix() == box / "m");
  CHECK_FALSE(checkpoint->step());
  CHECK(checkpoint->warnings().empty());
  // What is decoded is aligned, and has no sum but the archive's.
  CHECK(checkpoint->tensor("packed")->as<float>().has_value());
  CHECK_FALSE(checkpoint->tensor("packed")->crc32c());
  CHECK(has(refusal(checkpoint->tensor("columns")->as<float>()), "not stored row-major"));
  const auto verified = checkpoint->verify();
  REQUIRE_MESSAGE(verified, refusal(verified));
  CHECK(verified->bytes_checked == 48 + 24 + 4 + 1);
  CHECK(verified->unchecked_bytes == 0);
}

TEST_CASE("an .npz file of stored arrays has one shard, one of none has no tensor") {
  Sandbox box;
  write_file(box / "m.npz", zip_of({several()[0]}, {.prefix = "in front"}));
  const auto stored = Checkpoint::open(box / "m.npz");
  REQUIRE_MESSAGE(stored, refusal(stored));
  CHECK(stored->shard_count() == 1);
  CHECK(floats(*stored, "w") == Floats{1, 2, 3, 4, 5, 6});
  write_file(box / "empty.npz", zip_of({}));
  const auto empty = Checkpoint::open(box / "empty.npz");
  REQUIRE_MESSAGE(empty, refusal(empty));
  CHECK(empty->tensor_count() == 0);
}

TEST_CASE("an .npz file is restored by every method that its file system has") {
  Sandbox box;
  write_file(box / "m.npz", zip_of(several()));
  for (const IoMethod method :
       {IoMethod::Map, IoMethod::Populate, IoMethod::Read, IoMethod::Direct}) {
    INFO(name(method));
    RestoreOptions options;
    options.method = method;
    const auto restored = restore(box / "m.npz", options);
    if (method == IoMethod::Direct && !restored) {
      CHECK_MESSAGE(has(refusal(restored), "Unsupported: "), refusal(restored));
      continue;
    }
    REQUIRE_MESSAGE(restored, refusal(restored));
    check_several(restored->checkpoint);
  }
}

TEST_CASE("a directory that is longer than the end that is read first is read too") {
  Sandbox box;
  std::vector<ZipMember> members;
  for (int i = 0; i < 1'000; ++i)
    members.push_back({.name = std::string(40, 'n') + std::to_string(i) + ".npy",
                       .data = npy_of("<i4", "()", false, std::string("\1\0\0\0", 4))});
  write_file(box / "m.npz", zip_of(members));
  const auto checkpoint = Checkpoint::open(box / "m.npz");
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(checkpoint->tensor_count() == 1'000);
  const auto last = checkpoint->tensor(std::string(40, 'n') + "999");
  REQUIRE_MESSAGE(last, refusal(last));
  CHECK(*last->values<std::int32_t>() == std::vector<std::int32_t>{1});
}

TEST_CASE("an .npy header of any length is read, stored and deflated") {
  Sandbox box;
  for (const bool deflated : {false, true}) {
    for (const std::size_t blanks : {0u, 1u, 300u, 60'000u}) {
      const std::string dictionary = "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), " +
                                     std::string(blanks, ' ') + "}";
      write_file(box / "m.npz",
                 zip_of({{.name = "w.npy", .data = npy(dictionary, kSix), .deflated = deflated}}));
      const auto checkpoint = Checkpoint::open(box / "m.npz");
      REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
      CHECK(floats(*checkpoint, "w") == Floats{1, 2, 3, 4, 5, 6});
    }
  }
}

TEST_CASE("a member that is aligned by a long local header is read, stored and deflated") {
  Sandbox box;
  for (const bool deflated : {false, true}) {
    for (const std::size_t padding_bytes : {4u, 63u, 300u, 4'096u, 16'384u, 65'000u}) {
      CAPTURE(padding_bytes);
      const auto data = npy_of("<f4", "(6,)", false, kSix);
      write_file(box / "m.npz", zip_of({{.name = "v.npy", .data = data},
                                        {.name = "w.npy",
                                         .data = data,
                                         .deflated = deflated,
                                         .padding_bytes = padding_bytes},
                                        {.name = "x.npy", .data = data}}));
      const auto checkpoint = Checkpoint::open(box / "m.npz");
      REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
      for (const char* const name : {"v", "w", "x"})
        CHECK(floats(*checkpoint, name) == Floats{1, 2, 3, 4, 5, 6});
    }
  }
}

TEST_CASE("what no checkpoint can hold is left out with a warning, and the rest is read") {
  Sandbox box;
  auto members = several();
  const std::string one = npy_of("<f4", "(1,)", false, "1234");
  members.push_back({.name = "o.npy", .data = npy_of("|O", "(1,)", false, "pickled")});
  members.push_back({.name = "p.npy", .data = npy_of("|O", "(1,)", false, "x"), .deflated = true});
  members.push_back({.name = "notes.txt", .data = "text"});
  members.push_back({.name = "z.npy", .data = one, .method = 12});
  members.push_back({.name = "e.npy", .data = one, .flags = 1});
  write_file(box / "m.npz", zip_of(members));
  const auto checkpoint = Checkpoint::open(box / "m.npz");
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  check_several(*checkpoint);
  const char* const said[] = {
      "\"o.npy\": the array holds Python objects", "\"p.npy\": the array holds Python objects",
      "\"notes.txt\": its name does not end in .npy",
      "\"z.npy\": it is compressed by another method than deflate", "\"e.npy\": it is encrypted"};
  REQUIRE(checkpoint->warnings().size() == std::size(said));
  for (std::size_t i = 0; i < std::size(said); ++i) {
    CHECK_MESSAGE(has(checkpoint->warnings()[i], said[i]), checkpoint->warnings()[i]);
    CHECK(has(checkpoint->warnings()[i], "it is left out"));
  }
  members.erase(members.begin(), members.begin() + 6);
  write_file(box / "none.npz", zip_of(members));
  CHECK(has(refusal(Checkpoint::open(box / "none.npz")),
            "Unsupported: " + (box / "none.npz").string() +
                ": no array of it can be read; the first reason is that of member"));
}

TEST_CASE("warnings of what is left out are no flood") {
  Sandbox box;
  std::vector<ZipMember> members{several()[0]};
  for (int i = 0; i < 50; ++i) members.push_back({.name = std::to_string(i), .data = ""});
  write_file(box / "m.npz", zip_of(members));
  const auto checkpoint = Checkpoint::open(box / "m.npz");
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  REQUIRE(checkpoint->warnings().size() == 21);
  CHECK(has(checkpoint->warnings()[20], "30 more members are left out"));
}

// "bad.npy" is none: the others are opened, and it is told at its byte.
void check_left_out(const std::filesystem::path& path, const char* said) {
  const auto checkpoint = Checkpoint::open(path);
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  check_several(*checkpoint);
  REQUIRE(checkpoint->warnings().size() == 1);
  const std::string& warning = checkpoint->warnings().front();
  CHECK_MESSAGE(has(warning, path.string() + ": member \"bad.npy\": "), warning);
  CHECK_MESSAGE(has(warning, "byte "), warning);
  CHECK_MESSAGE(has(warning, said), warning);
  CHECK(has(refusal(checkpoint->tensor("bad")), "NotFound: "));
  CHECK(has(refusal(convert(path, Format::Cairn, {.output = path.parent_path() / "c"})), said));
}

TEST_CASE("a damaged member is refused or left out, and salvage brings out the others") {
  Sandbox box;
  const std::string array = npy_of("<f4", "(6,)", false, kSix);
  const auto with = [&](ZipMember bad) {
    bad.name = "bad.npy";
    std::vector<ZipMember> members = several();
    members.push_back(std::move(bad));
    return zip_of(members);
  };
  const auto write_bad_alone = [&](ZipMember bad) {
    bad.name = "bad.npy";
    write_file(box / "alone.npz", zip_of({std::move(bad)}));
    return box / "alone.npz";
  };
  struct Row {
    ZipMember member;
    const char* said;
    bool left_out = false;
  };
  std::string flipped = test::deflate_raw(array);
  flipped[flipped.size() / 2] = static_cast<char>(flipped[flipped.size() / 2] ^ 64);
  const auto size = static_cast<std::uint64_t>(array.size());
  const auto crc = format::zip::crc32(format::as_bytes(array));
  const Row rows[] = {
      {{.data = array, .deflated = true, .crc32 = 1}, "another CRC-32"},
      {{.data = array, .deflated = true, .size_bytes = size + 4}, "too long"},
      {{.data = array, .deflated = true, .size_bytes = size - 4}, "truncated"},
      {{.data = array.substr(0, size - 4), .deflated = true, .size_bytes = size}, "fewer than"},
      {{.data = array + "more", .deflated = true, .size_bytes = size}, "become more than"},
      {{.data = test::deflate_raw(array) + "tail", .method = 8, .crc32 = crc, .size_bytes = size},
       "more of it follows"},
      {{.data = test::deflate_raw(array).substr(0, 50), .method = 8, .size_bytes = size},
       "cut off"},
      {{.data = flipped, .method = 8, .crc32 = crc, .size_bytes = size}, "bad.npy"},
      {{.data = "\x07", .method = 8, .size_bytes = size / 8}, "cannot be decoded"},
      {{.data = array.substr(0, size - 1)}, "truncated", true},
      {{.data = array.substr(0, 9)}, "ends in its header", true},
      {{.data = npy("{'descr': ", kSix)}, "the form that numpy writes", true},
      {{.data = ""}, "not a .npy file", true},
      {{.data = "", .deflated = true}, "not a .npy file"},
  };
  for (const Row& row : rows) {
    INFO(row.said);
    write_file(box / "m.npz", with(row.member));
    if (row.left_out) {
      check_left_out(box / "m.npz", row.said);
      CHECK(has(refusal(Checkpoint::open(write_bad_alone(row.member))), "Corrupt: "));
    } else {
      const std::string refused = refusal_of_bad(box / "m.npz");
      CHECK_MESSAGE(has(refused, "Corrupt: " + (box / "m.npz").string() + ": member \"bad.npy\": "),
                    refused);
      CHECK_MESSAGE(has(refused, row.said), refused);
    }
    const auto salvaged = salvage(box / "m.npz", {.output = box / "s", .replace = true});
    REQUIRE_MESSAGE(salvaged, refusal(salvaged));
    CHECK(std::ranges::any_of(salvaged->found.warnings,
                              [&](const std::string& each) { return has(each, row.said); }));
    const auto rest = Checkpoint::open(box / "s");
    REQUIRE_MESSAGE(rest, refusal(rest));
    check_several(*rest);
  }
}

TEST_CASE("flipped and cut archives are refused, or are of the same names, or of fewer") {
  Sandbox box;
  const std::string whole = zip_of(several());
  for (std::size_t size = 0; size < whole.size(); size += 7) {
    write_file(box / "m.npz", whole.substr(0, size));
    CHECK_FALSE(Checkpoint::open(box / "m.npz"));
  }
  int refused = 0;
  int other = 0;
  int damaged_count = 0;
  for (std::size_t bit = 0; bit < 8 * whole.size(); bit += 3) {
    std::string file = whole;
    file[bit / 8] = static_cast<char>(file[bit / 8] ^ (1 << (bit % 8)));
    write_file(box / "m.npz", file);
    const auto checkpoint = Checkpoint::open(box / "m.npz");
    if (!checkpoint) {
      ++refused;
      continue;
    }
    const auto verified = checkpoint->verify();
    CHECK_MESSAGE(verified, refusal(verified));
    // Deflated bytes have a sum that is compared.
    const auto packed = checkpoint->tensor("packed");
    const bool damaged = std::ranges::any_of(
        verified->damage, [](const Damage& each) { return each.tensor == "packed"; });
    if (packed && packed->dtype() == DType::Float32 && !damaged)
      CHECK(floats(*checkpoint, "packed") == Floats{1, 2, 3, 4, 5, 6});
    if (packed && damaged) {
      CHECK_FALSE(packed->bytes());
      ++damaged_count;
    }
    ++other;
  }
  MESSAGE(refused, " of the flips are refused, ", other, " are read, of which ", damaged_count,
          " have a damaged tensor");
  CHECK(refused > 0);
  CHECK(damaged_count > 0);
}

TEST_CASE("verify tells that a member is damaged that is left out") {
  Sandbox box;
  std::string file =
      zip_of({{.name = "v.npy", .data = npy_of("<f4", "(6,)", false, kSix), .deflated = true},
              {.name = "w.npy", .data = npy_of("<f4", "(6,)", false, kSix)}});
  file[file.find("\x93NUMPY")] ^= 1;  // of w
  write_file(box / "m.npz", file);
  const auto checkpoint = Checkpoint::open(box / "m.npz");
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(checkpoint->tensor_count() == 1);
  const auto verified = checkpoint->verify();
  REQUIRE_MESSAGE(verified, refusal(verified));
  REQUIRE(verified->damage.size() == 1);
  CHECK(verified->damage.front().tensor.empty());
  CHECK(verified->damage.front().shard == "m.npz");
}

TEST_CASE("verify compares a stored member with its CRC-32, and tells of the damage") {
  Sandbox box;
  const auto data = npy_of("<f4", "(6,)", false, kSix);
  std::string file = zip_of({{.name = "v.npy", .data = data}, {.name = "w.npy", .data = data}});
  file[file.rfind(kSix)] ^= 1;  // in w
  write_file(box / "m.npz", file);
  std::vector<std::string> told;
  OpenOptions options;
  options.on_event = [&told](const Event& event) {
    if (event.kind == EventKind::Damaged) told.emplace_back(event.tensor);
  };
  const auto checkpoint = Checkpoint::open(box / "m.npz", options);
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(told.empty());
  const auto verified = checkpoint->verify();
  REQUIRE_MESSAGE(verified, refusal(verified));
  REQUIRE(verified->damage.size() == 1);
  CHECK(verified->damage.front().tensor == "w");
  CHECK(verified->damage.front().size_bytes == kSix.size());
  CHECK(verified->unchecked_bytes == 0);
  CHECK(told == std::vector<std::string>{"w"});
}

TEST_CASE("a small archive cannot take the memory of the machine") {
  Sandbox box;
  // 64 GiB that no disk holds: what they claim to become is more than any half of the memory.
  const std::uint64_t packed = std::uint64_t{64} << 30;
  constexpr std::uint64_t kElementBytes = 70'000'000'000'000;
  const std::string header = npy_of("|u1", "(" + std::to_string(kElementBytes) + ",)", false, "");
  const std::string file = zip_of({{.name = "w.npy",
                                    .data = test::deflate_raw(header),
                                    .zip64 = true,
                                    .method = 8,
                                    .size_bytes = header.size() + kElementBytes,
                                    .packed_bytes = packed}});
  // The directory is moved behind a hole of so many bytes.
  const std::size_t directory = file.find("PK\x01\x02");
  std::string end = file.substr(directory);
  {
    std::string head = file.substr(0, directory);
    write_file(box / "m.npz", head);
    std::filesystem::resize_file(box / "m.npz", head.size() + packed);
    ZipMember member{.name = "w.npy"};
    const std::uint64_t at = head.size() + packed;
    const std::uint64_t size = end.size() - 22;
    std::string tail = end.substr(0, size);
    const auto put = [&](auto... numbers) { (format::append_le(tail, numbers), ...); };
    put(std::uint32_t{0x06064b50}, std::uint64_t{44}, std::uint32_t{0}, std::uint64_t{0},
        std::uint64_t{1}, std::uint64_t{1}, size, at);
    put(std::uint32_t{0x07064b50}, std::uint32_t{0}, at + size, std::uint32_t{1});
    put(std::uint32_t{0x06054b50}, std::uint32_t{0}, ~std::uint32_t{0}, ~std::uint64_t{0},
        std::uint16_t{0});
    std::ofstream(box / "m.npz", std::ios::binary | std::ios::app) << tail;
  }
  const auto checkpoint = Checkpoint::open(box / "m.npz");
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(checkpoint->tensor_at(0).shape()[0] == kElementBytes);
  const std::string refused = refusal(checkpoint->tensor_at(0).bytes());
  CHECK_MESSAGE(has(refused, "OutOfMemory: "), refused);
  CHECK(has(refused, "what is compressed in it has 70000000000000 bytes when it is decoded"));
}

// float8_e4m3fn of 1.0, -2.0 and 0.5, as numpy saves it with ml_dtypes.
TEST_CASE("arrays without a type have the dtype that the caller says, opened and converted") {
  Sandbox box;
  const std::string values = "\x38\xc0\x30";
  write_file(
      box / "m.npz",
      zip_of({{.name = "a.npy", .data = npy_of("|V1", "(3,)", false, values)},
              {.name = "b.npy", .data = npy_of("|V1", "(3,)", false, values), .deflated = true},
              {.name = "c.npy", .data = npy_of("<V2", "(1,)", false, "xy")}}));
  const auto dtypes = [](const Checkpoint& checkpoint) {
    std::string all;
    for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i)
      all += std::string(checkpoint.tensor_at(i).dtype_name()) + " ";
    return all;
  };
  const auto untold = Checkpoint::open(box / "m.npz");
  REQUIRE_MESSAGE(untold, refusal(untold));
  CHECK(dtypes(*untold) == "V1 V1 bfloat16 ");
  OpenOptions options;
  options.formats.void_dtype = DType::Float8E4M3FN;
  const auto told = Checkpoint::open(box / "m.npz", options);
  REQUIRE_MESSAGE(told, refusal(told));
  CHECK(dtypes(*told) == "float8_e4m3fn float8_e4m3fn bfloat16 ");
  TransferOptions transfer{.output = box / "s.safetensors"};
  CHECK(has(refusal(convert(box / "m.npz", Format::Safetensors, transfer)), "V1"));
  transfer.formats = options.formats;
  const auto done = convert(box / "m.npz", Format::Safetensors, transfer);
  REQUIRE_MESSAGE(done, refusal(done));
  const auto converted = Checkpoint::open(box / "s.safetensors");
  REQUIRE_MESSAGE(converted, refusal(converted));
  CHECK(dtypes(*converted) == "float8_e4m3fn float8_e4m3fn bfloat16 ");
  CHECK(test::value_of(*converted->tensor("b"))->bytes == values);
}

TEST_CASE("what is said of a file counts more than its record") {
  Sandbox box;
  write_file(box / "m.npy", npy_of("|V1", "(3,)", false, "\x38\xc0\x30"));
  const auto dtype = [&](const OpenOptions& options, const char* name = "m.npy") {
    const auto checkpoint = Checkpoint::open(box / name, options);
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    const auto warnings = checkpoint->warnings();
    return std::string(checkpoint->tensor_at(0).dtype_name()) +
           (warnings.empty() ? "" : ", " + warnings.front());
  };
  OpenOptions said;
  said.formats.void_dtype = DType::Float8E5M2;
  TransferOptions import;
  import.formats.void_dtype = DType::Float8E4M3FN;
  const auto imported = import_index(box / "m.npy", import);
  REQUIRE_MESSAGE(imported, refusal(imported));
  CHECK(dtype({}) == "float8_e4m3fn");
  CHECK(dtype({}, "m.npy.cairn") == "float8_e4m3fn");
  for (const char* const name : {"m.npy", "m.npy.cairn"}) {
    CHECK(dtype(said, name) ==
          "float8_e5m2, m.npy.cairn: not used, because the options say how the file "
          "itself is read");
  }
}

TEST_CASE("an .npz file is converted, copied, moved and linked to, and written by none") {
  Sandbox box;
  write_file(box / "m.npz", zip_of(several()));
  REQUIRE(convert(box / "m.npz", Format::Cairn, {.output = box / "c"}));
  check_several(*Checkpoint::open(box / "c"));
  CHECK(has(refusal(convert(box / "c", Format::Npz, {.output = box / "d"})), "Unsupported: "));
  CHECK(has(refusal(export_index(box / "m.npz", Format::TensorFlow, {.output = box / "e"})),
            "has compressed arrays; its values are not stored as plain bytes"));
  const auto copied = copy_checkpoint(box / "m.npz", {.output = box / "sub/v"});
  REQUIRE_MESSAGE(copied, refusal(copied));
  CHECK(copied->prefix == box / "sub/v.npz");
  check_several(*Checkpoint::open(box / "sub/v.npz"));
  std::filesystem::create_symlink("m.npz", box / "link.npz");
  const auto linked = Checkpoint::open(box / "link.npz");
  REQUIRE_MESSAGE(linked, refusal(linked));
  check_several(*linked);
}

TEST_CASE("what is named .npz and is none is named for what it is") {
  Sandbox box;
  write_file(box / "m.npz", "\x89HDF\r\n\x1a\n and more");
  CHECK(has(refusal(Checkpoint::open(box / "m.npz")), "the superblock is of version 32"));
  write_file(box / "m.npz", zip_of({{.name = "archive/data.pkl", .data = "x"}}));
  CHECK(has(refusal(Checkpoint::open(box / "m.npz")), "\"archive/data.pkl\": byte 0: the pickle"));
  write_file(box / "m.npz", zip_of({{.name = "readme.txt", .data = "x"}}));
  CHECK(has(refusal(Checkpoint::open(box / "m.npz")), "no array of it can be read"));
}

}  // namespace
}  // namespace cairn
