// Saving: the tensors' bytes go into shards under temporary names as they come; commit() makes the
// indexes and has all of it published (lib/write/publisher.cc, where the order stands).

#include "cairn/writer.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

#include "cairn/version.h"
#include "format/cairn/index.h"
#include "format/checked.h"
#include "format/le.h"
#include "format/quoted.h"
#include "format/tensorflow/bundle.h"
#include "lib/os/file.h"
#include "lib/os/parallel.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/read/origin.h"
#include "lib/try.h"
#include "lib/write/batch.h"
#include "lib/write/declared.h"
#include "lib/write/free_space.h"
#include "lib/write/layout.h"
#include "lib/write/publisher.h"
#include "lib/write/remarks.h"
#include "lib/write/shard_names.h"
#include "lib/write/shard_writer.h"
#include "lib/write/writer_access.h"

namespace cairn {
namespace {

enum class Stage : std::uint8_t { Empty, Writing, Whole };

// One tensor on its way.
struct Incoming {
  std::atomic<Stage> stage = Stage::Empty;
  std::unique_ptr<internal::TensorSums> coming;  // while its bytes come piece by piece
  internal::Sums sums;                           // when they are all there
};

// Does it at the end of the block, however that is left.
template <class Do>
class Defer {
 public:
  explicit Defer(Do todo) : todo_(std::move(todo)) {}
  Defer(const Defer&) = delete;
  Defer& operator=(const Defer&) = delete;
  ~Defer() { todo_(); }

 private:
  Do todo_;
};

Error invalid(std::string what) { return {Code::Invalid, 0, std::move(what)}; }

}  // namespace

class Writer::State {
 public:
  State(std::filesystem::path prefix, std::vector<TensorSpec> specs, WriterOptions options,
        os::Directory directory)
      : prefix_(std::move(prefix)),
        base_(internal::Prefix::of(prefix_).base),
        specs_(std::move(specs)),
        same_as_(specs_.size()),
        options_(std::move(options)),
        directory_(std::move(directory)),
        incoming_(specs_.size()) {
    options_.safetensors_metadata =
        internal::rebuilt_metadata(options_.safetensors_metadata, specs_);
    if (options_.tensorflow_index)
      warnings_ = internal::left_out_of_bundle(prefix_.string(), specs_);
    if (options_.read_from) stays_ = internal::was_read_from(source(), directory_, base_);
  }

  Result<void> write_all(std::span<const NamedBytes> tensors, const ExecOptions& exec);
  Result<void> write_strings(std::string_view name, std::span<const std::string_view> values);
  Result<void> write_encoded(std::string_view name, std::span<const std::byte> bytes);
  Result<void> append(std::string_view name, std::span<const std::byte> chunk);
  Result<void> tie(std::string_view name, std::string_view same_as);
  Result<void> commit(const ExecOptions& exec);
  void before_publishing(std::function<Result<void>()> check) {
    before_publishing_ = std::move(check);
  }
  void created_at(std::int64_t created_ns) { created_ns_ = created_ns; }
  void swept() { swept_ = true; }
  std::span<const std::string> warnings() const noexcept { return warnings_; }
  const os::Directory& directory() const noexcept { return directory_; }

 private:
  const internal::Parts& source() const noexcept {
    return internal::OpenCheckpoint::of(*options_.read_from).parts();
  }
  Result<std::size_t> find(std::string_view name) const;
  Result<void> prepare();
  Result<std::size_t> begin(std::string_view name, bool encoded);
  Result<void> take(const NamedBytes& given, std::vector<internal::TensorWrite>& writes);
  Result<void> append_raw(std::size_t tensor, std::span<const std::byte> bytes);
  void finish(std::size_t tensor);
  Result<void> store_encoded(std::string_view name,
                             std::span<const std::span<const std::byte>> parts,
                             std::uint32_t crc32c);
  Result<void> check_whole();
  Result<void> publish(internal::Publisher& publisher);
  Result<void> add_indexes(internal::Publisher& publisher, std::uint32_t shard_count);
  void warn_of_replaced();
  void warn_of_kept();
  std::vector<format::TensorFacts> tensor_facts() const;
  format::IndexFacts index_facts(std::uint32_t shard_count) const;
  Result<void> usable() const;
  Result<void> check_verb(std::size_t tensor, bool encoded) const;

