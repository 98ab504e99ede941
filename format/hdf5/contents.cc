#include "format/hdf5/contents.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "format/checked.h"
#include "format/hdf5/attribute.h"
#include "format/hdf5/chunks.h"
#include "format/hdf5/group.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/sentence.h"

namespace cairn::format::hdf5 {
namespace {

// Whether the one chunk is the elements, one after another.
bool is_whole_chunk(const Dataset& set, const ChunkGrid& grid) {
  if (grid.count() != 1) return false;
  for (std::size_t i = 1; i < set.layout.chunk.size(); ++i) {
    if (set.layout.chunk[i] != set.space.dimensions[i]) return false;
  }
  return true;
}

class ContentsReader {
 public:
  explicit ContentsReader(File& file) : file_(file), attributes_(file) {}

  Decoded<Contents> read() {
    todo_.push_back({{}, file_.root_address(), 0});
    while (!todo_.empty()) {
      const Place place = std::move(todo_.back());
      todo_.pop_back();
      auto done = visit(place);
      if (done) continue;
      const Code code = done.error().code;
      const bool passes = code == Code::Unsupported || (code == Code::Corrupt && !file_.is_whole());
      if (!passes || over_limit_ || place.path.empty())
        return named(place, std::move(done).error());
      leave_out(place, done.error().what);
    }
    sort_metadata();
    std::ranges::sort(contents_.tensors, {},
                      [](const Tensor& each) -> const std::string& { return each.facts.name; });
    return std::move(contents_);
  }

 private:
  struct Place {
    std::string path;  // without a '/' in front
    std::uint64_t address = 0;
    std::size_t depth = 0;
  };

  // A path may hold an '@', and so may an attribute's name.
  void sort_metadata() {
    KeyValues& all = contents_.metadata;
    std::ranges::sort(all);
    const auto same = std::ranges::unique(all, {}, &KeyValues::value_type::first);
    const auto count = static_cast<std::size_t>(same.size());
    all.erase(same.begin(), same.end());
    if (count != 0)
      contents_.left_out.push_back(
          sentence(count, " attributes are left out: others have the same keys"));
  }

  static DecodeError named(const Place& place, DecodeError error) {
    if (error.code != Code::Io && !place.path.empty())
      error.what = sentence(quoted(place.path), ": ", error.what);
    return error;
  }

  void leave_out(const Place& place, std::string_view why) {
    contents_.left_out.push_back(sentence(quoted(place.path), " is left out: ", why));
  }

  [[gnu::cold]] Decoded<void> refuse_for_limit(std::string what) {
    over_limit_ = true;
    return unsupported(file_.place(file_.root_address()), std::move(what));
  }

  Decoded<void> visit(const Place& place) {
    const auto known = known_.find(place.address);
    if (known != known_.end()) return visit_again(place, known->second);
    if (known_.size() == limits::kHdf5ObjectsMax)
      return refuse_for_limit(sentence("the file has more groups and datasets than the limit of ",
                                       limits::kHdf5ObjectsMax));
    auto object = read_object(file_, place.address);
    if (!object) return std::move(object).error();
    const std::size_t tensors_before = contents_.tensors.size();
    known_.emplace(place.address, Known{place.path, std::nullopt});
    if (is_dataset(*object)) {
      if (auto done = add_dataset(place, *object); !done) return done;
    } else if (is_group(*object)) {
      if (auto done = add_links(place, *object); !done) return done;
    }
    if (contents_.tensors.size() != tensors_before) known_[place.address].tensor = tensors_before;
    return add_attributes(place, *object);
  }

  // What a path led to before.
  struct Known {
    std::string path;
    std::optional<std::size_t> tensor;  // its number; nothing: it is none
  };

  Decoded<void> visit_again(const Place& place, const Known& known) {
    if (!known.tensor) {
      leave_out(place, sentence("it is the same as ", quoted("/" + known.path)));
      return {};
    }
    Tensor copy = contents_.tensors[*known.tensor];
    copy.facts.name = place.path;
    return add_tensor(std::move(copy));
  }

  Decoded<void> add_tensor(Tensor tensor) {
    names_bytes_ += tensor.facts.name.size();
    if (names_bytes_ > limits::kHdf5NamesBytesMax ||
        contents_.tensors.size() == limits::kHdf5ObjectsMax)
      return refuse_for_limit(sentence("the file has more than ", limits::kHdf5ObjectsMax,
                                       " tensors, or ", limits::kHdf5NamesBytesMax,
                                       " bytes of their names, which are the limits"));
    contents_.tensors.push_back(std::move(tensor));
    return {};
  }

