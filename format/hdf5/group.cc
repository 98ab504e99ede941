#include "format/hdf5/group.h"

#include <algorithm>
#include <optional>

#include "format/hdf5/btree1.h"
#include "format/hdf5/btree2.h"
#include "format/hdf5/heap.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/sentence.h"

namespace cairn::format::hdf5 {
namespace {

class LinkReader {
 public:
  explicit LinkReader(File& file) : file_(file) {}

  Decoded<std::vector<Link>> read(const Object& group) {
    for (const Message& message : group.messages) {
      auto done = read(message);
      if (!done) return std::move(done).error();
    }
    std::ranges::sort(links_, {}, &Link::name);
    const auto twice = std::ranges::adjacent_find(links_, {}, &Link::name);
    if (twice != links_.end())
      return corrupt(0, sentence("a group has two links called ", quoted(twice->name)));
    return std::move(links_);
  }

 private:
  Decoded<void> read(const Message& message) {
    Cursor cursor(message.bytes, message.at, file_.widths());
    switch (static_cast<MessageType>(message.type)) {
      case MessageType::SymbolTable:
        return read_symbol_table(cursor);
      case MessageType::Link:
        return take_link(cursor);
      case MessageType::LinkInfo:
        return read_dense(cursor);
      default:
        return {};
    }
  }

  Decoded<void> add(std::uint64_t at, Link link) {
    if (link.name.size() > limits::kNameBytesMax)
      return corrupt(at, sentence("a link's name has ", link.name.size(), " bytes, allowed are ",
                                  limits::kNameBytesMax));
    if (link.name.empty() ||
        link.name.find_first_of(std::string_view("/\0", 2)) != std::string::npos)
      return corrupt(at, sentence("a link is called ", quoted(link.name),
                                  ": a name is not empty and has neither '/' nor a NUL byte"));
    if (links_.size() == limits::kHdf5ObjectsMax)
      return unsupported(
          at, sentence("a group has more links than the limit of ", limits::kHdf5ObjectsMax));
    links_.push_back(std::move(link));
    return {};
  }

  // ---- Link messages ----------------------------------------------------------------------------

  Decoded<void> take_link(Cursor cursor) {
    constexpr unsigned kHasType = 8;
    constexpr unsigned kHasOrder = 4;
    constexpr unsigned kHasCharset = 16;
    const std::uint64_t at = cursor.at();
    const unsigned version = cursor.byte();
    if (version != 1)
      return unsupported(at, sentence("a link is of version ", version, ", but only 1 is known"));
    const unsigned flags = cursor.byte();
    const unsigned type = (flags & kHasType) != 0 ? cursor.byte() : 0u;
    if ((flags & kHasOrder) != 0) cursor.skip(8);
    if ((flags & kHasCharset) != 0) cursor.skip(1);
    Link link;
    link.name = as_text(cursor.take(cursor.number(1u << (flags & 3))));
    constexpr unsigned kExternal = 64;
    link.kind = type == 0           ? Link::Kind::Hard
                : type == 1         ? Link::Kind::Soft
                : type == kExternal ? Link::Kind::External
                                    : Link::Kind::Unknown;
    if (link.kind == Link::Kind::Hard) link.address = cursor.offset();
    if (cursor.failed()) return corrupt(at, "a link is too short");
    return add(at, std::move(link));
  }

  Decoded<void> read_dense(Cursor cursor) {
    const std::uint64_t at = cursor.at();
    cursor.skip(1);
    if ((cursor.byte() & 1) != 0) cursor.skip(8);
    const std::uint64_t heap_address = cursor.offset();
    const std::uint64_t tree_address = cursor.offset();
    if (cursor.failed()) return corrupt(at, "what says where links are is too short");
    if (file_.is_undefined(heap_address) || file_.is_undefined(tree_address)) return {};
    auto heap = FractalHeap::open(file_, heap_address);
    if (!heap) return std::move(heap).error();
    return visit_records(file_, tree_address, RecordType::LinkByName,
                         [&](Cursor record) -> Decoded<void> {
                           record.skip(4);  // the name's hash
                           auto link = heap->object(record);
                           if (!link) return std::move(link).error();
                           return take_link(*link);
                         });
  }

  // ---- Symbol tables ----------------------------------------------------------------------------

  struct Node {
    std::uint64_t address = 0;
    std::optional<unsigned> level;  // of a tree's node: the root's is not known before
    bool is_table = false;
  };

  Decoded<void> read_symbol_table(Cursor cursor) {
    const std::uint64_t at = cursor.at();
    const std::uint64_t tree_address = cursor.offset();
    const std::uint64_t heap_address = cursor.offset();
    if (cursor.failed()) return corrupt(at, "what says where a symbol table is is too short");
    auto heap = LocalHeap::open(file_, heap_address);
    if (!heap) return std::move(heap).error();
    std::vector<Node> nodes{{tree_address, std::nullopt, false}};
    while (!nodes.empty()) {
      const Node node = nodes.back();
      nodes.pop_back();
      auto done = node.is_table ? read_table(node.address, *heap) : read_node(node, nodes);
      if (!done) return done;
    }
    return {};
  }

  Decoded<void> read_node(const Node& node, std::vector<Node>& nodes) {
    const Widths widths = file_.widths();
    auto head = read_btree1_head(file_, {node.address, node.level, BTree1::Group});
    if (!head) return std::move(head).error();
    const auto [level, count, head_bytes] = *head;
    auto block = file_.read(
        {node.address + head_bytes, count * (widths.length_bytes + widths.offset_bytes)});
    if (!block) return std::move(block).error();
    Cursor cursor = file_.cursor(*block);
    for (std::uint64_t i = 0; i < count; ++i) {
      cursor.skip(widths.length_bytes);  // a key: a name that tells where to search
      const std::uint64_t child = cursor.offset();
      nodes.push_back({child, level == 0 ? 0 : level - 1, level == 0});
    }
    return {};
  }

  Decoded<void> read_table(std::uint64_t address, const LocalHeap& heap) {
    constexpr std::uint64_t kHeadBytes = 8;
    auto head = file_.read_signed({address, kHeadBytes}, {"SNOD", 1, false});
    if (!head) return std::move(head).error();
    const std::uint64_t count = load_le<std::uint16_t>(head->bytes.data() + 6);
    const std::uint64_t entry_bytes = 2 * file_.widths().offset_bytes + 24;
    auto block = file_.read({address + kHeadBytes, count * entry_bytes});
    if (!block) return std::move(block).error();
    Cursor cursor = file_.cursor(*block);
    for (std::uint64_t i = 0; i < count; ++i) {
      constexpr std::uint64_t kSoft = 2;
      const std::uint64_t at = cursor.at();
      const std::uint64_t name_at = cursor.offset();
      Link link;
      link.address = cursor.offset();
      if (cursor.number(4) == kSoft) link.kind = Link::Kind::Soft;
      cursor.skip(20);
      const auto name = heap.text_at(name_at);
      if (!name) return name.error();
      link.name = *name;
      if (auto done = add(at, std::move(link)); !done) return done;
    }
    return {};
  }

  File& file_;
  std::vector<Link> links_;
};

}  // namespace

bool is_group(const Object& object) noexcept {
  return object.find(MessageType::SymbolTable) != nullptr ||
         object.find(MessageType::LinkInfo) != nullptr || object.find(MessageType::Link) != nullptr;
}

Decoded<std::vector<Link>> read_links(File& file, const Object& group) {
  return LinkReader(file).read(group);
}

}  // namespace cairn::format::hdf5
