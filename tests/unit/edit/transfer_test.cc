#include <doctest/doctest.h>

#include <cstring>
#include <stop_token>

#include "format/cairn/index.h"
#include "format/digest.h"
#include "format/tensorflow/bundle.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using test::Files;
using test::has;
using test::refusal;
using test::Sandbox;
using test::Value;
using test::Values;
using test::write_file;
using test::fs::path;

const Values kValues{
    {"a", test::floats({1, 2, 3})}, {"b", test::floats({4, 5})}, {"v1", test::int_scalar(10)}};

// Only the files that are shards.
std::map<std::string, test::Stamp> shards_in(const path& dir) {
  std::map<std::string, test::Stamp> shards;
  for (const auto& entry : test::fs::directory_iterator(dir)) {
    const std::string name = entry.path().filename().string();
    if (has(name, ".data-")) shards[name] = test::stamp(entry.path());
  }
  return shards;
}

TransferOptions to(const path& output) {
  TransferOptions options;
  options.output = output;
  return options;
}

TransferOptions lossy(TransferOptions options = {}) {
  options.allow_lossy = true;
  return options;
}

// A checkpoint of TensorFlow's in a directory of its own.
path golden_copy(const Sandbox& box, const path& golden) {
  const path prefix = box / golden.filename();
  test::copy_checkpoint(golden, prefix);
  return prefix;
}

// ---- Import and export: indexes over bytes that stay

TEST_CASE("import, then export, gives the very P.index that TensorFlow wrote, and moves no byte") {
  for (const path& golden : test::golden_prefixes()) {
    INFO(golden.string());
    Sandbox box;
    const path prefix = golden_copy(box, golden);
    const auto shards = shards_in(box.root());
    const std::string index = test::read_file(prefix.string() + ".index");
    const Values values = *test::values_at(prefix);

    const auto imported = import_index(prefix);
    REQUIRE_MESSAGE(imported, refusal(imported));
    CHECK(imported->prefix == prefix);
    CHECK(imported->used == Link::Auto);
    CHECK(imported->payload_bytes_copied == 0);
    CHECK((*Checkpoint::open(prefix)).format() == Format::Cairn);
    CHECK(*test::values_at(prefix) == values);

    test::fs::remove(prefix.string() + ".index");
    CHECK(*test::values_at(prefix) == values);
    const auto exported = export_index(prefix, Format::TensorFlow);
    REQUIRE_MESSAGE(exported, refusal(exported));
    CHECK(exported->not_nameable.empty());
    CHECK(test::read_file(prefix.string() + ".index") == index);
    CHECK(shards_in(box.root()) == shards);
    CHECK((*Checkpoint::open(prefix)).warnings().empty());
  }
}

TEST_CASE("import and export elsewhere link the shards") {
  for (const path& golden : test::golden_prefixes()) {
    INFO(golden.string());
    Sandbox box;
    const path prefix = golden_copy(box, golden);
    const Values values = *test::values_at(prefix);
    const auto shards = shards_in(box.root());
    const auto imported = import_index(prefix, to(box / "sub/dir/copy"));
    REQUIRE_MESSAGE(imported, refusal(imported));
    CHECK(imported->used == Link::Hard);
    CHECK(imported->payload_bytes_copied == 0);
    CHECK(*test::values_at(box / "sub/dir/copy") == values);
    CHECK((*Checkpoint::open(box / "sub/dir/copy")).format() == Format::Cairn);
    CHECK((*Checkpoint::open(box / "sub/dir/copy")).warnings().empty());
    CHECK(test::read_file(box / "sub/dir/copy.index") ==
          test::read_file(prefix.string() + ".index"));

    const auto exported = export_index(box / "sub/dir/copy", Format::TensorFlow, to(box / "e/x"));
    REQUIRE_MESSAGE(exported, refusal(exported));
    CHECK(exported->used == Link::Hard);
    CHECK(*test::values_at(box / "e/x") == values);
    CHECK((*Checkpoint::open(box / "e/x")).format() == Format::TensorFlow);
    CHECK(shards_in(box.root()) == shards);
    for (const auto& [name, stamp] : shards) {
      const std::string suffix = name.substr(prefix.filename().string().size());
      CHECK(test::stamp(box / ("e/x" + suffix)) == stamp);
    }
  }
}