  std::filesystem::path prefix_;
  std::string base_;
  std::vector<TensorSpec> specs_;  // sorted by name
  std::vector<std::optional<std::size_t>> same_as_;
  WriterOptions options_;
  os::Directory directory_;
  std::mutex prepare_mutex_;
  std::atomic<bool> prepared_ = false;
  std::optional<internal::ShardWriter> shards_;
  std::vector<Incoming> incoming_;
  std::function<Result<void>()> before_publishing_;
  std::optional<std::int64_t> created_ns_;
  bool swept_ = false;  // what publishers left that died is gone
  bool stays_ = false;  // what was read lies under this prefix, and is to be there until commit()
  std::vector<std::string> warnings_;
  std::atomic<bool> broken_ = false;
  std::atomic<bool> committed_ = false;
};

// ---- Before the first byte ----------------------------------------------------------------------

namespace {

// Sorts the specs, and says what is wrong without looking at the disk.
Result<void> check(const std::filesystem::path& prefix, std::vector<TensorSpec>& specs,
                   const WriterOptions& options) {
  if (!internal::is_nameable(prefix.native()))
    return invalid(prefix.string() + ": a file's name cannot hold a NUL byte");
  std::ranges::sort(specs, {}, &TensorSpec::name);  // std::string compares bytes unsigned
  return internal::check_announced(prefix.string(), specs, options);
}

}  // namespace

Result<Writer> Writer::create(const std::filesystem::path& prefix, std::vector<TensorSpec> specs,
                              const WriterOptions& options) noexcept {
  return at_boundary([&]() -> Result<Writer> {
    CAIRN_CHECK(check(prefix, specs, options));
    CAIRN_TRY(directory, os::Directory::open_or_create(internal::Prefix::of(prefix).directory));
    return Writer(std::make_unique<State>(prefix, std::move(specs), options, std::move(directory)));
  });
}

Result<Writer> WriterAccess::create_in(os::Directory directory, const std::filesystem::path& prefix,
                                       std::vector<TensorSpec> specs,
                                       const WriterOptions& options) {
  CAIRN_CHECK(check(prefix, specs, options));
  Writer writer(
      std::make_unique<Writer::State>(prefix, std::move(specs), options, std::move(directory)));
  writer.state_->swept();
  return writer;
}

Result<std::size_t> Writer::State::find(std::string_view name) const {
  const auto at = std::ranges::lower_bound(
      specs_, name, {}, [](const TensorSpec& s) { return std::string_view(s.name); });
  if (at == specs_.end() || at->name != name) {
    return Error{Code::NotFound, 0,
                 prefix_.string() + ": no tensor " + format::quoted(name) + " was announced"};
  }
  return static_cast<std::size_t>(at - specs_.begin());
}

Result<void> Writer::State::tie(std::string_view name, std::string_view same_as) {
  const std::lock_guard lock(prepare_mutex_);
  CAIRN_TRY(alias, find(name));
  CAIRN_TRY(owner, find(same_as));
  if (prepared_)
    return invalid(prefix_.string() + ": tie tensors before the first bytes are written");
  const std::size_t root = same_as_[owner].value_or(owner);
  const TensorSpec& a = specs_[alias];
  const TensorSpec& b = specs_[root];
  const bool encoded = internal::is_encoded(a.dtype);
  if (alias == root || encoded || a.dtype != b.dtype || a.opaque != b.opaque ||
      *internal::spec_bytes(a) != *internal::spec_bytes(b)) {
    return invalid(
        prefix_.string() + ": " + format::quoted(name) + " and " + format::quoted(same_as) +
        " cannot share bytes: that needs two numeric tensors of the same dtype and size");
  }
  for (auto& other : same_as_) {
    if (other == alias) other = root;
  }
  same_as_[alias] = root;
  return {};
}

Result<void> Writer::State::prepare() {
  if (prepared_.load(std::memory_order_acquire)) return {};
  const std::lock_guard lock(prepare_mutex_);
  if (prepared_.load(std::memory_order_relaxed)) return {};
  internal::normalise_ties(same_as_);
  if (!swept_) CAIRN_CHECK(internal::remove_stale_files(directory_));
  const internal::LayoutRequest request{specs_, same_as_, options_.alignment_bytes,
                                        options_.safetensors_metadata};
  CAIRN_TRY(count, internal::free_shard_count(directory_, base_, internal::shards_needed(request)));
  internal::Layout layout = internal::plan_layout(request, count);
  // For now: commit() gives them those that are free then.
  std::vector<std::string> names = internal::shard_names(base_, layout.shards.size(), count);
  CAIRN_TRY(shards, internal::ShardWriter::create(directory_, std::move(names), std::move(layout)));
  shards_.emplace(std::move(shards));
  prepared_.store(true, std::memory_order_release);
  return {};
}

// ---- Bytes --------------------------------------------------------------------------------------

Result<void> Writer::State::usable() const {
  if (committed_) return invalid(prefix_.string() + ": this writer has committed");
  if (!broken_) return {};
  return Error{Code::Io, 0,
               prefix_.string() + ": this writer failed before: write anew with another"};
}

// Invalid: the verb is not for this tensor.
Result<void> Writer::State::check_verb(std::size_t tensor, bool encoded) const {
  const TensorSpec& spec = specs_[tensor];
  if (same_as_[tensor]) {
    return invalid(prefix_.string() + ": " + format::quoted(spec.name) + " shares the bytes of " +
                   format::quoted(specs_[*same_as_[tensor]].name) +
                   ", which is to be written instead");
  }
  if (internal::is_encoded(spec.dtype) == encoded) return {};
  return invalid(prefix_.string() + ": " + format::quoted(spec.name) + " is " +
                 std::string(cairn::name(spec.dtype)) +
                 (encoded ? ": use write()" : ": use write_strings() or write_encoded()"));
}

// Whole tensors only; append() goes on by itself. Afterwards the tensor has bytes already, so who
// calls it has all the memory that it needs, or gives the tensor back: a call that found none is
// made again.
Result<std::size_t> Writer::State::begin(std::string_view name, bool encoded) {
  CAIRN_CHECK(usable());
  CAIRN_TRY(tensor, find(name));
  CAIRN_CHECK(prepare());
  CAIRN_CHECK(check_verb(tensor, encoded));
  Stage empty = Stage::Empty;
  if (!incoming_[tensor].stage.compare_exchange_strong(empty, Stage::Writing)) {
    return invalid(prefix_.string() + ": " + format::quoted(name) + " has bytes already");
  }
  return tensor;
}

Result<void> Writer::State::take(const NamedBytes& given,
                                 std::vector<internal::TensorWrite>& writes) {
  CAIRN_TRY(tensor, begin(given.name, false));
  const std::uint64_t wanted_bytes = shards_->layout().tensors[tensor].size_bytes;
  if (given.bytes.size() != wanted_bytes) {
    incoming_[tensor].stage = Stage::Empty;
    return invalid(prefix_.string() + ": " + format::quoted(given.name) + " has " +
                   std::to_string(wanted_bytes) + " bytes, not " +
                   std::to_string(given.bytes.size()));
  }
  writes.push_back({tensor, given.bytes, {}});
  return {};
}

Result<void> Writer::State::write_all(std::span<const NamedBytes> tensors,
                                      const ExecOptions& exec) {
  CAIRN_CHECK(usable());
  if (tensors.empty()) return {};
  std::vector<internal::TensorWrite> writes;
  writes.reserve(tensors.size());
  bool whole = false;
  const Defer give_back([&] {
    for (const internal::TensorWrite& load : writes)
      if (!whole) incoming_[load.tensor].stage = Stage::Empty;
  });
  for (const NamedBytes& given : tensors) CAIRN_CHECK(take(given, writes));
  if (auto done = internal::write_batch(*shards_, writes, exec); !done) {
    broken_ = done.error().code != Code::OutOfMemory;
    return done;
  }
  for (internal::TensorWrite& load : writes) {
    incoming_[load.tensor].sums = std::move(load.sums);
    incoming_[load.tensor].stage = Stage::Whole;
  }
  whole = true;
  return {};
}

Result<void> Writer::State::append(std::string_view name, std::span<const std::byte> chunk) {
  CAIRN_CHECK(usable());
  CAIRN_TRY(position, find(name));
  const bool first = incoming_[position].stage == Stage::Empty;
  std::unique_ptr<internal::TensorSums> fresh;
  if (first) {
    fresh = std::make_unique<internal::TensorSums>(*internal::spec_bytes(specs_[position]));
    CAIRN_CHECK(begin(name, false));
  }
  if (incoming_[position].stage != Stage::Writing) {
    return invalid(prefix_.string() + ": " + format::quoted(name) + " has all its bytes already");
  }
  const std::uint64_t wanted_bytes = shards_->layout().tensors[position].size_bytes;
  auto& coming = incoming_[position].coming;
  if (first) coming = std::move(fresh);
  const std::uint64_t left_bytes = wanted_bytes - coming->size_bytes();
  if (chunk.size() > left_bytes) {
    if (left_bytes == wanted_bytes) incoming_[position].stage = Stage::Empty;
    return invalid(prefix_.string() + ": " + format::quoted(name) + " lacks " +
                   std::to_string(left_bytes) + " bytes, and is given " +
                   std::to_string(chunk.size()));
  }
  CAIRN_CHECK(append_raw(position, chunk));
  if (coming->size_bytes() == wanted_bytes) finish(position);
  return {};
}

Result<void> Writer::State::append_raw(std::size_t tensor, std::span<const std::byte> bytes) {
  internal::TensorSums& sums = *incoming_[tensor].coming;
  const std::uint64_t offset_bytes = shards_->layout().tensors[tensor].offset_bytes;
  while (!bytes.empty()) {
    // Aligned blocks of the file get large folios: lib/write/batch.cc.
    const std::uint64_t at_bytes = offset_bytes + sums.size_bytes();
    const auto block = bytes.first(std::min<std::uint64_t>(
        internal::kBlockBytes - at_bytes % internal::kBlockBytes, bytes.size()));
    bool written = false;
    const Defer after([&] {  // also where there was no memory to say why not
      if (!written) broken_ = true;
    });
    CAIRN_CHECK(shards_->write(tensor, sums.size_bytes(), block));
    written = true;
    sums.update(block);
    bytes = bytes.subspan(block.size());
  }
  return {};
}

void Writer::State::finish(std::size_t tensor) {
  Incoming& incoming = incoming_[tensor];
  incoming.sums = incoming.coming->finish();
  incoming.coming.reset();
  incoming.stage = Stage::Whole;
}

Result<void> Writer::State::write_strings(std::string_view name,
                                          std::span<const std::string_view> values) {
  CAIRN_TRY(position, find(name));
  if (specs_[position].dtype != DType::String) {
    return invalid(prefix_.string() + ": " + format::quoted(name) + " is " +
                   std::string(cairn::name(specs_[position].dtype)) + ", not string");
  }
  const std::uint64_t count = *format::element_count(specs_[position].shape);
  if (values.size() != count) {
    return invalid(prefix_.string() + ": " + format::quoted(name) + " has " +
                   std::to_string(count) + " elements, not " + std::to_string(values.size()));
  }
  const auto head = format::tensorflow::encode_string_head(values);
  std::vector<std::span<const std::byte>> parts{format::as_bytes(head.bytes)};
  std::uint32_t crc = head.crc32c;
  for (const std::string_view value : values) {
    parts.push_back(format::as_bytes(value));
    crc = format::crc32c(parts.back(), crc);
  }
  return store_encoded(name, parts, crc);
}

Result<void> Writer::State::write_encoded(std::string_view name, std::span<const std::byte> bytes) {
  CAIRN_TRY(position, find(name));
  CAIRN_CHECK(check_verb(position, true));
  const std::uint64_t count = *format::element_count(specs_[position].shape);
  auto crc = specs_[position].dtype == DType::Variant
                 ? format::tensorflow::variant_crc32c(bytes, count)
                 : format::tensorflow::decode_strings(bytes, count, false)
                       .transform([](const auto& layout) { return layout.crc32c; });
  if (!crc) {
    return Error{crc.error().code, 0,
                 prefix_.string() + ": " + format::quoted(name) + ", byte " +
                     std::to_string(crc.error().byte_offset) + ": " + crc.error().what};
  }
  return store_encoded(name, std::array{bytes}, *crc);
}

Result<void> Writer::State::store_encoded(std::string_view name,
                                          std::span<const std::span<const std::byte>> parts,
                                          std::uint32_t crc32c) {
  std::uint64_t size_bytes = 0;
  for (const auto part : parts) size_bytes += part.size();
  auto sums = std::make_unique<internal::TensorSums>(size_bytes);
  // Many small strings become few writes; large ones are not copied.
  std::vector<std::byte> block;
  block.reserve(std::min(internal::kBlockBytes, size_bytes));
  CAIRN_TRY(tensor, begin(name, true));
  incoming_[tensor].coming = std::move(sums);
  shards_->place_encoded(tensor, size_bytes);
  const auto flush = [&]() -> Result<void> {
    auto done = append_raw(tensor, block);
    block.clear();
    return done;
  };
  for (const auto part : parts) {
    if (part.size() > internal::kBlockBytes - std::min(internal::kBlockBytes, block.size()))
      CAIRN_CHECK(flush());
    if (part.size() < internal::kBlockBytes) {
      block.insert(block.end(), part.begin(), part.end());
    } else {
      CAIRN_CHECK(append_raw(tensor, part));
    }
  }
  CAIRN_CHECK(flush());
  finish(tensor);
  incoming_[tensor].sums.crc32c = crc32c;  // TensorFlow feeds strings in its own way
  incoming_[tensor].sums.chunk_crc32cs.clear();
  return {};
}

// ---- Commit -------------------------------------------------------------------------------------

Result<void> Writer::State::check_whole() {
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    // An empty tensor has all its bytes from the start.
    const auto& plan = shards_->layout().tensors[i];
    if (incoming_[i].stage == Stage::Empty && !same_as_[i] && !plan.encoded &&
        plan.size_bytes == 0) {
      CAIRN_CHECK(write_all(std::array{NamedBytes{specs_[i].name, {}}}, {.threads_max = 1}));
    }
    if (incoming_[same_as_[i].value_or(i)].stage == Stage::Whole) continue;
    return invalid(prefix_.string() + ": tensor " + format::quoted(specs_[i].name) +
                   " has not got all its bytes");
  }
  return {};
}

