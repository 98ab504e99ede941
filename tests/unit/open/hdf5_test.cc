// HDF5 files and Keras' archives, opened where they lie. The files of golden/hdf5 hold 0, 1, 2 …

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/convert.h"
#include "cairn/copy.h"
#include "cairn/restore.h"
#include "cairn/salvage.h"
#include "format/hdf5/contents.h"
#include "format/hdf5/elements.h"
#include "format/hdf5/filters.h"
#include "format/hdf5/keras_index.h"
#include "format/le.h"
#include "tests/unit/open/zip_samples.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

namespace hdf5 = format::hdf5;

using test::golden;
using test::has;
using test::read_file;
using test::refusal;
using test::Sandbox;
using test::write_file;
using test::zip_of;

const std::string kGolden = "hdf5/";

// Whether the tensor's values are 0, 1, 2 …
template <class T>
bool counts(const Checkpoint& checkpoint, const std::string& name) {
  const auto tensor = checkpoint.tensor(name);
  REQUIRE_MESSAGE(tensor, refusal(tensor));
  const auto values = tensor->values<T>();
  REQUIRE_MESSAGE(values, refusal(values));
  std::size_t i = 0;
  for (const T& value : *values) {
    if (value != static_cast<T>(static_cast<float>(i++))) return false;
  }
  return true;
}

std::string metadata(const Checkpoint& checkpoint, std::string_view key) {
  for (std::size_t i = 0; i < checkpoint.metadata_count(); ++i) {
    const auto [each, value] = checkpoint.metadata_at(i);
    if (each == key) return std::string(value);
  }
  return "(missing)";
}

// ---- Sums ---------------------------------------------------------------------------------------

TEST_CASE("sums are those of HDF5") {
  // Of Bob Jenkins' own test: hashlittle("Four score and seven years ago", 30, 0).
  CHECK(hdf5::lookup3(format::as_bytes("Four score and seven years ago")) == 0x17770551);
  CHECK(hdf5::lookup3({}) == 0xdeadbeef);
  CHECK(hdf5::fletcher32({}) == 0);
  CHECK(hdf5::fletcher32(format::as_bytes("ab")) == 0x61626162);
  CHECK(hdf5::fletcher32(format::as_bytes("a")) == 0x61006100);
}

// ---- Contents -----------------------------------------------------------------------------------

class MemorySource final : public hdf5::Source {
 public:
  explicit MemorySource(std::string_view bytes) : bytes_(bytes), was_read_(bytes.size()) {}
  std::uint64_t size_bytes() const noexcept override { return bytes_.size(); }
  format::Decoded<void> read(std::uint64_t offset_bytes, std::span<std::byte> out) override {
    if (offset_bytes > bytes_.size() || out.size() > bytes_.size() - offset_bytes)
      throw std::out_of_range("a read ends behind the file");
    std::ranges::copy(format::as_bytes(bytes_.substr(offset_bytes, out.size())), out.begin());
    std::fill_n(was_read_.begin() + static_cast<std::ptrdiff_t>(offset_bytes), out.size(), true);
    return {};
  }
  bool was_read(std::size_t at) const { return was_read_[at]; }

 private:
  std::string_view bytes_;
  std::vector<bool> was_read_;
};

// All that a file says, with every value; or why not.
struct Read {
  std::string refused;
  std::vector<std::string> values;
  format::KeyValues metadata;
  bool operator==(const Read&) const = default;
};

std::string value_of(hdf5::File& file, const hdf5::Contents& contents, std::size_t number,
                     std::string_view bytes) {
  const hdf5::Tensor& tensor = contents.tensors[number];
  std::string value = tensor.facts.name + " " + std::string(name(tensor.facts.dtype)) + " ";
  if (!tensor.decoded)
    return value.append(bytes.substr(tensor.facts.span.offset_bytes, tensor.facts.span.size_bytes));
  // As the opener does: what is much larger than the file was never written.
  if (contents.to_decode[*tensor.decoded].size_bytes() > 100 * bytes.size()) return "refused";
  const auto done =
      hdf5::decode_elements(file, contents.to_decode[*tensor.decoded],
                            [&](std::span<const std::byte> part) -> format::Decoded<void> {
                              value += format::as_text(part);
                              return {};
                            });
  return done ? value : "refused";
}