TEST_CASE("a transfer to the place where it is already is a transfer beside the payload") {
  Sandbox box;
  const path prefix = golden_copy(box, test::golden("tensorflow/saver_walk/saved/train1"));
  test::fs::create_directory_symlink(box.root(), box / "same");
  const auto done = import_index(prefix, to(box / "same/train1"));
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(done->used == Link::Auto);
  CHECK((*Checkpoint::open(prefix)).format() == Format::Cairn);
}

TEST_CASE("each way of linking does what it says, or says that it cannot") {
  Sandbox box;
  const path prefix = golden_copy(box, test::golden("tensorflow/sharded/shard-42"));
  const Values values = *test::values_at(prefix);
  std::uint64_t payload_bytes = 0;
  for (const auto& [name, stamp] : shards_in(box.root())) payload_bytes += stamp.bytes.size();

  TransferOptions options = to(box / "copy/m");
  options.link = Link::Copy;
  const auto copied = import_index(prefix, options);
  REQUIRE_MESSAGE(copied, refusal(copied));
  CHECK(copied->used == Link::Copy);
  CHECK(copied->payload_bytes_copied == payload_bytes);
  CHECK(*test::values_at(box / "copy/m") == values);
  CHECK(test::fs::hard_link_count(box / "copy/m.data-00000-of-00003") == 1);

  options = to(box / "hard/m");
  options.link = Link::Hard;
  CHECK(import_index(prefix, options)->used == Link::Hard);
  CHECK(test::fs::hard_link_count(box / "hard/m.data-00000-of-00003") == 2);

  options = to(box / "reflink/m");
  options.link = Link::Reflink;
  const auto shared = import_index(prefix, options);
  if (shared) {
    CHECK(shared->used == Link::Reflink);
    CHECK(shared->payload_bytes_copied == 0);
    CHECK(*test::values_at(box / "reflink/m") == values);
  } else {
    CHECK(has(refusal(shared), "cannot share blocks"));
    CHECK(test::fs::is_empty(box / "reflink"));
  }
}

TEST_CASE("where another file system cannot link, the payload is copied, or the link refused") {
  struct stat here{};
  struct stat there{};
  Sandbox box;
  REQUIRE(::stat(box.root().c_str(), &here) == 0);
  if (::stat("/dev/shm", &there) != 0 || here.st_dev == there.st_dev) {
    MESSAGE("skipped: there is no second file system at /dev/shm");
    return;
  }
  const Sandbox other("/dev/shm");
  const path prefix = golden_copy(box, test::golden("tensorflow/saver_walk/saved/train1"));
  const auto done = import_index(prefix, to(other / "m"));
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(done->used == Link::Copy);
  CHECK(done->payload_bytes_copied ==
        test::fs::file_size(prefix.string() + ".data-00000-of-00001"));
  CHECK(*test::values_at(other / "m") == *test::values_at(prefix));
  TransferOptions options = to(other / "hard/m");
  options.link = Link::Hard;
  CHECK(has(refusal(import_index(prefix, options)), "Io: "));
  CHECK(test::fs::is_empty(other / "hard"));
}

TEST_CASE("what stands at the destination stays unless replace is said") {
  Sandbox box;
  const path prefix = golden_copy(box, test::golden("tensorflow/saver_walk/saved/train1"));
  const Values values = *test::values_at(prefix);
  test::save(box / "out/tf", {kValues, {}, {}, {.cairn_index = false}});
  test::save(box / "out/own", {kValues, {}, {}, {.tensorflow_index = false}});
  test::save(box / "out/both", {kValues});
  for (const std::string name : {"tf", "own", "both"}) {
    INFO(name);
    const Files before = test::read_files(box / "out");
    TransferOptions options = to(box / "out" / name);
    CHECK(has(refusal(import_index(prefix, options)), "Exists: "));
    CHECK(has(refusal(export_index(prefix, Format::TensorFlow, options)), "Exists: "));
    CHECK(test::read_files(box / "out") == before);
    options.replace = true;
    const auto done = import_index(prefix, options);
    REQUIRE_MESSAGE(done, refusal(done));
    CHECK(*test::values_at(box / "out" / name) == values);
    CHECK((*Checkpoint::open(box / "out" / name)).warnings().empty());
  }
}