Result<void> Writer::State::commit(const ExecOptions& exec) {
  CAIRN_CHECK(usable());
  CAIRN_CHECK(prepare());
  CAIRN_CHECK(check_whole());
  CAIRN_CHECK(os::unless_stopped(exec.stop));
  broken_ = true;  // whatever comes now: this writer is not for a second commit
  CAIRN_CHECK(shards_->sync());
  auto publisher = internal::Publisher::begin({directory_, base_, prefix_.string()},
                                              {options_.lock_wait, exec.stop});
  if (!publisher) {
    broken_ = false;  // but where nothing has happened yet
    return std::move(publisher).error();
  }
  CAIRN_CHECK(publish(*publisher));
  committed_ = true;
  return {};
}

Result<void> Writer::State::publish(internal::Publisher& publisher) {
  constexpr std::array kIndexes{internal::kCairnSuffix, internal::kTensorFlowSuffix};
  if (!options_.replace) CAIRN_CHECK(publisher.refuse(kIndexes));
  if (before_publishing_) CAIRN_CHECK(before_publishing_());
  if (stays_) CAIRN_CHECK(internal::check_unchanged(source().origin, directory_, prefix_.string()));
  warn_of_replaced();
  const internal::Target target{directory_, base_, prefix_.string()};
  const bool replaces = !internal::refuse_existing(target, kIndexes);
  const auto shards = static_cast<std::uint32_t>(shards_->temps().size());
  CAIRN_TRY(count, internal::free_shard_count(directory_, base_, shards));
  shards_->set_names(internal::shard_names(base_, shards, count));
  CAIRN_CHECK(add_indexes(publisher, count));
  std::vector<std::string_view> unwanted;
  if (!options_.tensorflow_index) unwanted.push_back(internal::kTensorFlowSuffix);
  if (!options_.cairn_index) unwanted.push_back(internal::kCairnSuffix);
  CAIRN_CHECK(publisher.publish(shards_->temps(), {unwanted}));
  if (auto warning = publisher.warning()) warnings_.push_back(*std::move(warning));
  if (replaces) warn_of_kept();
  return {};
}

