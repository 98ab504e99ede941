// PyTorch's files: what torch.save and TorchScript wrote, opened in every access mode; archives
// that nobody should believe; and pickles that want to run something.

#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/convert.h"
#include "cairn/restore.h"
#include "cairn/salvage.h"
#include "format/digest.h"
#include "format/le.h"
#include "tests/unit/open/torch_samples.h"
#include "tests/unit/open/zip_samples.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using namespace std::string_literals;
using test::archive;
using test::Files;
using test::golden;
using test::has;
using test::number;
using test::read_file;
using test::refusal;
using test::Sandbox;
using test::tensor;
using test::text;
using test::TorchRecord;
using test::write_file;

// A line of expected.tsv: what torch 2.15.0 read.
struct Expected {
  std::string file, name, dtype, shape;
  std::uint32_t crc32c = 0;
};

std::vector<Expected> expected() {
  std::vector<Expected> all;
  std::istringstream lines(read_file(golden("pytorch") / "expected.tsv"));
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    Expected one;
    std::string sum;
    std::getline(fields, one.file, '\t');
    std::getline(fields, one.name, '\t');
    std::getline(fields, one.dtype, '\t');
    std::getline(fields, one.shape, '\t');
    std::getline(fields, sum, '\t');
    one.crc32c = static_cast<std::uint32_t>(std::stoul(sum, nullptr, 16));
    all.push_back(one);
  }
  REQUIRE(all.size() > 100);
  return all;
}

std::string shape_of(const Tensor& each) {
  std::string shape;
  for (const std::int64_t size : each.shape())
    shape += (shape.empty() ? "" : ",") + std::to_string(size);
  return shape;
}

// A module's tensors are called by its attributes, without the names of what PyTorch keeps them in.
void check_tensor(const Checkpoint& checkpoint, const Expected& row) {
  const auto found = checkpoint.tensor(row.name);
  REQUIRE_MESSAGE(found, refusal(found));
  CHECK(found->dtype_name() == row.dtype);
  CHECK(shape_of(*found) == row.shape);
  const auto value = test::value_of(*found);
  REQUIRE_MESSAGE(value, refusal(value));
  CHECK(format::crc32c(format::as_bytes(value->bytes)) == row.crc32c);
}

TEST_CASE("files of PyTorch have the tensors that PyTorch reads, in every access mode") {
  for (const Access access : {Access::Shared, Access::Private, Access::Copy}) {
    for (const Expected& row : expected()) {
      INFO(row.file << " " << row.name);
      OpenOptions options;
      options.access = access;
      const auto checkpoint = Checkpoint::open(golden("pytorch") / row.file, options);
      REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
      CHECK(checkpoint->format() == Format::PyTorch);
      check_tensor(*checkpoint, row);
    }
  }
  CHECK(name(Format::PyTorch) == "pytorch");
}

TEST_CASE("files of PyTorch are restored by every method, and converted") {
  Sandbox box;
  std::string before;
  for (const Expected& row : expected()) {
    if (row.file == before) continue;
    before = row.file;
    INFO(row.file);
    for (const IoMethod method :
         {IoMethod::Map, IoMethod::Populate, IoMethod::Read, IoMethod::Direct}) {
      RestoreOptions options;
      options.method = method;
      const auto restored = restore(golden("pytorch") / row.file, options);
      if (method == IoMethod::Direct && !restored) continue;  // not on every file system
      REQUIRE_MESSAGE(restored, refusal(restored));
      check_tensor(restored->checkpoint, row);
    }
    TransferOptions options{.output = box / row.file};
    options.allow_lossy = true;
    const auto done = convert(golden("pytorch") / row.file, Format::Cairn, options);
    REQUIRE_MESSAGE(done, refusal(done));
    const auto converted = Checkpoint::open(box / row.file);
    REQUIRE_MESSAGE(converted, refusal(converted));
    check_tensor(*converted, row);
  }
}

