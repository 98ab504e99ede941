// P.index and P.cairn get their names one after the other. In between, and after a publisher that
// died or failed there, the checkpoint is the old one or the new one, whole.

#include <doctest/doctest.h>

#include "cairn/copy.h"
#include "cairn/edit.h"
#include "cairn/salvage.h"
#include "lib/open/load.h"
#include "lib/saver/checkpoint_files.h"
#include "lib/write/free_space.h"
#include "lib/write/publisher.h"
#include "lib/write/temp_file.h"
#include "tests/unit/saver/saver_parts.h"
#include "tests/unit/write/failing_calls.h"

namespace cairn {
namespace {

using test::FailingCall;
using test::FailingCalls;
using test::has;
using test::refusal;
using test::Sandbox;
using test::fs::path;
using Names = std::vector<std::string>;

const char* const kTail = ".cairn-tmp-0123456789abcdef";

// Metadata, a pin, a float that TensorFlow can hold, and one that P.cairn alone can.
enum class Tensors : std::uint8_t { Both, TensorFlows };

void save_mixed(const path& prefix, Tensors tensors = Tensors::Both) {
  WriterOptions options;
  options.metadata = {{"who", "me"}};
  std::vector<TensorSpec> specs{{"norm", DType::Float32, {2}}};
  if (tensors == Tensors::Both) specs.push_back({"fine", DType::Opaque, {4}, {"F4", 4}});
  auto writer = Writer::create(prefix, specs, options);
  REQUIRE_MESSAGE(writer, refusal(writer));
  const std::array<float, 2> norm{1, 2};
  const std::array fine{std::byte{0x12}, std::byte{0x34}};
  REQUIRE(writer->write("norm", std::as_bytes(std::span(norm))));
  if (tensors == Tensors::Both) REQUIRE(writer->write("fine", fine));
  REQUIRE(writer->commit());
  auto saver = Saver::open(prefix.parent_path());
  REQUIRE(saver);
  const auto pinned = saver->pin(prefix);
  REQUIRE_MESSAGE(pinned, refusal(pinned));
}

Names names_in(const path& prefix) {
  const auto checkpoint = Checkpoint::open(prefix);
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(checkpoint->warnings().empty());
  CHECK(checkpoint->format() == Format::Cairn);
  CHECK(checkpoint->metadata("who") == "me");
  CHECK(checkpoint->metadata("cairn.pinned").has_value());
  const auto verified = checkpoint->verify();
  REQUIRE(verified);
  CHECK(verified->damage.empty());
  Names names;
  for (std::size_t i = 0; i < checkpoint->tensor_count(); ++i)
    names.emplace_back(checkpoint->tensor_at(i).name());
  return names;
}

const Names kOld{"fine", "norm"};
const Names kNew{"fine", "renamed"};

bool has_temporaries(const path& dir) {
  return std::ranges::any_of(test::read_files(dir),
                             [](const auto& file) { return has(file.first, ".cairn-tmp-"); });
}

// A checkpoint whose rename in place has its new P.index and still its old P.cairn.
struct HalfRenamed {
  Sandbox box;
  path prefix = box / "m";
  path waiting = prefix.string() + ".cairn" + kTail;

  HalfRenamed() {
    save_mixed(prefix);
    const path old = box / "kept";
    test::fs::create_hard_link(prefix.string() + ".cairn", old);
    rename("norm", "renamed");
    test::fs::rename(prefix.string() + ".cairn", waiting);
    test::fs::rename(old, prefix.string() + ".cairn");
  }