std::vector<format::TensorFacts> Writer::State::tensor_facts() const {
  std::vector<format::TensorFacts> tensors(specs_.size());
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    const internal::Sums& sums = incoming_[same_as_[i].value_or(i)].sums;
    const internal::PlannedTensor& plan = shards_->layout().tensors[same_as_[i].value_or(i)];
    format::TensorFacts& facts = tensors[i];
    facts.name = specs_[i].name;
    facts.dtype = specs_[i].dtype;
    facts.opaque_dtype = specs_[i].opaque.name;
    facts.opaque_bits = specs_[i].opaque.bits;
    facts.opaque_block = {specs_[i].opaque.block_elements, specs_[i].opaque.block_bytes};
    facts.shape = specs_[i].shape;
    facts.encoding = format::encoding_of(facts.dtype);
    facts.span = {plan.shard, plan.offset_bytes, plan.size_bytes, sums.crc32c};
    facts.chunk_crc32cs = sums.chunk_crc32cs;
    facts.content_hash = sums.content_hash;
  }
  return tensors;
}

format::IndexFacts Writer::State::index_facts(std::uint32_t shard_count) const {
  format::IndexFacts facts;
  facts.step = options_.step;
  facts.created_ns = created_ns_.value_or(os::now_ns());
  facts.producer = "cairn " + std::string(version());
  facts.chunk_bytes = internal::kChunkBytes;
  facts.metadata = options_.metadata;
  std::ranges::sort(facts.metadata);
  facts.safetensors_metadata = options_.safetensors_metadata;
  facts.bundle.num_shards = static_cast<std::int32_t>(shard_count);
  facts.tensors = tensor_facts();
  return facts;
}