std::string metadata_of(const Checkpoint& checkpoint, std::string_view key) {
  for (std::size_t i = 0; i < checkpoint.metadata_count(); ++i) {
    if (checkpoint.metadata_at(i).first == key)
      return std::string(checkpoint.metadata_at(i).second);
  }
  return "absent";
}

TEST_CASE("numbers and texts are metadata, tied tensors lie in one place") {
  const auto nested = Checkpoint::open(golden("pytorch") / "nested.pth");
  REQUIRE_MESSAGE(nested, refusal(nested));
  CHECK(nested->prefix() == golden("pytorch") / "nested");
  CHECK(nested->warnings().empty());
  CHECK(metadata_of(*nested, "epoch") == "3");
  CHECK(metadata_of(*nested, "name") == "r\xc3\xbcn \xe2\x9c\x93");
  CHECK(metadata_of(*nested, "big") == "1180591620717411303424");
  CHECK(metadata_of(*nested, "history.1.2") == "null");
  CHECK(metadata_of(*nested, "optimizer.param_groups.0.betas.1") == "0.999");
  CHECK(metadata_of(*nested, "optimizer.param_groups.0.amsgrad") == "false");
  const auto tied = Checkpoint::open(golden("pytorch") / "tied.pt");
  REQUIRE_MESSAGE(tied, refusal(tied));
  CHECK(tied->tensor("embed.weight")->offset_bytes() ==
        tied->tensor("lm_head.weight")->offset_bytes());
}

TEST_CASE("objects of other classes are left out by name, and keep nobody from their tensors") {
  const auto unknown = Checkpoint::open(golden("pytorch") / "unknown_class.pt");
  REQUIRE_MESSAGE(unknown, refusal(unknown));
  REQUIRE(unknown->warnings().size() == 2);
  CHECK(has(unknown->warnings()[0],
            "\"config\" is left out: it is an object of the class "
            "\"acme_trainer.config.TrainConfig\""));
  CHECK(unknown->tensor("config.scale"));
  CHECK(metadata_of(*unknown, "config.lr") == "absent");
  CHECK(metadata_of(*unknown, "step") == "728577");
  Sandbox box;
  const auto lossy =
      convert(golden("pytorch") / "unknown_class.pt", Format::Cairn, {.output = box / "m"});
  CHECK(has(refusal(lossy), "allow_lossy"));
  const auto exotic = Checkpoint::open(golden("pytorch") / "exotic.pt");
  REQUIRE_MESSAGE(exotic, refusal(exotic));
  REQUIRE(exotic->warnings().size() == 3);
  CHECK(has(exotic->warnings()[0], "\"sparse\" is left out: it is a sparse tensor"));
  CHECK(has(exotic->warnings()[2], "\"quantized\" is left out: it is a quantized tensor"));
}

// ---- Archives that are made here ----------------------------------------------------------------

struct Refused {
  std::vector<TorchRecord> records;
  const char* said;
};

