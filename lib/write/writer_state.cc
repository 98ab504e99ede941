// The bytes of a Writer's tensors: which call may bring which bytes, and on the way to which shard.

#include "lib/write/writer_state.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "format/checked.h"
#include "format/le.h"
#include "format/quoted.h"
#include "format/tensorflow/bundle.h"
#include "lib/read/names.h"
#include "lib/read/origin.h"
#include "lib/try.h"
#include "lib/write/declared.h"
#include "lib/write/free_space.h"
#include "lib/write/layout.h"
#include "lib/write/remarks.h"
#include "lib/write/shard_names.h"

namespace cairn {
namespace {

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

Writer::State::State(std::filesystem::path prefix, std::vector<TensorSpec> specs,
                     WriterOptions options, os::Directory directory)
    : prefix_(std::move(prefix)),
      base_(internal::Prefix::of(prefix_).base),
      specs_(std::move(specs)),
      same_as_(specs_.size()),
      options_(std::move(options)),
      directory_(std::move(directory)),
      incoming_(specs_.size()) {
  options_.safetensors_metadata = internal::rebuilt_metadata(options_.safetensors_metadata, specs_);
  if (options_.tensorflow_index) warnings_ = internal::left_out_of_bundle(prefix_.string(), specs_);
  if (options_.read_from) stays_ = internal::was_read_from(source(), directory_, base_);
}

Result<std::size_t> Writer::State::find(std::string_view name, std::size_t guess) const {
  if (guess < specs_.size() && specs_[guess].name == name) return guess;
  const auto at = std::ranges::lower_bound(
      specs_, name, {}, [](const TensorSpec& s) { return std::string_view(s.name); });
  if (at == specs_.end() || at->name != name) {
    return Error{Code::NotFound, 0,
                 prefix_.string() + ": tensor " + format::quoted(name) + " is not in the specs"};
  }
  return static_cast<std::size_t>(at - specs_.begin());
}

Result<void> Writer::State::match_dtype(std::string_view name, DType dtype) const {
  CAIRN_TRY(tensor, find(name));
  const DType own = specs_[tensor].dtype;
  if (own == dtype) return {};
  return Error{Code::Invalid, 0,
               prefix_.string() + ": tensor " + format::quoted(name) + " is " +
                   std::string(cairn::name(own)) + ", and the elements are " +
                   std::string(cairn::name(dtype))};
}

Result<void> Writer::State::tie(std::string_view name, std::string_view same_as) {
  const std::lock_guard lock(prepare_mutex_);
  CAIRN_TRY(alias, find(name));
  CAIRN_TRY(owner, find(same_as));
  if (prepared_)
    return invalid(prefix_.string() + ": tensors must be tied before the first bytes are written");
  const std::size_t root = same_as_[owner].value_or(owner);
  if (incoming_[alias].is_whole() || incoming_[root].is_whole())
    return invalid(prefix_.string() + ": " + format::quoted(name) +
                   " cannot be tied, because a tensor of the two is not written again");
  const TensorSpec& a = specs_[alias];
  const TensorSpec& b = specs_[root];
  const bool encoded = internal::is_encoded(a.dtype);
  if (alias == root || encoded || a.dtype != b.dtype || a.opaque != b.opaque ||
      *internal::spec_bytes(a) != *internal::spec_bytes(b)) {
    return invalid(prefix_.string() + ": " + format::quoted(name) + " and " +
                   format::quoted(same_as) +
                   " cannot share bytes; both must be numeric tensors of the same dtype and size");
  }
  for (auto& other : same_as_) {
    if (other == alias) other = root;
  }
  same_as_[alias] = root;
  return {};
}

// ---- Before the first byte ----------------------------------------------------------------------

Result<void> Writer::State::prepare() {
  if (prepared_.load(std::memory_order_acquire)) return {};
  const std::lock_guard lock(prepare_mutex_);
  if (prepared_.load(std::memory_order_relaxed)) return {};
  internal::normalise_ties(same_as_);
  if (!swept_) CAIRN_CHECK(internal::remove_stale_files(directory_));
  internal::LayoutRequest request{specs_, same_as_, options_.alignment_bytes,
                                  options_.safetensors_metadata};
  request.linked = is_linked_;
  const auto links = static_cast<std::uint32_t>(linked_.shards.size());
  CAIRN_TRY(count, internal::free_shard_count(directory_, base_,
                                              internal::shards_needed(request) + links));
  internal::Layout layout = internal::plan_layout(request, count - links);
  place_linked(layout);
  // For now: commit() gives them those that are free then.
  std::vector<std::string> names = internal::shard_names(base_, layout.shards.size(), count);
  CAIRN_TRY(shards, internal::ShardWriter::create(directory_, std::move(names), std::move(layout)));
  shards.add_linked(std::move(linked_.shards));
  shards_.emplace(std::move(shards));
  prepared_.store(true, std::memory_order_release);
  return {};
}

void Writer::State::link(internal::LinkedShards linked) {
  if (linked.shards.empty()) return;
  linked_ = std::move(linked);
  is_linked_.resize(specs_.size());
  for (internal::LinkedTensor& tensor : linked_.tensors) {
    const std::size_t spec = *find(tensor.name);
    is_linked_[spec] = true;
    incoming_[spec].finish(std::move(tensor.sums));
  }
}

bool Writer::State::is_whole(std::string_view name) const {
  const auto spec = find(name);
  return spec && incoming_[same_as_[*spec].value_or(*spec)].is_whole();
}

// The linked shards stand behind those of the layout. Of names that share bytes the first owns
// them.
void Writer::State::place_linked(internal::Layout& layout) const {
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::size_t> owners;
  for (const internal::LinkedTensor& tensor : linked_.tensors) {
    const std::size_t spec = *find(tensor.name);
    internal::PlannedTensor& plan = layout.tensors[spec];
    plan.shard = static_cast<std::uint32_t>(layout.shards.size() + tensor.shard);
    plan.offset_bytes = tensor.offset_bytes;
    plan.size_bytes = tensor.size_bytes;
    const auto [owner, first] = owners.try_emplace({plan.shard, plan.offset_bytes}, spec);
    if (!first) plan.same_as = owner->second;
  }
}

std::uint64_t Writer::State::written_bytes() const noexcept {
  std::uint64_t size_bytes = 0;
  if (shards_)
    for (const auto& shard : shards_->layout().shards) size_bytes += shard.size_bytes;
  return size_bytes;
}

// ---- Bytes --------------------------------------------------------------------------------------

Result<void> Writer::State::usable() const {
  if (committed_) return invalid(prefix_.string() + ": this Writer has committed already");
  if (!broken_) return {};
  return Error{Code::Io, 0,
               prefix_.string() +
                   ": this Writer failed before; write the checkpoint again with a new Writer"};
}

// Invalid: the verb is not for this tensor.
Result<void> Writer::State::check_verb(std::size_t tensor, bool encoded) const {
  const TensorSpec& spec = specs_[tensor];
  if (same_as_[tensor]) {
    return invalid(prefix_.string() + ": " + format::quoted(spec.name) + " shares the bytes of " +
                   format::quoted(specs_[*same_as_[tensor]].name) + "; write that tensor instead");
  }
  if (internal::is_encoded(spec.dtype) == encoded) return {};
  return invalid(prefix_.string() + ": " + format::quoted(spec.name) + " is " +
                 std::string(cairn::name(spec.dtype)) +
                 (encoded ? ": use write()" : ": use write_strings() or write_encoded()"));
}

// Whole tensors only; append() goes on by itself. Afterwards the tensor has bytes already, so who
// calls it has all the memory that it needs, or gives the tensor back: a call that found none is
// made again.
Result<void> Writer::State::begin(std::size_t tensor, bool encoded) {
  CAIRN_CHECK(usable());
  CAIRN_CHECK(prepare());
  CAIRN_CHECK(check_verb(tensor, encoded));
  if (incoming_[tensor].begin()) return {};
  return invalid(prefix_.string() + ": " + format::quoted(specs_[tensor].name) +
                 " has been written already");
}

Result<void> Writer::State::take(const NamedBytes& given,
                                 std::vector<internal::TensorWrite>& writes) {
  CAIRN_TRY(tensor, find(given.name, writes.empty() ? 0 : writes.back().tensor + 1));
  CAIRN_CHECK(begin(tensor, false));
  const std::uint64_t wanted_bytes = shards_->layout().tensors[tensor].size_bytes;
  if (given.bytes.size() != wanted_bytes) {
    incoming_[tensor].give_back();
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
      if (!whole) incoming_[load.tensor].give_back();
  });
  for (const NamedBytes& given : tensors) CAIRN_CHECK(take(given, writes));
  if (auto done = internal::write_batch(*shards_, writes, exec, idle_max_); !done) {
    broken_ = done.error().code != Code::OutOfMemory;
    return done;
  }
  for (internal::TensorWrite& load : writes) incoming_[load.tensor].finish(std::move(load.sums));
  whole = true;
  return {};
}

Result<void> Writer::State::append(std::string_view name, std::span<const std::byte> chunk) {
  CAIRN_CHECK(usable());
  CAIRN_TRY(position, find(name));
  internal::IncomingTensor& incoming = incoming_[position];
  const bool first = incoming.is_empty();
  std::unique_ptr<internal::TensorSums> fresh;
  if (first) {
    fresh = std::make_unique<internal::TensorSums>(*internal::spec_bytes(specs_[position]));
    CAIRN_CHECK(begin(position, false));
  }
  if (!incoming.is_writing()) {
    return invalid(prefix_.string() + ": " + format::quoted(name) + " has all its bytes already");
  }
  const std::uint64_t wanted_bytes = shards_->layout().tensors[position].size_bytes;
  if (first) incoming.sum_pieces(std::move(fresh));
  const std::uint64_t left_bytes = wanted_bytes - incoming.pieces().size_bytes();
  if (chunk.size() > left_bytes) {
    if (left_bytes == wanted_bytes) incoming.give_back();
    return invalid(prefix_.string() + ": " + format::quoted(name) + " needs only " +
                   std::to_string(left_bytes) + " more bytes, but is given " +
                   std::to_string(chunk.size()));
  }
  CAIRN_CHECK(append_raw(position, chunk));
  if (incoming.pieces().size_bytes() == wanted_bytes) incoming.finish(incoming.pieces().finish());
  return {};
}

Result<void> Writer::State::append_raw(std::size_t tensor, std::span<const std::byte> bytes) {
  internal::TensorSums& sums = incoming_[tensor].pieces();
  const std::uint64_t offset_bytes = shards_->layout().tensors[tensor].offset_bytes;
  while (!bytes.empty()) {
    // Aligned blocks of the file get large folios: lib/write/batch.cc.
    const std::uint64_t at_bytes = offset_bytes + sums.size_bytes();
    const auto block = bytes.first(std::min<std::uint64_t>(
        internal::kWriteBlockBytes - at_bytes % internal::kWriteBlockBytes, bytes.size()));
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
  return store_encoded(position, parts, crc);
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
  return store_encoded(position, std::array{bytes}, *crc);
}

Result<void> Writer::State::store_encoded(std::size_t tensor,
                                          std::span<const std::span<const std::byte>> parts,
                                          std::uint32_t crc32c) {
  std::uint64_t size_bytes = 0;
  for (const auto part : parts) size_bytes += part.size();
  auto sums = std::make_unique<internal::TensorSums>(size_bytes);
  // Many small strings become few writes; large ones are not copied.
  std::vector<std::byte> block;
  block.reserve(std::min(internal::kWriteBlockBytes, size_bytes));
  CAIRN_CHECK(begin(tensor, true));
  incoming_[tensor].sum_pieces(std::move(sums));
  shards_->place_encoded(tensor, size_bytes);
  const auto flush = [&]() -> Result<void> {
    auto done = append_raw(tensor, block);
    block.clear();
    return done;
  };
  for (const auto part : parts) {
    if (part.size() >
        internal::kWriteBlockBytes - std::min(internal::kWriteBlockBytes, block.size()))
      CAIRN_CHECK(flush());
    if (part.size() < internal::kWriteBlockBytes) {
      block.insert(block.end(), part.begin(), part.end());
    } else {
      CAIRN_CHECK(append_raw(tensor, part));
    }
  }
  CAIRN_CHECK(flush());
  internal::Sums whole = incoming_[tensor].pieces().finish();
  whole.crc32c = crc32c;  // TensorFlow feeds strings in its own way
  whole.chunk_crc32cs.clear();
  incoming_[tensor].finish(std::move(whole));
  return {};
}

}  // namespace cairn
