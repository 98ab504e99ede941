#include "format/hdf5/btree1.h"

#include "format/sentence.h"

namespace cairn::format::hdf5 {

Decoded<BTree1Head> read_btree1_head(File& file, const BTree1Place& place) {
  BTree1Head node;
  node.size_bytes = 8 + 2 * file.widths().offset_bytes;
  auto head = file.read_signed({place.address, node.size_bytes}, {"TREE", File::kNoVersion, false});
  if (!head) return std::move(head).error();
  Cursor cursor = file.cursor(*head);
  cursor.skip(4);
  const unsigned type = cursor.byte();
  node.level = cursor.byte();
  node.count = cursor.number(2);
  if (type != static_cast<unsigned>(place.type)) {
    return corrupt(head->at, place.type == BTree1::Group
                                 ? "a group's B-tree is one of chunks"
                                 : "the B-tree of its chunks is one of a group");
  }
  if (place.level && node.level != *place.level) {
    return corrupt(head->at,
                   sentence("a B-tree's node is of level ", node.level, " and not ", *place.level));
  }
  return node;
}

}  // namespace cairn::format::hdf5
