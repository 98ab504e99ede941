#include "format/hdf5/btree2.h"

#include <algorithm>
#include <bit>

#include "format/checked.h"
#include "format/sentence.h"

namespace cairn::format::hdf5 {
namespace {

constexpr std::uint64_t kFrameBytes = 10;  // of a node: signature, version, type, checksum
constexpr std::uint64_t kHeadBytes = 6;

class RecordVisitor {
 public:
  using Visit = std::function<Decoded<void>(Cursor)>;

  RecordVisitor(File& file, RecordType wanted, const Visit& visit)
      : file_(file), wanted_(wanted), visit_(visit) {}

  Decoded<void> run(std::uint64_t address) {
    if (auto done = read_header(address); !done) return done;
    while (!nodes_.empty()) {
      const Node node = nodes_.back();
      nodes_.pop_back();
      if (auto done = read_node(node); !done) return done;
    }
    return {};
  }

 private:
  struct Node {
    std::uint64_t address = 0;
    std::uint64_t record_count = 0;
    std::size_t depth = 0;  // 0: a leaf
  };

  Decoded<void> read_header(std::uint64_t address) {
    const std::uint64_t size = 22 + file_.widths().offset_bytes + file_.widths().length_bytes;
    auto block = file_.read_signed({address, size}, {"BTHD"});
    if (!block) return std::move(block).error();
    Cursor cursor = file_.cursor(*block);
    cursor.skip(5);
    const unsigned type = cursor.byte();
    node_bytes_ = cursor.number(4);
    record_bytes_ = cursor.number(2);
    const auto depth = static_cast<std::size_t>(cursor.number(2));
    cursor.skip(2);
    Node root;
    root.address = cursor.offset();
    root.record_count = cursor.number(2);
    root.depth = depth;
    if (cursor.failed()) return corrupt(block->at, "a B-tree's header is too short");
    if (type != static_cast<unsigned>(wanted_))
      return corrupt(block->at, sentence("a B-tree has records of type ", type, " and not ",
                                         static_cast<unsigned>(wanted_)));
    if (auto done = compute_widths(block->at, depth); !done) return done;
    if (root.record_count != 0 || depth != 0) nodes_.push_back(root);
    return {};
  }

  // How wide a node's counts are depends on how many records a node below it has room for.
  Decoded<void> compute_widths(std::uint64_t at, std::size_t depth) {
    if (record_bytes_ == 0 || node_bytes_ < kFrameBytes + record_bytes_ || depth > kDepthMax)
      return corrupt(at, sentence("a B-tree of depth ", depth, " with records of ", record_bytes_,
                                  " bytes in nodes of ", node_bytes_));
    std::uint64_t records_max = (node_bytes_ - kFrameBytes) / record_bytes_;
    std::uint64_t all_max = records_max;
    count_width_ = width_of(records_max);
    all_widths_ = {0};
    for (std::size_t level = 1; level <= depth; ++level) {
      const std::uint64_t pointer_bytes =
          file_.widths().offset_bytes + count_width_ + all_widths_.back();
      if (node_bytes_ < kFrameBytes + pointer_bytes)
        return corrupt(at, "a B-tree's nodes have no room for records");
      records_max = (node_bytes_ - kFrameBytes - pointer_bytes) / (record_bytes_ + pointer_bytes);
      const auto below = checked_mul(records_max + 1, all_max);
      const auto all = below ? checked_add(*below, records_max) : std::nullopt;
      if (!all) return corrupt(at, sentence("a B-tree of depth ", depth, " is too deep"));
      all_max = *all;
      all_widths_.push_back(width_of(all_max));
    }
    return {};
  }

  Decoded<void> read_node(const Node& node) {
    const std::uint64_t children = node.depth == 0 ? 0 : node.record_count + 1;
    const std::uint64_t pointer_bytes =
        node.depth == 0 ? 0
                        : file_.widths().offset_bytes + count_width_ + all_widths_[node.depth - 1];
    // The checksum follows what is used of the node.
    const std::uint64_t size =
        kFrameBytes + node.record_count * record_bytes_ + children * pointer_bytes;
    if (size > node_bytes_)
      return corrupt(file_.place(node.address), sentence("a B-tree's node has ", node.record_count,
                                                         " records, more than it has room for"));
    auto block = file_.read_signed({node.address, size}, {node.depth == 0 ? "BTLF" : "BTIN"});
    if (!block) return std::move(block).error();
    Cursor cursor = file_.cursor(*block);
    cursor.skip(kHeadBytes);
    for (std::uint64_t i = 0; i < node.record_count; ++i) {
      const std::uint64_t at = cursor.at();
      if (auto done = visit_({cursor.take(record_bytes_), at, file_.widths()}); !done) return done;
    }
    for (std::uint64_t i = 0; i < children; ++i) {
      Node child;
      child.address = cursor.offset();
      child.record_count = cursor.number(count_width_);
      cursor.skip(all_widths_[node.depth - 1]);
      child.depth = node.depth - 1;
      nodes_.push_back(child);
    }
    return {};
  }

  static constexpr std::size_t kDepthMax = 64;  // of two records in a node, more than any file has

  File& file_;
  const RecordType wanted_;
  const Visit& visit_;
  std::uint64_t node_bytes_ = 0;
  std::uint64_t record_bytes_ = 0;
  unsigned count_width_ = 0;
  std::vector<unsigned> all_widths_;  // of the records below a node, by its depth
  std::vector<Node> nodes_;
};

}  // namespace

Decoded<void> visit_records(File& file, std::uint64_t address, RecordType wanted,
                            const std::function<Decoded<void>(Cursor)>& visit) {
  return RecordVisitor(file, wanted, visit).run(address);
}

}  // namespace cairn::format::hdf5