TEST_CASE("the same import and export beside the payload twice is the same once") {
  Sandbox box;
  const path prefix = golden_copy(box, test::golden("tensorflow/saver_walk/saved/train1"));
  for (int i = 0; i < 2; ++i) {
    CHECK(refusal(import_index(prefix)) == "opened");
    CHECK(refusal(export_index(prefix, Format::TensorFlow)) == "opened");
  }
  CHECK((*Checkpoint::open(prefix)).format() == Format::Cairn);
}

TEST_CASE("what is named like a shard and that no index names stays, and is not taken for one") {
  Sandbox box;
  const path prefix = golden_copy(box, test::golden("tensorflow/sharded/shard-42"));
  const Values values = *test::values_at(prefix);
  for (const Link link : {Link::Auto, Link::Copy, Link::Hard}) {
    INFO(std::string(name(link)));
    const path dir = box / std::string(name(link));
    TransferOptions options = to(dir / "m");
    options.link = link;
    test::fs::create_directory(dir);
    write_file(dir / "m.data-00000-of-00003", "somebody's");
    REQUIRE_MESSAGE(import_index(prefix, options), refusal(import_index(prefix, options)));
    CHECK(*test::values_at(dir / "m") == values);
    CHECK((*Checkpoint::open(dir / "m")).warnings().empty());
    CHECK(has(refusal(export_index(prefix, Format::TensorFlow, options)), "Exists: "));
    options.replace = true;
    CHECK(refusal(export_index(prefix, Format::TensorFlow, options)) == "opened");
    CHECK((*Checkpoint::open(dir / "m")).format() == Format::TensorFlow);
    CHECK(*test::values_at(dir / "m") == values);
    CHECK(test::read_file(dir / "m.data-00000-of-00003") == "somebody's");
    CHECK(test::read_files(dir).size() == 5);  // it, three shards, P.index
  }
}

TEST_CASE("an import that replaces leaves its readers what they had, and no shard of it behind") {
  Sandbox box;
  const path prefix = golden_copy(box, test::golden("tensorflow/sharded/shard-42"));
  test::save(box / "out/m", {kValues});
  const auto reader = Checkpoint::open(box / "out/m");
  const Values before = *test::values_at(box / "out/m");
  const Files files = test::read_files(box / "out");
  TransferOptions options = to(box / "out/m");
  options.replace = true;
  test::fs::create_directories(box / "out/m.meta.cairn-tmp-0123456789abcdef");  // is none's
  REQUIRE(import_index(prefix, options));
  CHECK(*test::values_at(box / "out/m") == *test::values_at(prefix));
  CHECK(reader->verify()->damage.empty());
  for (const auto& [name, bytes] : files) {
    if (has(name, ".data-")) CHECK_FALSE(test::fs::exists(box / "out" / name));
  }
}

TEST_CASE("what a killed transfer to safetensors left behind goes with the next") {
  Sandbox box;
  test::save(box / "m", {kValues});
  const std::string left = ".safetensors.cairn-tmp-0123456789abcdef";
  write_file(box / ("m" + left), "half a fi");
  CHECK(refusal(export_index(box / "m", Format::Safetensors)) == "opened");
  CHECK_FALSE(test::fs::exists(box / ("m" + left)));
  write_file(box / ("n" + left), "half a fi");
  CHECK(refusal(convert(box / "m", Format::Safetensors, to(box / "n"))) == "opened");
  CHECK_FALSE(test::fs::exists(box / ("n" + left)));
}

TEST_CASE("a P.index that says something else is replaced only where replace is said") {
  Sandbox box;
  test::save(box / "m", {kValues});
  const std::string index = test::read_file(box / "m.index");
  test::fs::remove(box / "m.index");
  write_file(box / "m.index", "");
  CHECK(has(refusal(export_index(box / "m", Format::TensorFlow)), "Corrupt: "));
  test::fs::remove(box / "m.cairn");
  CHECK(has(refusal(export_index(box / "m", Format::TensorFlow)), "Corrupt: "));
}

TEST_CASE("an import that fails leaves nothing behind") {
  Sandbox box;
  const path prefix = golden_copy(box, test::golden("tensorflow/sharded/shard-42"));
  write_file(box / "out-file", "");
  CHECK(import_index(prefix, to(box / "out-file/m")).error().code != Code::Invalid);
  TransferOptions options = to(box / "out/m");
  test::fs::create_directories(box / "out/m.index/full");
  CHECK(has(refusal(import_index(prefix, options)), "Exists: "));
  options.replace = true;  // the index cannot have its name
  CHECK(refusal(import_index(prefix, options)) != "opened");
  CHECK(test::read_files(box / "out").empty());
  test::fs::remove(box / "shard-42.data-00001-of-00003");
  CHECK(has(refusal(import_index(prefix, to(box / "new/m"))), "NotFound: "));
  CHECK_FALSE(test::fs::exists(box / "new"));
}

