#pragma once

// The operations of pickles, by the names that Python's pickle.py gives them.

#include <array>
#include <cstdint>
#include <initializer_list>

namespace cairn::format::pickle {

enum Op : std::uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kDup = '2',
  kFloat = 'F',
  kInt = 'I',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kLong = 'L',
  kBinInt2 = 'M',
  kNoneOp = 'N',
  kPersId = 'P',
  kBinPersId = 'Q',
  kReduce = 'R',
  kString = 'S',
  kBinString = 'T',
  kShortBinString = 'U',
  kUnicode = 'V',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kDict = 'd',
  kAppends = 'e',
  kGet = 'g',
  kBinGet = 'h',
  kInst = 'i',
  kLongBinGet = 'j',
  kList = 'l',
  kObj = 'o',
  kPut = 'p',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kBinFloat = 'G',
  kEmptyList = ']',
  kEmptyTupleOp = ')',
  kEmptyDict = '}',
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kProto = 0x80,
  kNewObj = 0x81,
  kExt1 = 0x82,
  kExt2 = 0x83,
  kExt4 = 0x84,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kLong4 = 0x8b,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e,
  kEmptySet = 0x8f,
  kAddItems = 0x90,
  kFrozenSet = 0x91,
  kNewObjEx = 0x92,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
  kByteArray8 = 0x96,
  kNextBuffer = 0x97,
  kReadonlyBuffer = 0x98,
};

// Which function knows an operation that Machine::step() itself does not know.
enum class Group : std::uint8_t { Other, Stack, Scalar, Text, Container, Object };

inline constexpr std::array<Group, 256> kGroups = [] {
  using enum Group;
  std::array<Group, 256> groups{};
  const auto set = [&](Group group, std::initializer_list<std::uint8_t> ops) {
    for (const std::uint8_t op : ops) groups[op] = group;
  };
  set(Stack, {kStop, kPop, kPopMark, kDup});
  set(Scalar, {kNoneOp, kNewTrue, kNewFalse, kLong1, kLong4, kBinFloat, kInt, kLong, kFloat});
  set(Text, {kShortBinUnicode, kBinUnicode, kBinUnicode8, kShortBinString, kBinString, kString,
             kUnicode, kShortBinBytes, kBinBytes, kBinBytes8, kByteArray8});
  set(Container,
      {kEmptyList, kEmptyTupleOp, kEmptyDict, kEmptySet, kTuple1, kTuple2, kTuple3, kList, kTuple,
       kDict, kFrozenSet, kAppend, kAppends, kSetItem, kSetItems, kAddItems});
  set(Object, {kGlobal, kStackGlobal, kReduce, kNewObj, kNewObjEx, kInst, kObj, kBuild});
  return groups;
}();

}  // namespace cairn::format::pickle