  void rename(const char* from, const char* to) const {
    TransferOptions options;
    options.replace = true;
    const auto done = rename_tensors(prefix, {{{from, to}}, {}}, options);
    REQUIRE_MESSAGE(done, refusal(done));
  }
};

TEST_CASE("between the names of P.index and P.cairn the new checkpoint opens, whole") {
  const HalfRenamed half;
  CHECK(names_in(half.prefix) == kNew);
  SUBCASE("also while its writer lives") {
    const auto directory = os::Directory::open(half.box.root());
    const auto held = directory->open_file(half.waiting.filename().string(), os::Links::Refuse);
    REQUIRE(held);
    REQUIRE(*held->try_lock());
    CHECK(names_in(half.prefix) == kNew);
    const auto lock = internal::lock_prefix(*directory, "m", {});
    REQUIRE(lock);
    CHECK(test::fs::exists(half.waiting));
  }
  SUBCASE("also as a copy, and as what is salvaged") {
    TransferOptions to;
    to.output = half.box / "copy";
    REQUIRE(copy_checkpoint(half.prefix, to));
    CHECK(names_in(to.output) == kNew);
    SalvageOptions rescue;
    rescue.output = half.box / "rescued";
    const auto salvaged = salvage(half.prefix, rescue);
    REQUIRE_MESSAGE(salvaged, refusal(salvaged));
    CHECK((*Checkpoint::open(rescue.output)).tensor_count() == 2);
  }
}

TEST_CASE("whoever publishes next gives the waiting P.cairn its name") {
  const HalfRenamed half;
  Names expected = kNew;
  SUBCASE("an import") {
    const auto done = import_index(half.prefix);
    REQUIRE_MESSAGE(done, refusal(done));
  }
  SUBCASE("an import that replaces") {
    TransferOptions options;
    options.replace = true;
    REQUIRE(import_index(half.prefix, options));
  }
  SUBCASE("another rename") {
    half.rename("renamed", "once more");
    expected = {"fine", "once more"};
  }
  SUBCASE("a repair") { REQUIRE(repair_catalog(half.box.root(), "checkpoint", {})); }
  SUBCASE("a Saver") {
    auto saver = Saver::open(half.box.root());
    REQUIRE(saver);
    const auto pruned = saver->prune(false);
    REQUIRE_MESSAGE(pruned, refusal(pruned));
  }
  SUBCASE("a pin") {
    auto saver = Saver::open(half.box.root());
    REQUIRE(saver);
    const auto pinned = saver->pin(half.prefix);
    REQUIRE_MESSAGE(pinned, refusal(pinned));
  }
  CHECK(names_in(half.prefix) == expected);
  CHECK_FALSE(has_temporaries(half.box.root()));
}

TEST_CASE("where a temporary P.cairn is not the one of P.index, or not whole, P.index decides") {
  const HalfRenamed half;
  SUBCASE("another P.index") {
    test::write_file(half.prefix.string() + ".index",
                     test::read_file(test::golden("tensorflow/saver_walk/saved/train2-9.index")));
    test::write_file(
        half.prefix.string() + ".data-00000-of-00001",
        test::read_file(test::golden("tensorflow/saver_walk/saved/train2-9.data-00000-of-00001")));
  }
  SUBCASE("torn") {
    const std::string bytes = test::read_file(half.waiting);
    test::write_file(half.waiting, bytes.substr(0, bytes.size() / 2));
  }
  SUBCASE("a shard is gone") { test::fs::remove(half.prefix.string() + ".data-00001-of-00002"); }
  const auto checkpoint = Checkpoint::open(half.prefix);
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(checkpoint->format() == Format::TensorFlow);
  REQUIRE(checkpoint->warnings().size() == 1);
  CHECK(has(checkpoint->warnings()[0], "is not the one that it records"));
  const std::string own = test::read_file(half.prefix.string() + ".cairn");
  const auto directory = os::Directory::open(half.box.root());
  REQUIRE(internal::lock_prefix(*directory, "m", {}));
  CHECK(test::read_file(half.prefix.string() + ".cairn") == own);
}

TEST_CASE("a P.index that waits beside a P.cairn that stands alone gets its name") {
  Sandbox box;
  save_mixed(box / "m");
  test::fs::rename(box / "m.index", (box / "m.index").string() + kTail);
  CHECK(names_in(box / "m") == kOld);
  auto saver = Saver::open(box.root());
  REQUIRE(saver);
  REQUIRE(saver->prune(false));
  CHECK(test::fs::exists(box / "m.index"));
  CHECK(names_in(box / "m") == kOld);
  CHECK_FALSE(has_temporaries(box.root()));
}

using Act = std::function<Result<void>(const HalfRenamed&)>;

template <class T>
Result<void> whether(const Result<T>& done) {
  return done ? Result<void>() : done.error();
}

Result<void> prune(const path& dir) {
  auto saver = Saver::open(dir);
  return saver ? whether(saver->prune(false)) : saver.error();
}

Result<void> pin(const path& prefix) {
  auto saver = Saver::open(prefix.parent_path());
  return saver ? saver->pin(prefix) : saver.error();
}

Result<void> save_over(const path& prefix) {
  auto writer = Writer::create(prefix, {{"v", DType::Int32, {}}});
  if (!writer) return std::move(writer).error();
  const std::array<std::int32_t, 1> value{7};
  if (auto done = writer->write("v", std::as_bytes(std::span(value))); !done) return done;
  return writer->commit();
}

os::Directory directory_of(const HalfRenamed& half) {
  return *os::Directory::open(half.box.root());
}

// Whatever finishes what a publisher left half-named.
const std::pair<std::string, Act> kFinishers[] = {
    {"sweep", [](const HalfRenamed& half) { return internal::sweep(directory_of(half), "m"); }},
    {"sweep_all", [](const HalfRenamed& half) { return internal::sweep_all(directory_of(half)); }},
    {"remove_stale_files",
     [](const HalfRenamed& half) { return internal::remove_stale_files(directory_of(half)); }},
    {"lock_prefix",
     [](const HalfRenamed& half) {
       return whether(internal::lock_prefix(directory_of(half), "m", {}));
     }},
    {"prune", [](const HalfRenamed& half) { return prune(half.box.root()); }},
    {"pin", [](const HalfRenamed& half) { return pin(half.prefix); }},
    {"import", [](const HalfRenamed& half) { return whether(import_index(half.prefix)); }},
    {"import that replaces",
     [](const HalfRenamed& half) {
       TransferOptions options;
       options.replace = true;
       return whether(import_index(half.prefix, options));
     }},
    {"repair",
     [](const HalfRenamed& half) {
       return whether(repair_catalog(half.box.root(), "checkpoint", {}));
     }},
};

TEST_CASE("a look that fails is not taken for none: the P.cairn that waits is not lost") {
  for (const auto& [name, act] : kFinishers) {
    CAPTURE(name);
    bool happened = true;
    for (int call = 1; happened; ++call) {
      CAPTURE(call);
      const HalfRenamed half;
      {
        const FailingCall failing(FailingCalls::Looks, call);
        (void)act(half);
        happened = failing.happened();
      }
      CHECK(names_in(half.prefix) == kNew);
      REQUIRE(prune(half.box.root()));
      CHECK(names_in(half.prefix) == kNew);
      CHECK_FALSE(has_temporaries(half.box.root()));
    }
  }
}

TEST_CASE("a sync that fails while the P.cairn that waits gets its name is told") {
  std::vector<std::pair<std::string, Act>> acts(std::begin(kFinishers), std::end(kFinishers));
  acts.emplace_back("save", [](const HalfRenamed& half) { return save_over(half.prefix); });
  for (const auto& [name, act] : acts) {
    CAPTURE(name);
    for (int call = 1;; ++call) {
      CAPTURE(call);
      const HalfRenamed half;
      const FailingCall failing(FailingCalls::Syncs, call);
      const auto done = act(half);
      if (!failing.happened()) {
        CHECK(call > 1);
        break;
      }
      REQUIRE_FALSE(done);
      CHECK(done.error().code == Code::Io);
      CHECK(has(done.error().what, "cannot sync"));
    }
  }
}

TEST_CASE("what cannot be read is not taken for a P.cairn that does not speak") {
  Sandbox box;
  save_mixed(box / "m");
  const auto directory = os::Directory::open(box.root());
  const Names names = *directory->names();
  const auto whole = internal::checkpoint_files(*directory, names, "m");
  REQUIRE(whole);
  CHECK(whole->files.front().name == "m.index");  // what stands alone then speaks
  bool happened = true;
  for (int call = 1; happened; ++call) {
    CAPTURE(call);
    {
      const FailingCall failing(FailingCalls::Looks, call);
      const auto pair = internal::is_index_pair(*directory, "m");
      happened = failing.happened();
      CHECK(pair.value_or(true));
    }
    const FailingCall failing(FailingCalls::Looks, call);
    const auto files = internal::checkpoint_files(*directory, names, "m");
    happened = happened || failing.happened();
    if (files) CHECK(files->files == whole->files);
  }
}

TEST_CASE("a V1 file that cannot be read is not taken for another's") {
  Sandbox box;
  test::fs::copy_file(test::golden("tensorflow/v1/old.ckpt-3"), box / "m");
  const auto directory = os::Directory::open(box.root());
  const Names names{"m"};
  bool happened = true;
  for (int call = 1; happened; ++call) {
    CAPTURE(call);
    const FailingCall failing(FailingCalls::Looks, call);
    const auto what = internal::checkpoint_files(*directory, names, "m");
    happened = failing.happened();
    if (what) CHECK(what->files.size() == 1);
  }
}

// A P.cairn that P.index has overtaken: of the same shards, with metadata and a pin.
void overtake(const path& prefix) {
  const path own = prefix.string() + ".cairn";
  const path kept = prefix.string() + ".kept";
  test::fs::rename(own, kept);
  TransferOptions options;
  options.replace = true;
  const auto renamed = rename_tensors(prefix, {{{"norm", "other"}}, {}}, options);
  REQUIRE_MESSAGE(renamed, refusal(renamed));
  test::fs::rename(kept, own);
}

TEST_CASE("a look that fails does not cost an overtaken P.cairn its pin and metadata") {
  TransferOptions options;
  options.replace = true;
  const std::pair<std::string, std::function<Result<void>(const path&)>> acts[] = {
      {"import", [&](const path& prefix) { return whether(import_index(prefix, options)); }},
      {"rename",
       [&](const path& prefix) {
         return whether(rename_tensors(prefix, {{{"other", "third"}}, {}}, options));
       }},
  };
  for (const auto& [name, act] : acts) {
    CAPTURE(name);
    bool happened = true;
    for (int call = 1; happened; ++call) {
      CAPTURE(call);
      const Sandbox box;
      save_mixed(box / "m", Tensors::TensorFlows);
      overtake(box / "m");
      {
        const FailingCall failing(FailingCalls::Looks, call);
        (void)act(box / "m");
        happened = failing.happened();
      }
      const auto own = internal::load_own_index(
          *internal::locate_in(*os::Directory::open(box.root()), "m", box / "m"));
      REQUIRE_MESSAGE(own, refusal(own));
      CHECK(own->index.metadata("cairn.pinned").has_value());
      if (name == "rename") CHECK(own->index.metadata("who") == "me");
    }
  }
}

TEST_CASE("a look that fails spares no sync") {
  const auto tensorflows = [](const Sandbox& box) {
    save_mixed(box / "m");
    test::fs::remove(box / "m.cairn");
    return box / "m";
  };
  const auto syncs_of_save = [](const path& prefix) -> std::optional<int> {
    const int before = test::sync_count();
    return save_over(prefix) ? std::optional(test::sync_count() - before) : std::nullopt;
  };
  const Sandbox undisturbed;
  const auto needed = syncs_of_save(tensorflows(undisturbed));
  REQUIRE(needed);
  bool happened = true;
  for (int call = 1; happened; ++call) {
    CAPTURE(call);
    const Sandbox box;
    const path prefix = tensorflows(box);
    const FailingCall failing(FailingCalls::Looks, call);
    const auto syncs = syncs_of_save(prefix);
    happened = failing.happened();
    CHECK(syncs.value_or(*needed) >= *needed);
  }
}

}  // namespace
}  // namespace cairn