  // ---- Groups -----------------------------------------------------------------------------------

  Decoded<void> add_links(const Place& place, const Object& object) {
    auto links = read_links(file_, object);
    if (!links) return std::move(links).error();
    if (place.depth == limits::kHdf5DepthMax && !links->empty())
      return refuse_for_limit(
          sentence("groups lie in each other deeper than the limit of ", limits::kHdf5DepthMax));
    // Those in front of the others are visited first.
    for (auto link = links->rbegin(); link != links->rend(); ++link) {
      Place next{place.path.empty() ? link->name : place.path + "/" + link->name, link->address,
                 place.depth + 1};
      if (next.path.size() > limits::kNameBytesMax)
        return corrupt(file_.place(place.address),
                       sentence("a path has ", next.path.size(), " bytes, allowed are ",
                                limits::kNameBytesMax));
      if (link->kind == Link::Kind::Hard) {
        waiting_bytes_ += next.path.size();
        if (waiting_bytes_ > limits::kHdf5NamesBytesMax)
          return refuse_for_limit(
              sentence("the paths of the file have more bytes than the limit of ",
                       limits::kHdf5NamesBytesMax));
        todo_.push_back(std::move(next));
      } else {
        leave_out(next, link->kind == Link::Kind::Soft ? "it is a soft link, which names a path"
                        : link->kind == Link::Kind::External ? "it is a link to another file"
                                                             : "it is a link of an unknown kind");
      }
    }
    return {};
  }

  // ---- Attributes -------------------------------------------------------------------------------

  Decoded<void> add_attributes(const Place& place, const Object& object) {
    auto attributes = attributes_.read(object);
    if (!attributes) return std::move(attributes).error();
    for (Attribute& attribute : *attributes) {
      std::string key = "/" + place.path + "@" + attribute.name;
      if (attribute.left_out.empty()) {
        names_bytes_ += key.size();
        contents_.metadata.emplace_back(std::move(key), std::move(attribute.text));
      } else {
        contents_.left_out.push_back(
            sentence("attribute ", quoted(key), " is left out: ", attribute.left_out));
      }
    }
    if (names_bytes_ <= limits::kHdf5NamesBytesMax) return {};
    return refuse_for_limit(
        sentence("names have more bytes than the limit of ", limits::kHdf5NamesBytesMax));
  }

  // An attribute "dtype" says what HDF5 has no type for.
  Decoded<void> name_opaque(const Object& object, Datatype& type) {
    if (type.dtype != DType::Opaque) return {};
    Attributes own(file_);
    auto attributes = own.read(object);
    if (!attributes) return std::move(attributes).error();
    for (const Attribute& attribute : *attributes) {
      if (attribute.name == "dtype") name_dtype(type, attribute.text);
    }
    return {};
  }

  // ---- Datasets ---------------------------------------------------------------------------------

  Decoded<void> add_dataset(const Place& place, const Object& object) {
    auto set = read_dataset(file_, object);
    if (!set) {
      DecodeError error = std::move(set).error();
      if (error.byte_offset == 0) error.byte_offset = file_.place(place.address);
      return error;
    }
    if (auto done = name_opaque(object, set->type); !done) return done;
    if (const std::string why = why_no_tensor(*set); !why.empty()) {
      leave_out(place, why);
      return {};
    }
    Tensor tensor;
    tensor.facts.name = place.path;
    set_type(*set, tensor.facts);
    auto decodes = place_elements(*set, tensor.facts);
    if (!decodes) {
      DecodeError error = std::move(decodes).error();
      if (error.byte_offset == 0) error.byte_offset = file_.place(place.address);
      return error;
    }
    if (*decodes) {
      tensor.decoded = contents_.to_decode.size();
      contents_.to_decode.push_back(*std::move(set));
    }
    return add_tensor(std::move(tensor));
  }