TEST_CASE("only what an index can be added to is imported") {
  Sandbox box;
  test::save(box / "m", {kValues, {}, {}, {.tensorflow_index = false}});
  // P.cairn stands alone: there is only its record to renew, which a copy makes stale.
  CHECK(has(refusal(import_index(box / "m", to(box / "o"))), "Unsupported: "));
  const std::string shard = box / "m.data-00000-of-00001";
  test::write_file(shard, test::read_file(shard));
  const auto copied = Checkpoint::open(box / "m");
  REQUIRE(copied->warnings().size() == 1);
  CHECK(has(copied->warnings()[0], "'cairn import "));
  REQUIRE(import_index(box / "m"));
  CHECK((*Checkpoint::open(box / "m")).warnings().empty());
  test::fs::create_hard_link(box / "m.data-00000-of-00001", box / "x.safetensors");
  CHECK(has(refusal(import_index(box / "x.safetensors", to(box / "o"))), "use convert()"));
  CHECK(has(refusal(export_index(box / "m", Format::Cairn)), "Unsupported: "));
  CHECK(has(refusal(export_index(box / "m", Format::TensorFlowV1)), "Unsupported: "));
}

TEST_CASE("a file of another format gets TensorFlow's index over the same bytes") {
  Sandbox box;
  test::save(box / "m", {kValues, {}, {}, {.tensorflow_index = false}});
  test::fs::create_hard_link(box / "m.data-00000-of-00001", box / "x.v2.safetensors");
  for (const char* suffix : {".cairn", ".data-00000-of-00001"})
    test::fs::remove(box / ("m" + std::string(suffix)));
  const auto done = export_index(box / "x.v2.safetensors", Format::TensorFlow);
  REQUIRE(done);
  CHECK(done->prefix == box / "x.v2");
  CHECK(done->payload_bytes_copied == 0);
  REQUIRE(done->warnings.size() == 1);
  CHECK(has(done->warnings[0], "bytes were read to compute them"));
  CHECK(test::fs::equivalent(box / "x.v2.data-00000-of-00001", box / "x.v2.safetensors"));
  const auto checkpoint = Checkpoint::open(box / "x.v2", {.verify = Verify::Full});
  REQUIRE(checkpoint);
  CHECK(checkpoint->format() == Format::TensorFlow);
  CHECK(*test::values_of(*checkpoint) == kValues);
  const auto back = export_index(box / "x.v2", Format::Safetensors, to(box / "back"));
  REQUIRE(back);
  CHECK(test::fs::equivalent(box / "back.safetensors", box / "x.v2.safetensors"));
}

// ---- Export to safetensors

TEST_CASE("a universal checkpoint becomes a safetensors file by a link, and says what it lost") {
  Sandbox box;
  Values values = kValues;
  values["tied"] = kValues.at("a");
  values["caf\xe9"] = kValues.at("b");  // no UTF-8
  test::save(box / "m", {values, {{"words", {"x", "yz"}}}, {{"tied", "a"}}});
  const auto shards = shards_in(box.root());
  CHECK(has(refusal(export_index(box / "m", Format::Safetensors)),
            "Unsupported: the shard's safetensors header cannot hold tensor \"caf\\xe9\""));
  CHECK_FALSE(test::fs::exists(box / "m.safetensors"));
  const auto done = export_index(box / "m", Format::Safetensors, lossy());
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(done->prefix == box / "m.safetensors");
  CHECK(done->used == Link::Hard);
  CHECK(done->payload_bytes_copied == 0);
  CHECK(done->not_nameable == std::vector<std::string>{"caf\xe9", "tied", "words"});
  CHECK(*test::values_at(box / "m.safetensors") == kValues);
  CHECK(shards_in(box.root()) == shards);
  CHECK((*Checkpoint::open(box / "m")).warnings().empty());
  CHECK(refusal(export_index(box / "m", Format::Safetensors, lossy())) == "opened");
}