Read read_all(std::string_view bytes, MemorySource& source, bool whole = true) {
  Read read;
  auto file = hdf5::File::open(source, {whole, true});
  if (!file) return {file.error().what, {}, {}};
  auto contents = hdf5::read_contents(*file);
  if (!contents) return {contents.error().what, {}, {}};
  for (std::size_t i = 0; i < contents->tensors.size(); ++i) {
    read.values.push_back(value_of(*file, *contents, i, bytes));
    if (read.values.back() == "refused") return {"refused", {}, {}};
  }
  read.metadata = std::move(contents->metadata);
  return read;
}

Read read_all(std::string_view bytes, bool whole = true) {
  MemorySource source(bytes);
  return read_all(bytes, source, whole);
}

TEST_CASE("every cut of a small file is refused; every flip is, or the values are in the file") {
  for (const char* libver : {"earliest", "latest"}) {
    const std::string whole = read_file(golden(kGolden + "tiny_" + libver + ".h5"));
    MemorySource source(whole);
    const Read before = read_all(whole, source);
    REQUIRE(before.refused.empty());
    REQUIRE(before.values.size() == 2);
    for (std::size_t size = 0; size < whole.size(); size += size < 256 ? 1 : 13) {
      CHECK_FALSE(read_all(std::string_view(whole).substr(0, size)).refused.empty());
      (void)read_all(std::string_view(whole).substr(0, size), false);
    }
    std::size_t refused = 0;
    std::size_t same = 0;
    std::size_t other = 0;  // the oldest structures and contiguous data have no sums
    for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
      if (!source.was_read(bit / 8)) continue;  // it changes nothing
      std::string file = whole;
      file[bit / 8] = static_cast<char>(file[bit / 8] ^ (1 << (bit % 8)));
      const Read read = read_all(file);
      ++(!read.refused.empty() ? refused : read == before ? same : other);
    }
    MESSAGE(std::string(libver), ": flips: ", refused, " refused, ", same, " the same, ", other,
            " other");
    CHECK(refused > 1'000);
    // The four values in place, and what a file's oldest structures leave open.
    if (std::string_view(libver) == "latest") CHECK(other < 1'000);
  }
}

// ---- Files --------------------------------------------------------------------------------------

void check_dtypes(const Checkpoint& checkpoint) {
  CHECK(counts<float>(checkpoint, "dtypes/f4"));
  CHECK(counts<double>(checkpoint, "dtypes/f8"));
  CHECK(counts<std::int8_t>(checkpoint, "dtypes/i1"));
  CHECK(counts<std::int16_t>(checkpoint, "dtypes/i2"));
  CHECK(counts<std::int32_t>(checkpoint, "dtypes/i4"));
  CHECK(counts<std::int64_t>(checkpoint, "dtypes/i8"));
  CHECK(counts<std::uint8_t>(checkpoint, "dtypes/u1"));
  CHECK(counts<std::uint16_t>(checkpoint, "dtypes/u2"));
  CHECK(counts<std::uint32_t>(checkpoint, "dtypes/u4"));
  CHECK(counts<std::uint64_t>(checkpoint, "dtypes/u8"));
  CHECK(counts<std::complex<float>>(checkpoint, "dtypes/c8"));
  CHECK(counts<std::complex<double>>(checkpoint, "dtypes/c16"));
  CHECK(counts<float>(checkpoint, "dtypes/big_f4"));
  CHECK(counts<std::int16_t>(checkpoint, "dtypes/big_i2"));
  CHECK(counts<std::uint64_t>(checkpoint, "dtypes/big_u8"));
  CHECK(counts<std::complex<float>>(checkpoint, "dtypes/big_c8"));
  CHECK(counts<std::int64_t>(checkpoint, "dtypes/of_named"));
  CHECK(counts<std::int32_t>(checkpoint, "dtypes/arrays"));
  CHECK(std::ranges::equal(checkpoint.tensor("dtypes/arrays")->shape(),
                           std::vector<std::int64_t>{2, 3}));
  CHECK(checkpoint.tensor("dtypes/f2")->dtype() == DType::Float16);
  CHECK(checkpoint.tensor("dtypes/bool")->dtype() == DType::Bool);
  CHECK(*checkpoint.tensor("dtypes/bool")->values<std::uint8_t>() ==
        std::vector<std::uint8_t>{1, 0, 1, 0, 1, 1});
  CHECK(checkpoint.tensor("dtypes/opaque")->dtype_name() == "V2");
  CHECK(checkpoint.tensor("dtypes/text")->dtype_name() == "S2");
  CHECK(checkpoint.tensor("dtypes/date")->dtype_name() == "M8[D]");
}

void check_layouts(const Checkpoint& checkpoint) {
  for (const char* name : {"one_chunk", "few", "gzip", "all_filters", "sums", "grows", "grows_last",
                           "grows_gzip", "grows_all", "grows_all_gzip", "room", "implicit"}) {
    INFO(name);
    const std::string path = std::string("layouts/") + name;
    CHECK(checkpoint.tensor(path)->shape().size() == 2);
    CHECK(checkpoint.tensor(path)->values<float>()->size() == 600);
    CHECK(counts<float>(checkpoint, path));
  }
  CHECK(counts<float>(checkpoint, "layouts/compact"));
  CHECK(*checkpoint.tensor("layouts/scalar")->values<double>() == std::vector<double>{7});
  CHECK(checkpoint.tensor("layouts/empty")->values<float>()->empty());
  for (const char* name : {"layouts/many_chunks", "layouts/many_grow"}) {
    const auto values = checkpoint.tensor(name)->values<std::int16_t>();
    REQUIRE_MESSAGE(values, refusal(values));
    for (std::size_t i = 0; i < values->size(); ++i)
      REQUIRE((*values)[i] == static_cast<std::int16_t>(i));
  }
  CHECK(*checkpoint.tensor("layouts/never")->values<float>() == std::vector<float>(6, 1.5F));
  const auto holes = checkpoint.tensor("layouts/holes")->values<float>();
  REQUIRE(holes);
  for (std::size_t i = 0; i < 24; ++i) CHECK((*holes)[i] == (i / 6 >= 2 && i % 6 < 3 ? 5.F : -1.F));
}

void check_attributes(const Checkpoint& checkpoint) {
  CHECK(metadata(checkpoint, "/@text") == "gr\u00fc\u00df \"x\"");
  CHECK(metadata(checkpoint, "/@fixed") == "abc");
  CHECK(metadata(checkpoint, "/@words") == "[\"a\",\"\u00fc\"]");
  CHECK(metadata(checkpoint, "/@fixed_words") == "[\"ab\",\"c\"]");
  CHECK(metadata(checkpoint, "/@number") == "7");
  CHECK(metadata(checkpoint, "/@big") == "[1,-2]");
  CHECK(metadata(checkpoint, "/@half") == "[0.5,-65504.0,5.9604645e-08]");
  CHECK(metadata(checkpoint, "/@third") == "0.33333334");
  CHECK(metadata(checkpoint, "/@table") == "[[0,1,2],[3,4,5]]");
  CHECK(metadata(checkpoint, "/@yes") == "true");
  CHECK(metadata(checkpoint, "/@nothing") == "null");
  CHECK(metadata(checkpoint, "/@none") == "[]");
  CHECK(metadata(checkpoint, "/dtypes@of group") == "g");
  CHECK(metadata(checkpoint, "/dtypes/f4@of dataset") == "d");
}

TEST_CASE("what h5py wrote, by the oldest and the newest structures, opens in every access mode") {
  for (const char* libver : {"earliest", "latest"}) {
    for (const Access access : {Access::Shared, Access::Private, Access::Copy}) {
      INFO(libver);
      const auto checkpoint =
          Checkpoint::open(golden(kGolden + libver + ".h5"), {.access = access});
      REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
      CHECK(checkpoint->format() == Format::Hdf5);
      CHECK(name(checkpoint->format()) == "hdf5");
      CHECK(checkpoint->prefix() == golden(kGolden + libver));
      CHECK(checkpoint->shard_count() == 2);
      check_dtypes(*checkpoint);
      check_layouts(*checkpoint);
      check_attributes(*checkpoint);
      // Two names of one dataset, also where one is beyond a group that has two.
      CHECK(counts<float>(*checkpoint, "links/tied"));
      CHECK_FALSE(checkpoint->tensor("links/soft"));
      CHECK_FALSE(checkpoint->tensor("links/again/f4"));
      CHECK_FALSE(checkpoint->tensor("odd/lzf"));
      const auto verified = checkpoint->verify();
      REQUIRE_MESSAGE(verified, refusal(verified));
      CHECK(verified->damage.empty());
    }
  }
}

// The warnings are shortened, so this asks what they are made from.
TEST_CASE("what cannot be read is left out, and each is named with its reason") {
  const std::string file = read_file(golden(kGolden + "latest.h5"));
  MemorySource source(file);
  auto opened = hdf5::File::open(source, {});
  REQUIRE(opened);
  const auto contents = hdf5::read_contents(*opened);
  REQUIRE(contents);
  const auto left_out = [&](std::string_view name, std::string_view why) {
    return std::ranges::any_of(contents->left_out, [&](const std::string& sentence) {
      return has(sentence, std::string(name).c_str()) && has(sentence, std::string(why).c_str());
    });
  };
  CHECK(left_out("\"odd/lzf\"", "the filter 32000 (\"lzf\")"));
  CHECK(left_out("\"odd/scaleoffset\"", "the filter 6"));
  CHECK(left_out("\"odd/words\"", "texts of variable length"));
  CHECK(left_out("\"odd/ragged\"", "of variable length"));
  CHECK(left_out("\"odd/no_shape\"", "no shape"));
  CHECK(left_out("\"odd/records\"", "structures"));
  CHECK(left_out("\"odd/reference\"", "references"));
  CHECK(left_out("\"odd/away\"", "in other files"));
  CHECK(left_out("\"odd/virtual\"", "parts of other datasets"));
  CHECK(left_out("\"links/soft\"", "soft link"));
  CHECK(left_out("\"links/outside\"", "another file"));
  CHECK(left_out("\"links/cycle\"", "the same as \"/links\""));
  CHECK(left_out("again\"", "the same as") != left_out("\"dtypes\"", "the same as"));
  CHECK(left_out("\"/@record\"", "structures"));
  CHECK(contents->left_out.size() == 14);
}

TEST_CASE("a group of many links and an object of many attributes are read from their heaps") {
  const auto checkpoint = Checkpoint::open(golden(kGolden + "many.h5"));
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(checkpoint->warnings().empty());
  CHECK(checkpoint->tensor_count() == 200);
  CHECK(checkpoint->metadata_count() == 101);
  CHECK(*checkpoint->tensor("g/dataset_039" + std::string(39, 'x'))->values<float>() ==
        std::vector<float>{39});
  CHECK(metadata(*checkpoint, "/@note_99") == std::string(99, 'n'));
  CHECK(metadata(*checkpoint, "/@long") == "[\"" + std::string(6'000, 'l') + "\"]");
}

TEST_CASE("addresses of four bytes, and a superblock behind a user block") {
  const auto checkpoint = Checkpoint::open(golden(kGolden + "narrow.h5"));
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(counts<float>(*checkpoint, "a/b"));
  CHECK(counts<float>(*checkpoint, "c"));
}

TEST_CASE("a contiguous dataset is served from the file, and a whole chunk without filters too") {
  const auto checkpoint = Checkpoint::open(golden(kGolden + "latest.h5"));
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  for (const char* name : {"dtypes/f4", "layouts/compact", "layouts/one_chunk"}) {
    INFO(name);
    CHECK(checkpoint->tensor(name)->shard() == "latest.h5");
    CHECK_FALSE(checkpoint->tensor(name)->crc32c());
  }
  CHECK(checkpoint->tensor("layouts/gzip")->shard() == "latest.h5 (decoded)");
  CHECK(checkpoint->tensor("layouts/gzip")->crc32c());
  CHECK(checkpoint->tensor("layouts/gzip")->as<float>().has_value());
}

TEST_CASE("bytes in front of and behind a file, and one that is cut off") {
  Sandbox box;
  const std::string whole = read_file(golden(kGolden + "model.weights.h5"));
  write_file(box / "m.h5", std::string(512, '{') + whole + "behind");
  const auto moved = Checkpoint::open(box / "m.h5");
  REQUIRE_MESSAGE(moved, refusal(moved));
  CHECK(counts<float>(*moved, "layers/dense/vars/0"));
  write_file(box / "m.h5", std::string(500, '{') + whole);
  CHECK(has(refusal(Checkpoint::open(box / "m.h5")), "is JSON"));
  write_file(box / "m.h5", whole.substr(0, 100));
  CHECK(has(refusal(Checkpoint::open(box / "m.h5")), "it is truncated"));
  write_file(box / "m.h5", whole.substr(0, 8));
  CHECK(has(refusal(Checkpoint::open(box / "m.h5")), "ends in its superblock"));
  write_file(box / "m.h5", "");
  CHECK_FALSE(Checkpoint::open(box / "m.h5"));
}

TEST_CASE("what is not supported is refused in a sentence") {
  Sandbox box;
  const std::string whole = read_file(golden(kGolden + "tiny_latest.h5"));
  const auto with = [&](std::size_t at, char byte) {
    std::string file = whole;
    file[at] = byte;
    const auto sum = hdf5::lookup3(format::as_bytes(file).first(44));
    std::memcpy(file.data() + 44, &sum, sizeof sum);
    write_file(box / "m.h5", file);
    return refusal(Checkpoint::open(box / "m.h5"));
  };
  CHECK(with(8, 3) == "opened");
  CHECK(has(with(8, 4), "the superblock is of version 4"));
  CHECK(has(with(9, 3), "addresses have 3 bytes"));
  CHECK(has(with(11, 1), "a program has the file open for writing"));
}

TEST_CASE("an HDF5 file is converted, copied, restored and salvaged as any other") {
  Sandbox box;
  write_file(box / "m.h5", read_file(golden(kGolden + "earliest.h5")));
  CHECK(refusal(convert(box / "m.h5", Format::Cairn, {.output = box / "c", .allow_lossy = true})) ==
        "opened");
  const auto converted = Checkpoint::open(box / "c");
  REQUIRE_MESSAGE(converted, refusal(converted));
  check_dtypes(*converted);
  check_layouts(*converted);
  check_attributes(*converted);
  CHECK(refusal(copy_checkpoint(box / "m.h5", {.output = box / "e.h5"})) == "opened");
  const auto restored = restore(box / "e.h5");
  REQUIRE_MESSAGE(restored, refusal(restored));
  check_layouts(restored->checkpoint);
  CHECK(has(refusal(convert(box / "c", Format::Hdf5, {.output = box / "f"})), "Unsupported: "));
}

TEST_CASE("a damaged chunk refuses the file, and salvage leaves its dataset out") {
  Sandbox box;
  std::string file = read_file(golden(kGolden + "tiny_latest.h5"));
  MemorySource source(file);
  const std::size_t stream = file.find("\x78\x5e");
  const std::size_t at = stream == std::string::npos ? file.find("\x78\xda") : stream;
  REQUIRE(at != std::string::npos);
  file[at] = 0;
  write_file(box / "m.h5", file);
  const std::string refused = refusal(Checkpoint::open(box / "m.h5"));
  CHECK(has(refused, "Corrupt: "));
  CHECK(has(refused, "chunk "));
  CHECK(has(refused, "\"c\""));
  const auto salvaged = salvage(box / "m.h5", {.output = box / "s"});
  REQUIRE_MESSAGE(salvaged, refusal(salvaged));
  const auto rest = Checkpoint::open(box / "s");
  REQUIRE_MESSAGE(rest, refusal(rest));
  CHECK(counts<float>(*rest, "a"));
  CHECK_FALSE(rest->tensor("c"));
}

TEST_CASE("of a file that is cut off, salvage takes the tensors that are whole") {
  Sandbox box;
  const std::string whole = read_file(golden(kGolden + "model.weights.h5"));
  const auto checkpoint = Checkpoint::open(golden(kGolden + "model.weights.h5"));
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  write_file(box / "m.h5", whole.substr(0, whole.size() - 8));
  CHECK(has(refusal(Checkpoint::open(box / "m.h5")), "it is truncated"));
  const auto salvaged = salvage(box / "m.h5", {.output = box / "s"});
  REQUIRE_MESSAGE(salvaged, refusal(salvaged));
  const auto rest = Checkpoint::open(box / "s");
  REQUIRE_MESSAGE(rest, refusal(rest));
  CHECK(rest->tensor_count() >= 1);
  CHECK(counts<float>(*rest, std::string(rest->tensor_at(0).name())));
}

TEST_CASE("a dataset that was never written must not be much larger than its file") {
  const auto checkpoint = Checkpoint::open(golden(kGolden + "unwritten.h5"));
  CHECK(has(refusal(checkpoint), "68719476736 bytes when they are decoded, more than 1032 times"));
}

// ---- Keras --------------------------------------------------------------------------------------

TEST_CASE("Keras' weights have their layers' names, and bfloat16 where an attribute says so") {
  const auto plain = Checkpoint::open(golden(kGolden + "model.weights.h5"));
  REQUIRE_MESSAGE(plain, refusal(plain));
  CHECK(plain->tensor_count() == 4);
  CHECK(counts<float>(*plain, "layers/dense_1/vars/0"));
  CHECK(metadata(*plain, "/layers/dense/vars@name") == "first");
  const auto narrow = Checkpoint::open(golden(kGolden + "bfloat16.weights.h5"));
  REQUIRE_MESSAGE(narrow, refusal(narrow));
  CHECK(narrow->tensor("layers/dense/vars/0")->dtype() == DType::Bfloat16);
  CHECK(narrow->tensor("layers/dense/vars/0")->read_bytes({}).value_or(0) == 12);
}

TEST_CASE("a datatype of no bytes is refused, whatever it is") {
  for (const unsigned kind : {0u, 1u, 3u, 5u, 6u, 9u}) {
    std::string type(24, '\0');
    type[0] = static_cast<char>(0x10 | kind);
    const auto decoded = hdf5::decode_datatype({format::as_bytes(type), 0, {}});
    CHECK_FALSE(decoded);
  }
}

TEST_CASE("an attribute names a dtype of its own size alone") {
  hdf5::Datatype type;
  type.kind = hdf5::Datatype::Kind::Number;
  type.dtype = DType::Opaque;
  type.opaque_dtype = "V1";
  type.size_bytes = 2;
  type.inner = {2};
  hdf5::name_dtype(type, "bfloat16");
  CHECK(type.dtype == DType::Opaque);
  hdf5::name_dtype(type, "string");
  CHECK(type.dtype == DType::Opaque);
  hdf5::name_dtype(type, "float8_e5m2");
  CHECK(type.dtype == DType::Float8E5M2);
  CHECK(type.opaque_dtype.empty());
}

TEST_CASE("a .keras archive opens where it lies, and one that was deflated is decoded") {
  Sandbox box;
  for (const char* inside : {"model.weights.h5", "earliest.h5"}) {
    for (const bool deflated : {false, true}) {
      write_file(box / "m.keras",
                 zip_of({{.name = "metadata.json", .data = "{\"keras_version\": \"3.15.1\"}"},
                         {.name = "config.json", .data = "{}", .deflated = deflated},
                         {.name = "model.weights.h5",
                          .data = read_file(golden(kGolden + inside)),
                          .deflated = deflated}}));
      for (const Access access : {Access::Shared, Access::Copy}) {
        const auto checkpoint = Checkpoint::open(box / "m.keras", {.access = access});
        REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
        CHECK(checkpoint->format() == Format::Keras);
        CHECK(name(checkpoint->format()) == "keras");
        CHECK(checkpoint->prefix() == box / "m");
        CHECK(metadata(*checkpoint, "metadata.json") == "{\"keras_version\": \"3.15.1\"}");
        CHECK(metadata(*checkpoint, "config.json") == "{}");
        const bool model = std::string_view(inside) == "model.weights.h5";
        CHECK(checkpoint->shard_count() == (model && !deflated ? 1 : 2));
        if (model) CHECK(counts<float>(*checkpoint, "layers/dense/vars/0"));
        if (model) continue;
        check_dtypes(*checkpoint);
        check_layouts(*checkpoint);
        check_attributes(*checkpoint);
      }
    }
  }
  write_file(box / "m.keras", zip_of({{.name = "config.json", .data = "{}"}}));
  CHECK(has(refusal(Checkpoint::open(box / "m.keras")), "without the member model.weights.h5"));
  write_file(box / "m.keras", zip_of({{.name = "model.weights.h5", .data = "x", .flags = 1}}));
  CHECK(has(refusal(Checkpoint::open(box / "m.keras")), "encrypted"));
}

// Weights in two files, of which the second one has what the index says.
void write_parts(const Sandbox& box, const std::string& map) {
  write_file(box / "m_00000.weights.h5", read_file(golden(kGolden + "model.weights.h5")));
  write_file(box / "m_00001.weights.h5", read_file(golden(kGolden + "earliest.h5")));
  write_file(box / "m.weights.json",
             "{\"metadata\": {\"total_size\": 12.0}, \"weight_map\": " + map + "}");
}

TEST_CASE("Keras' weights in several files are one checkpoint") {
  Sandbox box;
  write_parts(box,
              "{\"/layers/dense/vars\": [\"m_00000.weights.h5\"],"
              " \"/x\": [\"m_00001.weights.h5\", \"m_00000.weights.h5\"]}");
  const auto checkpoint = Checkpoint::open(box / "m.weights.json");
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(checkpoint->format() == Format::Keras);
  CHECK(checkpoint->prefix() == box / "m");
  CHECK(checkpoint->shard_count() == 3);
  CHECK(metadata(*checkpoint, "total_size") == "12.0");
  CHECK(counts<float>(*checkpoint, "layers/dense/vars/0"));
  check_dtypes(*checkpoint);
  check_layouts(*checkpoint);
  CHECK(has(refusal(copy_checkpoint(box / "m.weights.json", {.output = box / "n.weights.json"})),
            "Unsupported: "));
}

TEST_CASE("an index that names what cannot be read is refused with the reason") {
  Sandbox box;
  struct Row {
    const char* map;
    const char* said;
  };
  const Row rows[] = {{"{}", "names no file"},
                      {"{\"a\": 7}", "has no file names"},
                      {"{\"a\": [7]}", "has no file names"},
                      {"[]", "is no object"},
                      {"{\"a\": \"../m.h5\"}", "no plain name"},
                      {"{\"a\": \"missing.weights.h5\"}", "names it"},
                      {"{\"a\": \"m_00000.weights.h5\"}", nullptr}};
  for (const Row& row : rows) {
    INFO(row.map);
    write_parts(box, row.map);
    const auto checkpoint = Checkpoint::open(box / "m.weights.json");
    if (row.said == nullptr) CHECK_MESSAGE(checkpoint, refusal(checkpoint));
    if (row.said != nullptr) CHECK_MESSAGE(has(refusal(checkpoint), row.said), refusal(checkpoint));
  }
  write_file(box / "m_00002.weights.h5", read_file(golden(kGolden + "model.weights.h5")));
  write_parts(box, "{\"a\": [\"m_00000.weights.h5\", \"m_00002.weights.h5\"]}");
  CHECK(has(refusal(Checkpoint::open(box / "m.weights.json")), "two of its files have a tensor"));
  for (const char* json : {"", "[]", "{}", "{\"weight_map\": {}, \"metadata\": 7}"})
    CHECK_FALSE(hdf5::decode_keras_index(format::as_bytes(json)));
}

}  // namespace
}  // namespace cairn