  static std::string why_no_tensor(const Dataset& set) {
    constexpr std::uint32_t kTextBytesMax = 8'191;
    if (set.space.has_no_shape) return "it has no elements and no shape";
    if (set.type.kind == Datatype::Kind::Other) return set.type.why;
    if (set.type.kind == Datatype::Kind::VariableText)
      return "its elements are texts of variable length";
    if (set.type.kind == Datatype::Kind::Text && set.type.size_bytes > kTextBytesMax)
      return sentence("its texts have ", set.type.size_bytes, " bytes, more than the limit of ",
                      kTextBytesMax);
    if (set.is_external) return "its elements lie in other files";
    if (set.layout.kind == Layout::Kind::Virtual) return "its elements are parts of other datasets";
    return {};
  }

  static void set_type(const Dataset& set, TensorFacts& facts) {
    const Datatype& type = set.type;
    facts.dtype = type.kind == Datatype::Kind::Text ? DType::Opaque : type.dtype;
    facts.other_byte_order = type.other_byte_order;
    for (const std::uint64_t size : set.space.dimensions)
      facts.shape.push_back(static_cast<std::int64_t>(size));
    facts.shape.insert(facts.shape.end(), type.inner.begin(), type.inner.end());
    if (facts.dtype != DType::Opaque) return;
    const std::uint64_t bytes = type.item_bytes();
    facts.opaque_dtype =
        type.kind == Datatype::Kind::Text ? "S" + std::to_string(bytes) : type.opaque_dtype;
    facts.opaque_bits = static_cast<std::uint16_t>(8 * bytes);
  }

  // Whether the elements must be decoded; else `facts` say where they lie.
  Decoded<bool> place_elements(const Dataset& set, TensorFacts& facts) {
    const Layout& layout = set.layout;
    facts.span.size_bytes = set.size_bytes();
    if (set.element_count == 0) return false;
    if (layout.kind == Layout::Kind::Chunked) return place_chunks(set, facts);
    if (layout.size_bytes && *layout.size_bytes < set.size_bytes())
      return corrupt(0, sentence("its elements have ", set.size_bytes(), " bytes, and ",
                                 *layout.size_bytes, " are stored"));
    if (layout.kind == Layout::Kind::Compact) {
      facts.span.offset_bytes = layout.compact_at;
      return false;
    }
    if (file_.is_undefined(layout.address)) return true;
    return put_in_place(layout.address, facts);
  }

  Decoded<bool> put_in_place(std::uint64_t address, TensorFacts& facts) const {
    const std::uint64_t offset = file_.place(address);
    const bool lies_inside =
        offset >= address && inside(offset, facts.span.size_bytes, file_.size_bytes());
    if (file_.is_whole() && !lies_inside)
      return corrupt(
          0, sentence("its ", facts.span.size_bytes, " bytes at ", offset,
                      " end behind the file's ", file_.size_bytes(), " bytes: it is truncated"));
    if (offset < address || !checked_add(offset, facts.span.size_bytes))
      return corrupt(0, "its elements lie nowhere");
    facts.span.offset_bytes = offset;
    return false;
  }

  Decoded<bool> place_chunks(const Dataset& set, TensorFacts& facts) {
    const ChunkGrid grid(set);
    const bool all_known = std::ranges::all_of(set.filters, is_known);
    const bool one = is_whole_chunk(set, grid);
    if (all_known && !one) return true;
    const auto chunks = read_chunks(file_, set);
    if (!chunks) return chunks.error();
    const auto is_skipped = [&](const Chunk& chunk, std::size_t filter) {
      return (chunk.skipped_filters >> filter & 1) != 0;
    };
    bool raw = true;
    for (std::size_t i = 0; i < set.filters.size(); ++i) {
      for (const Chunk& chunk : *chunks) {
        raw &= is_skipped(chunk, i);
        if (is_known(set.filters[i]) || is_skipped(chunk, i)) continue;
        return unsupported(0, sentence("it is compressed by the filter ", set.filters[i].id, " (",
                                       quoted(set.filters[i].name), "), which is not known"));
      }
    }
    if (!one || !raw || chunks->size() != 1 || chunks->front().stored_bytes < facts.span.size_bytes)
      return true;
    return put_in_place(chunks->front().address, facts);
  }

  File& file_;
  Attributes attributes_;
  Contents contents_;
  std::vector<Place> todo_;
  std::unordered_map<std::uint64_t, Known> known_;  // by address
  std::uint64_t names_bytes_ = 0;
  std::uint64_t waiting_bytes_ = 0;
  bool over_limit_ = false;
};

}  // namespace

Decoded<Contents> read_contents(File& file) { return ContentsReader(file).read(); }

}  // namespace cairn::format::hdf5