TEST_CASE("archives that are damaged, or that lie, are refused") {
  Sandbox box;
  const std::string four = tensor({.numel = 4, .shape = {4}, .strides = {1}});
  const TorchRecord data{"data/0", std::string(16, 'x')};
  const auto pickled = [](const std::string& value) {
    return TorchRecord{"data.pkl", "\x80\2}" + text("w") + value + "s."};
  };
  const auto view = [&](test::TensorCall call) { return std::vector{pickled(tensor(call)), data}; };
  const std::int64_t huge = std::int64_t{1} << 40;
  const Refused rows[] = {
      {{data}, "no member data.pkl"},
      {{{"readme", "x"}}, "none of PyTorch's"},
      {{pickled(four)}, "the archive has no member \"m/data/0\""},
      {{pickled(four), {"data/0", std::string(15, 'x')}}, "its storage has 15 bytes"},
      {{{"data.pkl", "\x80\2}"}, data}, "cut off"},
      {{pickled(four), data, {"byteorder", "middle"}}, "it says \"middle\""},
      {view({.shape = {5}, .strides = {1}}), "reaches beyond the 16 bytes"},
      {view({.offset = 9, .shape = {1}, .strides = {1}}), "reaches beyond"},
      {view({.shape = {2, 2}, .strides = {4, 1}}), "reaches beyond"},
      {view({.shape = {huge, huge}, .strides = {1, 1}}), "its shape is too large"},
      {view({.shape = {huge}, .strides = {huge}}), "reaches beyond"},
      {view({.shape = {2}, .strides = {}}), "1 dimensions and 0 strides"},
      {view({.offset = -1, .shape = {1}, .strides = {1}}), "its offset is no number"},
      {view({.shape = {-1}, .strides = {1}}), "no number of 0 and more"},
      {view({.shape = {huge}, .strides = {0}}), "more than 64 times the 16 bytes"},
      {{pickled("K\1Q"), data}, "refers to something beside it that is no storage"},
      {{pickled("\x82\1"), data}, "extension code"},
      {{pickled("ctorch._utils\n_rebuild_tensor_v2\n)R"), data}, "has 0 arguments"},
      {{pickled("ctorch._utils\n_rebuild_parameter\nNN\x86R"), data}, "is given what is no tensor"},
  };
  for (const Refused& row : rows) {
    write_file(box / "m.pt", archive(row.records));
    const std::string said = refusal(Checkpoint::open(box / "m.pt"));
    CHECK_MESSAGE(has(said, row.said), said << " not: " << row.said);
  }
}

TEST_CASE("an archive at the end of another file is not that file") {
  Sandbox box;
  const std::string inner =
      archive({{"data.pkl", "\x80\2}" + text("w") + tensor({.shape = {4}, .strides = {1}}) + "s."},
               {"data/0", "0123456789abcdef"}});
  write_file(box / "m.pt", inner);
  CHECK(Checkpoint::open(box / "m.pt"));
  // An exported program, cut off behind an archive that it holds.
  const std::string outer = archive({{"data/weights/weight_0", "x"}, {"model.pt", inner}});
  write_file(box / "m.pt", outer.substr(0, outer.find(inner) + inner.size()));
  const std::string said = refusal(Checkpoint::open(box / "m.pt"));
  CHECK_MESSAGE(has(said, "and not with the file"), said);
}

Checkpoint open_value(const Sandbox& box, const std::string& value) {
  write_file(box / "m.pt",
             archive({{"data.pkl", "\x80\2" + value + "."}, {"data/0", "0123456789abcdef"}}));
  auto checkpoint = Checkpoint::open(box / "m.pt");
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  return *std::move(checkpoint);
}

TEST_CASE("two ways that give one name are both called by their pointers") {
  Sandbox box;
  const std::string one = tensor({.shape = {1}, .strides = {1}});
  const std::string two = tensor({.offset = 1, .shape = {1}, .strides = {1}});
  // {"a.b": one, "a": {"b": two, "c/~d": one}, "c": one, "c": two}: of the last, Python keeps two.
  const auto checkpoint =
      open_value(box, "}(" + text("a.b") + one + text("a") + "}(" + text("b") + two + text("c/~d") +
                          one + "u" + text("c") + one + text("c") + two + "u");
  REQUIRE(checkpoint.tensor_count() == 4);
  const auto first_byte = [&](const char* tensor_name) {
    const auto found = checkpoint.tensor(tensor_name);
    REQUIRE_MESSAGE(found, refusal(found));
    return static_cast<char>(found->bytes()->front());
  };
  CHECK(first_byte("/a.b") == '0');
  CHECK(first_byte("/a/b") == '4');
  CHECK(first_byte("a.c/~d") == '0');
  CHECK(first_byte("c") == '4');
  REQUIRE(checkpoint.warnings().size() == 1);
  CHECK(has(checkpoint.warnings()[0], "several tensors are called \"a.b\""));
}