TEST_CASE("a payload that is no safetensors file is refused in a sentence that names convert()") {
  Sandbox box;
  const path prefix = golden_copy(box, test::golden("tensorflow/saver_walk/saved/train1"));
  CHECK(has(refusal(export_index(prefix, Format::Safetensors)), "use convert()"));
  test::save(box / "aligned", {kValues, {}, {}, {.alignment_bytes = 64}});
  CHECK(has(refusal(export_index(box / "aligned", Format::Safetensors)), "use convert()"));
  test::save(box / "twice", {kValues});
  test::save(box / "twice", {kValues});  // takes two shards
  const auto several = export_index(box / "twice", Format::Safetensors);
  CHECK(has(refusal(several), "are in several shards"));
}

TEST_CASE("another file of that name stays unless replace is said") {
  Sandbox box;
  test::save(box / "m", {kValues});
  write_file(box / "m.safetensors", "somebody's");
  CHECK(has(refusal(export_index(box / "m", Format::Safetensors)), "Exists: "));
  CHECK(test::read_file(box / "m.safetensors") == "somebody's");
  TransferOptions options;
  options.replace = true;
  CHECK(refusal(export_index(box / "m", Format::Safetensors, options)) == "opened");
  CHECK(*test::values_at(box / "m.safetensors") == kValues);
}

// ---- Convert: the payload anew

// What a target can name of these values.
Values nameable(Values values, const Transfer& done) {
  for (const std::string& name : done.not_nameable) values.erase(name);
  return values;
}

TEST_CASE("convert carries every value of every checkpoint into every format") {
  for (const path& golden : test::golden_prefixes()) {
    const Values values = *test::values_at(golden);
    for (const Format target : {Format::Cairn, Format::TensorFlow, Format::Safetensors}) {
      INFO(golden.string(), " to ", name(target));
      Sandbox box;
      const auto done = convert(golden, target, lossy(to(box / "sub/m-5")));
      REQUIRE_MESSAGE(done, refusal(done));
      CHECK(done->used == Link::Copy);
      CHECK(done->payload_bytes_copied > 0);
      const path result = box / (target == Format::Safetensors ? "sub/m-5.safetensors" : "sub/m-5");
      const auto checkpoint = Checkpoint::open(result);
      REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
      CHECK(checkpoint->format() == target);
      CHECK(*test::values_of(*checkpoint) == nameable(values, *done));
      if (target != Format::Safetensors) CHECK(done->not_nameable.empty());
      CHECK(checkpoint->verify()->damage.empty());
      if (target == Format::Safetensors) continue;
      const bool had_meta = test::fs::exists(golden.string() + ".meta");
      REQUIRE(test::fs::exists(result.string() + ".meta") == had_meta);
      if (had_meta)
        CHECK(test::read_file(result.string() + ".meta") ==
              test::read_file(golden.string() + ".meta"));
    }
  }
}

TEST_CASE("where safetensors can name nothing, the result is a valid file without tensors") {
  Sandbox box;
  test::save(box / "m", {{{"\xff", test::int_scalar(1)}}});
  CHECK(has(refusal(convert(box / "m", Format::Safetensors, to(box / "out"))), "Unsupported: "));
  CHECK_FALSE(test::fs::exists(box / "out.safetensors"));
  const auto done = convert(box / "m", Format::Safetensors, lossy(to(box / "out")));
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(done->not_nameable == std::vector<std::string>{"\xff"});
  CHECK(has(done->warnings.at(0), "left out, because a safetensors file cannot hold it: tensor"));
  const auto checkpoint = Checkpoint::open(box / "out.safetensors");
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(checkpoint->tensor_count() == 0);
  CHECK(checkpoint->safetensors_metadata("format") == "pt");
}

TEST_CASE("convert carries the step of the source, by its index or its name") {
  Sandbox box;
  const path golden = test::golden("tensorflow/saver_walk/saved/train2-9");
  REQUIRE(convert(golden, Format::Cairn, to(box / "m")));
  CHECK((*Checkpoint::open(box / "m")).step() == 9);
  REQUIRE(convert(box / "m", Format::Cairn, to(box / "n-4")));
  CHECK((*Checkpoint::open(box / "n-4")).step() == 9);
}

