#pragma once

// What a file may ask for, and the abuse that each limit stops. Allocation is bounded by file size
// besides.

#include <cstdint>

namespace cairn::format::limits {

// FlatBuffers' offsets are 31 bits, and its verifier asserts on more: a sparse 3 GiB file must not
// reach it.
inline constexpr std::uint64_t kIndexBytesMax = (std::uint64_t{1} << 31) - 2;

// A foreign index is read into memory: stops a sparse file from taking all of it.
inline constexpr std::uint64_t kForeignIndexBytesMax = std::uint64_t{1} << 31;

// numpy's is 64, TensorFlow's 254: stops a shape that costs more than its tensor.
inline constexpr std::uint32_t kRankMax = 254;

// Names of 600 KB were seen to work in TensorFlow: stops names that make every message a flood.
inline constexpr std::uint64_t kNameBytesMax = std::uint64_t{1} << 20;

// Each shard is a descriptor and a mapping: stops an index from exhausting both.
inline constexpr std::uint32_t kShardsMax = 65'536;

// A file name's limit on Linux.
inline constexpr std::uint32_t kShardNameBytesMax = 255;

// A Snappy block can claim 4 GiB in 5 bytes.
inline constexpr std::uint64_t kSnappyRatioMax = 32;

// Smaller chunks cost more for their sums than they save in reading: stops sums of every byte.
inline constexpr std::uint32_t kChunkBytesMin = 4'096;

// Keys in a table share prefixes, so 10 bytes can claim a key of a megabyte. TensorFlow's restart
// every 16 entries keeps rebuilt keys below 16 times their block.
inline constexpr std::uint64_t kKeyRatioMax = 64;

// A record of a V1 file is a message of protobuf, which ends at 2 GiB, and a block holds one of any
// size: stops a sparse file from taking all memory for a block of its own.
inline constexpr std::uint64_t kTableBlockBytesMax =
    (std::uint64_t{1} << 31) + (std::uint64_t{1} << 20);

// The safetensors library's own limit on its header.
inline constexpr std::uint64_t kSafetensorsHeaderBytesMax = 100'000'000;

// Of a header that the caller asks for although it is longer: 11 million tensors. It is read into
// memory if it is not written as the safetensors library writes it.
inline constexpr std::uint64_t kSafetensorsLargeHeaderBytesMax = std::uint64_t{1} << 30;

// The tokens of the largest vocabularies take 20 MB. A sparse file can claim any number of values.
inline constexpr std::uint64_t kGgufHeaderBytesMax = std::uint64_t{1} << 28;

// Of all metadata of a GGUF file as text, six times what real vocabularies take. A byte of an array
// becomes up to six of JSON.
inline constexpr std::uint64_t kGgufMetadataBytesMax = std::uint64_t{1} << 27;

// A tensor takes 24 bytes of the header and some 300 of memory, and a key 13 and 64.
inline constexpr std::uint64_t kGgufTensorsMax = std::uint64_t{1} << 20;
inline constexpr std::uint64_t kGgufKeysMax = std::uint64_t{1} << 20;

// No writer is known that nests arrays at all.
inline constexpr std::size_t kGgufArrayDepthMax = 16;

// HDF5's own limit.
inline constexpr std::uint32_t kHdf5RankMax = 32;

// Groups and datasets of a file, and links of a group: a dataset takes some 300 bytes of the file
// and 500 of memory.
inline constexpr std::uint64_t kHdf5ObjectsMax = std::uint64_t{1} << 20;

// Of groups in groups, and of the names of all tensors: a chain of groups makes names that grow
// with each, so that a megabyte of file would be a terabyte of names.
inline constexpr std::size_t kHdf5DepthMax = 1'000;
inline constexpr std::uint64_t kHdf5NamesBytesMax = std::uint64_t{1} << 28;

// Structures may lead to each other in any way: stops those that lead to the same bytes again and
// again. Real files are read less than twice.
inline constexpr std::uint64_t kHdf5StructureRatioMax = 16;
inline constexpr std::uint64_t kHdf5StructureBytesMax = std::uint64_t{1} << 31;

// The library's own limit.
inline constexpr std::uint64_t kHdf5HeapBlockBytesMax = std::uint64_t{1} << 31;

// Of all attributes as text. Keras' whole model is one of 64 KB at most, or of some MB.
inline constexpr std::uint64_t kHdf5MetadataBytesMax = std::uint64_t{1} << 27;

// Of one dataset: each takes 32 bytes of memory.
inline constexpr std::uint64_t kHdf5ChunksMax = std::uint64_t{1} << 24;
// protobuf's own: stops a tower of subgraphs.
inline constexpr std::size_t kOnnxDepthMax = 100;

// A tensor takes 8 bytes of the file and some 300 of memory.
inline constexpr std::uint64_t kOnnxTensorsMax = std::uint64_t{1} << 20;

// Every tensor of a subgraph has the names of the nodes around it: stops a long one from being in
// all of them.
inline constexpr std::uint64_t kOnnxNamesBytesMax = std::uint64_t{1} << 27;

// Vocabularies take a tenth of it. A string takes 2 bytes of the file and 26 of memory.
inline constexpr std::uint64_t kOnnxStringsBytesMax = std::uint64_t{1} << 24;

// Tokenizers are put there, of some megabytes.
inline constexpr std::uint64_t kOnnxMetadataBytesMax = std::uint64_t{1} << 27;

// Tables of FlatBuffers can be in a list any number of times: four bytes of the file claim 300 of
// memory, and a name.
inline constexpr std::uint64_t kFlatTensorsMax = std::uint64_t{1} << 18;
inline constexpr std::uint64_t kFlatNamesBytesMax = std::uint64_t{1} << 27;

// A catalog of a million checkpoints has 100 MB: stops a directory's `checkpoint` from being a disk
// image.
inline constexpr std::uint64_t kCatalogBytesMax = std::uint64_t{1} << 27;

// An eighth of what protobuf allows: stops a string tensor of any size from being parsed.
inline constexpr std::uint64_t kObjectGraphBytesMax = std::uint64_t{1} << 28;

// Fields of the graph and of its nodes: an empty one takes two bytes of the message and up to 152
// of memory.
inline constexpr std::uint64_t kObjectGraphPartsMax = std::uint64_t{1} << 23;

// Deflate makes at most 258 bytes of two bits: stops a member that claims more than it can become.
inline constexpr std::uint64_t kDeflateRatioMax = 1'032;

// A model of 100,000 parameters has as many members and a directory of 10 MB: stops an archive from
// being nothing but a directory.
inline constexpr std::uint64_t kZipMembersMax = std::uint64_t{1} << 20;
inline constexpr std::uint64_t kZipDirectoryBytesMax = std::uint64_t{1} << 28;

// A checkpoint of 100,000 tensors has a pickle of 15 MB: stops a sparse file from taking all
// memory, of which a pickle may take 64 times its bytes.
inline constexpr std::uint64_t kPickleBytesMax = std::uint64_t{1} << 28;

// Values that a pickle leads to by different ways: a list of itself twice, 40 deep, leads to 2^40.
inline constexpr std::uint64_t kPickleVisitsMax = 1'000'000;

// Values in values. Nobody nests a model so deep.
inline constexpr std::size_t kPickleDepthMax = 1'000;

// What is made of a pickle, by its bytes: a reference of two bytes may name a tensor of 300.
inline constexpr std::uint64_t kPickleRatioMax = 64;

}  // namespace cairn::format::limits