TEST_CASE("a value that holds itself is cut, and what would become too many is refused") {
  Sandbox box;
  const std::string one = tensor({.shape = {1}, .strides = {1}});
  const auto checkpoint = open_value(box, "}q\5(" + text("w") + one + text("self") + "h\5u");
  CHECK(checkpoint.tensor_count() == 1);
  REQUIRE(checkpoint.warnings().size() == 1);
  CHECK(has(checkpoint.warnings()[0], "\"self\" holds itself"));
  const auto refused_value = [&](const std::string& value) {
    write_file(box / "m.pt", archive({{"data.pkl", "\x80\2" + value + "."}}));
    return refusal(Checkpoint::open(box / "m.pt"));
  };
  // A list of itself twice, 40 deep.
  std::string doubled = "]";
  for (int i = 0; i < 40; ++i) doubled += "2\x86";
  CHECK(has(refused_value(doubled), "Unsupported: "));
  std::string deep = "N";
  for (int i = 0; i < 1'001; ++i) deep += "\x85";
  CHECK(has(refused_value(deep), "deeper than the limit of 1000"));
  const auto shallow = open_value(box, "}" + text("w") + one + "s" + std::string(998, '\x85'));
  CHECK(shallow.tensor_count() == 1);
  // One tensor under many names: each of two bytes costs some 300.
  const auto repeated = [&](int times) {
    std::string list = "](" + one + "q\5";
    for (int i = 1; i < times; ++i) list += "h\5";
    return list + "e";
  };
  CHECK(open_value(box, repeated(300)).tensor_count() == 300);
  CHECK(has(refused_value(repeated(2'000)), "that are allowed for a pickle of its size"));
  // Many numbers are one value of metadata.
  std::string numbers = "}" + text("w") + one + "s" + text("n") + "](";
  for (int i = 0; i < 2'000; ++i) numbers += "K\7";
  const auto many = open_value(box, numbers + "es");
  REQUIRE(many.metadata_count() == 1);
  CHECK(has(metadata_of(many, "n"), "[7,7,"));
}

TEST_CASE("a value whose key is no text and no number is left out, and the others are read") {
  Sandbox box;
  const std::string one = tensor({.shape = {4}, .strides = {1}});
  const auto read = open_value(
      box, "}(" + text("w") + one + "K\1\x85" + one + text("d") + "}K\1\x85" + one + "su");
  CHECK(read.tensor_count() == 1);
  REQUIRE(read.warnings().size() == 2);
  CHECK(has(read.warnings()[0], ": a value is left out: its key is no text and no number"));
  CHECK(has(read.warnings()[1], "a value in \"d\" is left out"));
}

TEST_CASE("an integer of too many digits is left out by its name") {
  Sandbox box;
  const std::string one = tensor({.shape = {4}, .strides = {1}});
  const auto integer = [](std::size_t bytes) {
    return "\x8a" + std::string(1, static_cast<char>(bytes)) + std::string(bytes, '\x7f');
  };
  const auto alone = open_value(
      box, "}(" + text("w") + one + text("fits") + integer(128) + text("big") + integer(129) + "u");
  CHECK(metadata_of(alone, "fits").size() == 308);
  CHECK(metadata_of(alone, "big") == "absent");
  REQUIRE(alone.warnings().size() == 1);
  CHECK(has(alone.warnings()[0], "\"big\" is left out: it is an integer of 129 bytes"));
  std::string numbers = "}" + text("w") + one + "s" + text("n") + "](" + integer(129);
  for (int i = 0; i < 2'000; ++i) numbers += "K\7";
  const auto listed = open_value(box, numbers + "es");
  CHECK(metadata_of(listed, "n") == "absent");
  REQUIRE(listed.warnings().size() == 1);
  CHECK(has(listed.warnings()[0], "\"n\" is left out: a number in it"));
}

TEST_CASE("what a pickle wants run is not run, and its tensors are read") {
  Sandbox box;
  const std::string canary = (box / "canary").string();
  const std::string one = tensor({.shape = {4}, .strides = {1}});
  const std::string call = "cos\nsystem\n" + text("touch " + canary) + "\x85R";
  for (const std::string& hook : {call, "(cos\nsystem\n" + text("touch " + canary) + "o",
                                  "(" + text("touch " + canary) + "ios\nsystem\n",
                                  "cos\nsystem\n" + text("touch " + canary) + "\x85\x81",
                                  "\x8c\2os\x8c\6system\x93" + text("touch " + canary) + "\x85R"}) {
    const auto checkpoint = open_value(box, "}(" + text("w") + one + text("hook") + hook + "u");
    CHECK(checkpoint.tensor_count() == 1);
    CHECK(checkpoint.tensor("w")->size_bytes() == 16);
    REQUIRE(checkpoint.warnings().size() == 1);
    CHECK(has(checkpoint.warnings()[0], "\"os.system\""));
  }
  const std::string view =
      "ctorch._utils\n_rebuild_tensor_v2\n(" + call + std::string("K\0(K\4t(K\1t\x89NtR", 14);
  const auto stored_by_call = open_value(box, "}(" + text("w") + one + text("x") + view + "u");
  CHECK(stored_by_call.tensor_count() == 1);
  CHECK(has(stored_by_call.warnings()[0], "\"x\" is left out: its storage is what a call would"));
  const auto keyed = open_value(box, "}(" + text("w") + one + call + one + "u");
  CHECK(keyed.tensor_count() == 1);
  write_file(box / "m.pt", archive({{"data.pkl", "\x80\2" + call + "."}}));
  CHECK(has(refusal(Checkpoint::open(box / "m.pt")), "no tensor of it can be read"));
  CHECK_FALSE(test::fs::exists(canary));
}

TEST_CASE("a tensor whose elements lie over each other is put in order") {
  Sandbox box;
  const auto checkpoint = open_value(
      box, "}" + text("w") + tensor({.offset = 1, .shape = {3, 2}, .strides = {0, 1}}) + "s");
  const auto values = test::value_of(*checkpoint.tensor("w"));
  REQUIRE_MESSAGE(values, refusal(values));
  CHECK(values->bytes == "456789ab456789ab456789ab");
  CHECK(checkpoint.tensor("w")->bytes().has_value());
}

TEST_CASE("a tensor that becomes more than 64 times as large is read if the caller wants it") {
  Sandbox box;
  const std::int64_t many = 1'000;
  const std::string value = "}(" + text("w") + tensor({.shape = {many, 4}, .strides = {0, 1}}) +
                            text("v") + tensor({.shape = {4}, .strides = {1}}) + "u";
  const auto left_out = open_value(box, value);
  CHECK(left_out.tensor_count() == 1);
  REQUIRE(left_out.warnings().size() == 1);
  CHECK(has(left_out.warnings()[0], "--expand"));
  OpenOptions options;
  options.formats.expand = true;
  const auto checkpoint = Checkpoint::open(box / "m.pt", options);
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  const auto values = test::value_of(*checkpoint->tensor("w"));
  REQUIRE_MESSAGE(values, refusal(values));
  REQUIRE(values->bytes.size() == 16'000);
  for (std::size_t at = 0; at < values->bytes.size(); at += 16)
    CHECK(values->bytes.substr(at, 16) == "0123456789abcdef");
  const std::int64_t huge = std::int64_t{1} << 40;
  write_file(box / "m.pt",
             archive({{"data.pkl", "\x80\2" + tensor({.shape = {huge}, .strides = {0}}) + "."},
                      {"data/0", "0123456789abcdef"}}));
  CHECK(has(refusal(Checkpoint::open(box / "m.pt", options)), "OutOfMemory: "));
}

TEST_CASE("salvage brings out what a damaged archive still has") {
  Sandbox box;
  const std::string value = "}(" + text("a") + tensor({.shape = {4}, .strides = {1}}) + text("b") +
                            tensor({.shape = {5}, .strides = {1}}) + text("c") +
                            tensor({.key = "1", .shape = {1}, .strides = {1}}) + "u";
  write_file(box / "m.pt",
             archive({{"data.pkl", "\x80\2" + value + "."}, {"data/0", "0123456789abcdef"}}));
  CHECK_FALSE(Checkpoint::open(box / "m.pt"));
  const auto salvaged = salvage(box / "m.pt", {.output = box / "s"});
  REQUIRE_MESSAGE(salvaged, refusal(salvaged));
  const auto values = test::values_at(box / "s");
  REQUIRE_MESSAGE(values, refusal(values));
  REQUIRE(values->size() == 1);
  CHECK(values->begin()->second.bytes == "0123456789abcdef");
}

TEST_CASE("exported programs have their weights and constants, which JSON describes") {
  Sandbox box;
  const auto config = [](const std::string& entries) { return R"({"config": {)" + entries + "}}"; };
  const auto entry = [](const char* record, const char* sizes, const char* strides) {
    return R"({"path_name": ")"s + record + R"(", "use_pickle": false, "tensor_meta": {"dtype": 7,
      "layout": 7, "storage_offset": {"as_int": 0}, "sizes": [)" +
           sizes + R"(], "strides": [)" + strides + "]}}";
  };
  const auto write = [&](const std::string& weights) {
    write_file(box / "m.pt2", archive({{"data/weights/weight_0", "0123456789abcdef"},
                                       {"data/weights/model_weights_config.json", config(weights)},
                                       {"data/constants/tensor_0", "wxyz"},
                                       {"data/constants/model_constants_config.json",
                                        config(R"("c": )" + entry("tensor_0", "", ""))}}));
    return Checkpoint::open(box / "m.pt2");
  };
  const char* const two = R"({"as_int": 2}, {"as_int": 2})";
  const auto checkpoint = write(R"("w": )" + entry("weight_0", two, two) + R"(, "no": )" +
                                R"({"path_name": "x", "tensor_meta": null})");
  CHECK_MESSAGE(has(refusal(checkpoint), "tensor \"w\": it reaches beyond the 16 bytes"),
                refusal(checkpoint));
  const auto good = write(R"("w": )" + entry("weight_0", two, R"({"as_int": 1}, {"as_int": 2})") +
                          R"(, "no": {"path_name": "x", "tensor_meta": null})");
  REQUIRE_MESSAGE(good, refusal(good));
  CHECK(good->format() == Format::PyTorch);
  CHECK(good->tensor_count() == 2);
  CHECK(test::value_of(*good->tensor("w"))->bytes == "012389ab4567cdef");
  CHECK(test::value_of(*good->tensor("c"))->bytes == "wxyz");
  REQUIRE(good->warnings().size() == 2);
  CHECK(has(good->warnings()[0], "tensor \"no\" is left out: it is no tensor"));
  CHECK(has(refusal(write(R"("w": )" + entry("weight_1", "", ""))), "no record \"weight_1\""));
  CHECK(has(refusal(write(R"("w": 5)")), "nothing says which record"));
  CHECK(has(refusal(write(R"("w" 5)")), "no JSON"));
  CHECK(has(refusal(write(R"("c": )" + entry("weight_0", "", ""))), "two tensors are called"));
}

TEST_CASE("tensors that TorchScript's code uses are read, and may be all there are") {
  Sandbox box;
  const std::string object = "\x80\2c__torch__\nNet\n)\x81}b.";
  const std::string constants =
      "\x80\2(" + number(7) + tensor({.shape = {2, 2}, .strides = {2, 1}}) + "t.";
  write_file(box / "m.pt", archive({{"data.pkl", object},
                                    {"code/net.py", ""},
                                    {"constants/0", "0123456789abcdef"},
                                    {"constants.pkl", constants}}));
  const auto checkpoint = Checkpoint::open(box / "m.pt");
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(checkpoint->tensor_count() == 1);
  CHECK(checkpoint->metadata().empty());
  CHECK(test::value_of(*checkpoint->tensor("CONSTANTS.1"))->bytes == "0123456789abcdef");

  // An attribute of that name.
  const std::string list = "\x80\2}" + text("CONSTANTS") + "]" + number(7) + "a" +
                           tensor({.shape = {4}, .strides = {1}}) + "as.";
  write_file(box / "twice.pt", archive({{"data.pkl", list},
                                        {"data/0", "0123456789abcdef"},
                                        {"constants/0", "0123456789abcdef"},
                                        {"constants.pkl", constants}}));
  CHECK(has(refusal(Checkpoint::open(box / "twice.pt")), "two tensors are called \"CONSTANTS.1\""));
}

TEST_CASE("a file of before the archives is known, whatever the protocol of its pickles") {
  Sandbox box;
  const std::string whole = read_file(golden("pytorch") / "legacy.pt");
  const std::string number = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."s;
  REQUIRE(whole.starts_with("\x80\2" + number));
  write_file(box / "m.pt", whole);
  const auto expected = test::values_at(box / "m.pt");
  REQUIRE(expected);
  const std::string frame = "\x95\x0d\0\0\0\0\0\0\0"s;
  for (const std::string& first : {"L119547037146038801333356L\n."s, "\x80\3" + number,
                                   "\x80\4" + frame + number, "\x80\5" + frame + number}) {
    INFO(first);
    for (const char* const name : {"m.pt", "m"}) {
      write_file(box / name, first + whole.substr(number.size() + 2));
      const auto values = test::values_at(box / name);
      REQUIRE_MESSAGE(values, refusal(values));
      CHECK(*values == *expected);
    }
  }
}

// ---- Damage -------------------------------------------------------------------------------------

TEST_CASE("every cut of a file is refused, and every flip refused, the same, or other values") {
  Sandbox box;
  for (const char* const file : {"lone.pt", "legacy.pt", "rezipped.pt"}) {
    const std::string whole = read_file(golden("pytorch") / file);
    for (std::size_t size = 0; size < whole.size(); size += 7) {
      write_file(box / file, whole.substr(0, size));
      INFO(file << " cut at " << size);
      CHECK_FALSE(Checkpoint::open(box / file));
    }
    for (std::size_t at = 0; at < whole.size(); at += 3) {
      std::string flipped = whole;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << (at % 8)));
      write_file(box / file, flipped);
      const auto values = test::values_at(box / file);
      if (!values) CHECK(values.error().code != Code::Io);
    }
  }
}

// ---- Several files ------------------------------------------------------------------------------

TEST_CASE("a model in several files is one checkpoint, by its index and by its directory") {
  Sandbox box;
  const auto file = [](const char* tensor_name) {
    return archive({{"data.pkl",
                     "\x80\2}" + text(tensor_name) + tensor({.shape = {4}, .strides = {1}}) + "s."},
                    {"data/0", "0123456789abcdef"}});
  };
  write_file(box / "pytorch_model-00001-of-00002.bin", file("a"));
  write_file(box / "pytorch_model-00002-of-00002.bin", file("b"));
  write_file(box / "pytorch_model.bin.index.json",
             R"({"metadata": {"total_size": 32}, "weight_map": {
                "a": "pytorch_model-00001-of-00002.bin",
                "b": "pytorch_model-00002-of-00002.bin"}})");
  for (const auto& path : {box.root(), box / "pytorch_model.bin.index.json"}) {
    const auto checkpoint = Checkpoint::open(path);
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    CHECK(checkpoint->format() == Format::PyTorch);
    CHECK(checkpoint->tensor_count() == 2);
    CHECK(metadata_of(*checkpoint, "total_size") == "32");
    CHECK(test::value_of(*checkpoint->tensor("b"))->bytes == "0123456789abcdef");
  }
  test::fs::remove(box / "pytorch_model-00002-of-00002.bin");
  CHECK(has(refusal(Checkpoint::open(box.root())), "pytorch_model-00002-of-00002.bin"));
  write_file(box / "pytorch_model.bin", file("whole"));
  const auto alone = Checkpoint::open(box.root());
  REQUIRE_MESSAGE(alone, refusal(alone));
  CHECK(alone->tensor("whole"));
}

}  // namespace
}  // namespace cairn