TEST_CASE("convert carries metadata, and ties stay tied where the format has them") {
  Sandbox box;
  Values values = kValues;
  values["tied"] = kValues.at("a");
  test::save(box / "m", {values, {}, {{"tied", "a"}}, {.metadata = {{"k", "v"}}}});
  REQUIRE(convert(box / "m", Format::Cairn, to(box / "c")));
  const auto copy = Checkpoint::open(box / "c");
  REQUIRE(copy);
  CHECK(copy->metadata("k") == "v");
  CHECK(copy->tensor("tied")->offset_bytes() == copy->tensor("a")->offset_bytes());
  CHECK(*test::values_of(*copy) == values);
  const auto done = convert(box / "m", Format::Safetensors, to(box / "s"));
  REQUIRE(done);
  CHECK(done->not_nameable.empty());
  CHECK(*test::values_at(box / "s.safetensors") == values);
}

// A bundle as a big-endian machine writes it: two tensors, no strings.
void write_big_endian(const path& prefix) {
  const std::string data = test::from_hex("000000013f80000040000000");
  format::tensorflow::BundleFacts bundle;
  bundle.header.big_endian = true;
  format::TensorFacts tensor;
  tensor.name = "i";
  tensor.dtype = DType::Int32;
  tensor.span = {0, 0, 4, format::crc32c(format::as_bytes(data.substr(0, 4)))};
  bundle.tensors.push_back(tensor);
  tensor.name = "x";
  tensor.dtype = DType::Float32;
  tensor.shape = {2};
  tensor.span = {0, 4, 8, format::crc32c(format::as_bytes(data.substr(4)))};
  bundle.tensors.push_back(tensor);
  write_file(prefix.string() + ".index",
             *format::tensorflow::encode_bundle(bundle.header, bundle.tensors));
  write_file(prefix.string() + ".data-00000-of-00001", data);
}

TEST_CASE("big-endian checkpoints read, import, and convert to little-endian ones") {
  Sandbox box;
  write_big_endian(box / "big");
  const Values values{{"i", test::int_scalar(1)}, {"x", test::floats({1, 2})}};
  CHECK(*test::values_at(box / "big") == values);
  REQUIRE(import_index(box / "big"));
  CHECK(*test::values_at(box / "big") == values);
  CHECK(has(refusal((*Checkpoint::open(box / "big")).tensor("x")->as<float>()), "big-endian"));
  for (const Format target : {Format::Cairn, Format::TensorFlow, Format::Safetensors}) {
    const std::string output(name(target));
    const auto done = convert(box / "big", target, to(box / output));
    REQUIRE_MESSAGE(done, refusal(done));
    const path result = box / (target == Format::Safetensors ? output + ".safetensors" : output);
    const auto checkpoint = Checkpoint::open(result);
    CHECK(*test::values_of(*checkpoint) == values);
    CHECK(checkpoint->tensor("x")->as<float>());
  }
}

TEST_CASE("a safetensors file converts to the others, or what they cannot hold is named") {
  Sandbox box;
  const std::string json = R"({"f4":{"dtype":"F4","shape":[4],"data_offsets":[3,5]},)"
                           R"("x":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})";
  std::string file(8, '\0');
  file[0] = static_cast<char>(json.size());
  write_file(box / "s.safetensors", file + json + "abcde");
  for (const Format target : {Format::Cairn, Format::TensorFlow, Format::Safetensors}) {
    INFO(name(target));
    const path output = box / "out" / name(target);
    const bool fits = target != Format::TensorFlow;
    if (!fits) {
      CHECK(has(refusal(convert(box / "s.safetensors", target, to(output))),
                "TensorFlow's format cannot hold tensor \"f4\" (F4 [4])"));
      CHECK_FALSE(test::fs::exists(output.string() + ".index"));
    }
    const auto done = convert(box / "s.safetensors", target, fits ? to(output) : lossy(to(output)));
    REQUIRE_MESSAGE(done, refusal(done));
    CHECK(done->not_nameable.empty() == fits);
    CHECK(done->payload_bytes_copied == (fits ? 5 : 3));
    const auto checkpoint = Checkpoint::open(done->prefix);
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    CHECK(checkpoint->tensor("f4").has_value() == fits);
    if (!fits) continue;
    CHECK(checkpoint->tensor("f4")->dtype_name() == "F4");
    CHECK(checkpoint->tensor("f4")->element_bits() == 4);
  }
  const Values values = *test::values_at(box / "out/cairn");
  CHECK(values.at("x") == Value{DType::Uint8, {3}, "abc"});
  CHECK(values.at("f4") == Value{DType::Opaque, {4}, "de"});
}