// What the checkpoint that is there has, and this one has not.
void Writer::State::warn_of_replaced() {
  const auto goes = internal::replaced_tensors(directory_, base_, specs_);
  if (goes && goes->empty()) return;
  warnings_.push_back(prefix_.string() + ": took the place of another checkpoint" +
                      (goes ? ": " + internal::first_of(*goes)
                            : ", whose tensors nobody can tell: " + goes.error().what));
}

// Files of that one that a new one has not: a shard that was exported, and a graph.
void Writer::State::warn_of_kept() {
  std::vector<std::string_view> suffixes{internal::kSafetensorsSuffix};
  if (options_.meta_graph.empty()) suffixes.push_back(internal::kMetaSuffix);
  for (std::string& warning :
       internal::stale_beside({directory_, base_, prefix_.string()}, suffixes))
    warnings_.push_back(std::move(warning));
}

Result<void> Writer::State::add_indexes(internal::Publisher& publisher, std::uint32_t shard_count) {
  format::IndexFacts facts = index_facts(shard_count);
  CAIRN_TRY(shards, shards_->facts());
  facts.shards = std::move(shards);
  if (!options_.meta_graph.empty())
    CAIRN_CHECK(publisher.add(internal::kMetaSuffix, format::as_bytes(options_.meta_graph)));
  if (options_.tensorflow_index) {
    const auto index =
        format::tensorflow::encode_bundle(facts.bundle, internal::in_bundle(facts.tensors));
    if (!index) return invalid(prefix_.string() + ": " + index.error().what);
    CAIRN_TRY(file, publisher.add(internal::kTensorFlowSuffix, format::as_bytes(*index)));
    CAIRN_TRY(info, file->info());
    facts.tensorflow_index = {true, internal::identity_of(info),
                              format::xxh3_128(format::as_bytes(*index))};
  }
  if (!options_.cairn_index) return {};
  const auto bytes = format::encode_index(facts);
  if (!bytes) return invalid(prefix_.string() + ": " + bytes.error().what);
  CAIRN_CHECK(publisher.add(internal::kCairnSuffix, *bytes));
  return {};
}