TEST_CASE("metadata that is no UTF-8 makes no file that nobody can read") {
  Sandbox box;
  test::save(box / "m", {kValues});
  const std::string before = test::read_file(box / "m.cairn");
  std::vector<std::byte> aligned(before.size());
  std::memcpy(aligned.data(), before.data(), before.size());
  format::IndexFacts facts = format::IndexView::decode(aligned)->facts();
  facts.safetensors_metadata = {{"k", "\xff"}, {"format", "flax"}};
  const auto anew = format::encode_index(facts);
  REQUIRE(anew);
  write_file(box / "m.cairn",
             std::string(reinterpret_cast<const char*>(anew->data()), anew->size()));
  CHECK(has(refusal(convert(box / "m", Format::Safetensors, to(box / "s"))), "__metadata__ \"k\""));
  const auto done = convert(box / "m", Format::Safetensors, lossy(to(box / "s")));
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(done->safetensors_metadata_left_out == std::vector<std::string>{"k"});
  CHECK((*Checkpoint::open(done->prefix)).safetensors_metadata("format") == "flax");
  CHECK(has(refusal(convert(box / "m", Format::Cairn, to(box / "c"))), "Invalid: "));
}

TEST_CASE("a conversion that is cancelled leaves nothing") {
  Sandbox box;
  for (const Format target : {Format::Cairn, Format::TensorFlow, Format::Safetensors}) {
    std::stop_source source;
    source.request_stop();
    TransferOptions options = to(box / "m");
    options.exec.stop = source.get_token();
    const path golden = test::golden("tensorflow/sharded/shard-42");
    CHECK(has(refusal(convert(golden, target, options)), "Cancelled: "));
    CHECK(test::fs::is_empty(box.root()));
  }
}

TEST_CASE("a conversion of damaged bytes is refused and leaves nothing") {
  Sandbox box;
  const path prefix = box / "in/m";
  test::copy_checkpoint(test::golden("tensorflow/saver_walk/saved/train1"), prefix);
  std::string bytes = test::read_file(prefix.string() + ".data-00000-of-00001");
  bytes[0] ^= 1;
  write_file(prefix.string() + ".data-00000-of-00001", bytes);
  test::fs::create_directory(box / "out");
  for (const Format target : {Format::Cairn, Format::TensorFlow, Format::Safetensors}) {
    const auto done = convert(prefix, target, to(box / "out/m"));
    CHECK(has(refusal(done), "Corrupt: "));
    CHECK(test::fs::is_empty(box / "out"));
  }
}

TEST_CASE("convert writes over a checkpoint, its own source too, only where replace is said") {
  Sandbox box;
  const path prefix = golden_copy(box, test::golden("tensorflow/partitioned/part"));
  const Values values = *test::values_at(prefix);
  for (const Format target : {Format::Cairn, Format::TensorFlow, Format::Cairn}) {
    TransferOptions options = to(prefix);
    CHECK(has(refusal(convert(prefix, target, options)), "Exists: "));
    options.replace = true;
    const auto done = convert(prefix, target, options);
    REQUIRE_MESSAGE(done, refusal(done));
    const auto checkpoint = Checkpoint::open(prefix);
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    CHECK(checkpoint->format() == target);
    CHECK(checkpoint->warnings().empty());
    CHECK(*test::values_of(*checkpoint) == values);
  }
  REQUIRE(convert(prefix, Format::Safetensors, to(prefix)));
  CHECK(has(refusal(convert(prefix, Format::Safetensors, to(prefix))), "Exists: "));
  TransferOptions options = to(prefix);
  options.replace = true;
  REQUIRE(convert(prefix.string() + ".safetensors", Format::Safetensors, options));
  CHECK(*test::values_at(prefix.string() + ".safetensors") == values);
}

TEST_CASE("convert needs an output, and writes no V1 checkpoints") {
  const path golden = test::golden("tensorflow/saver_walk/saved/train1");
  CHECK(has(refusal(convert(golden, Format::Cairn, {})), "Invalid: "));
  CHECK(has(refusal(convert(golden, Format::TensorFlowV1, to("/nowhere/m"))), "Unsupported: "));
}

}  // namespace
}  // namespace cairn