// ---- The public handle --------------------------------------------------------------------------

void WriterAccess::before_publishing(Writer& writer, std::function<Result<void>()> check) {
  writer.state_->before_publishing(std::move(check));
}

const os::Directory& WriterAccess::directory(const Writer& writer) noexcept {
  return writer.state_->directory();
}

void WriterAccess::created_at(Writer& writer, std::int64_t created_ns) {
  writer.state_->created_at(created_ns);
}

Writer::Writer(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Writer::Writer(Writer&&) noexcept = default;
Writer& Writer::operator=(Writer&&) noexcept = default;
Writer::~Writer() = default;

Result<void> Writer::write(std::string_view name, std::span<const std::byte> bytes) noexcept {
  return write_all(std::array{NamedBytes{name, bytes}}, {.threads_max = 1});
}
Result<void> Writer::write_all(std::span<const NamedBytes> tensors,
                               const ExecOptions& exec) noexcept {
  return at_boundary([&] { return state_->write_all(tensors, exec); });
}
Result<void> Writer::write_strings(std::string_view name,
                                   std::span<const std::string_view> values) noexcept {
  return at_boundary([&] { return state_->write_strings(name, values); });
}
Result<void> Writer::write_encoded(std::string_view name,
                                   std::span<const std::byte> bytes) noexcept {
  return at_boundary([&] { return state_->write_encoded(name, bytes); });
}
Result<void> Writer::append(std::string_view name, std::span<const std::byte> chunk) noexcept {
  return at_boundary([&] { return state_->append(name, chunk); });
}
Result<void> Writer::tie(std::string_view name, std::string_view same_as) noexcept {
  return at_boundary([&] { return state_->tie(name, same_as); });
}
Result<void> Writer::commit(const ExecOptions& exec) noexcept {
  return at_boundary([&] { return state_->commit(exec); });
}
std::span<const std::string> Writer::warnings() const noexcept { return state_->warnings(); }

}  // namespace cairn
