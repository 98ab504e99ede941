// An .npz is a zip archive of .npy files. They are stored as they are, and the elements of each
// begin at a multiple of 64 bytes of the file, so that the archive can be mapped and read in place:
// numpy does not do that, other tools do, and so does Cairn.

#include "lib/edit/write_npz.h"

#include <functional>
#include <set>
#include <string>
#include <utility>

#include "format/le.h"
#include "format/limits.h"
#include "format/numpy/array.h"
#include "format/zip/inflate.h"
#include "format/zip/writer.h"
#include "lib/edit/fit.h"
#include "lib/edit/stream.h"
#include "lib/edit/transfer.h"
#include "lib/read/names.h"
#include "lib/read/open_checkpoint.h"
#include "lib/try.h"
#include "lib/write/free_space.h"
#include "lib/write/layout.h"
#include "lib/write/publisher.h"

namespace cairn::internal {
namespace {

using format::zip::StoredMember;

constexpr std::string_view kSuffix = ".npy";
constexpr std::uint64_t kAlignment = 64;  // what numpy aligns the elements of an .npy file to

std::string head_of(const TensorSpec& spec) {
  return format::numpy::encode_head(numpy_descr(spec), spec.shape);
}

// What numpy users must know to read them as what they are.
void warn_of_void(const FileContents& contents, Transfer& transfer) {
  std::set<std::string> names;
  std::size_t count = 0;
  for (const auto& [position, spec] : contents.tensors) {
    if (!is_named_by_numpy(spec)) names.emplace(name(spec.dtype));
    if (!is_named_by_numpy(spec)) ++count;
  }
  if (names.empty()) return;
  // Two bytes without a type are read as bfloat16.
  const bool is_all_told = names.size() == 1 && names.contains(std::string(name(DType::Bfloat16)));
  transfer.warnings.push_back(
      transfer.prefix.string() + ": numpy does not know the dtype of " + std::to_string(count) +
      (count == 1 ? " tensor" : " tensors") + " (" + first_few(names) +
      "); the bytes are written under another one; in Python, use .view() with the dtype of "
      "ml_dtypes, such as array.view(ml_dtypes.bfloat16)" +
      (is_all_told ? "" : "; to open the file here, give the dtype: void_dtype (--void-dtype)"));
}

// A file on its way: made, and published once its bytes are there.
struct OutgoingFile {
  os::Directory directory;
  std::string base;
  std::string name;
};

Result<OutgoingFile> file_of(const TransferOptions& options, std::string_view suffix,
                             Transfer& transfer) {
  const auto parts = Prefix::of(options.output);
  CAIRN_TRY(directory, os::Directory::open_or_create(parts.directory));
  std::string name = with_suffix(parts.base, suffix);
  transfer.prefix = parts.directory / name;
  CAIRN_CHECK(remove_stale_files(directory));
  return OutgoingFile{std::move(directory), parts.base, std::move(name)};
}

Result<TempFile> create(const OutgoingFile& file, std::uint64_t size_bytes) {
  CAIRN_TRY(temp, TempFile::create(file.directory, file.name));
  CAIRN_CHECK(check_locks(file.directory, temp.file()));
  CAIRN_CHECK(temp.file().reserve(size_bytes));
  return std::move(temp);
}

Result<void> publish(const OutgoingFile& file, TempFile& temp, const TransferOptions& options,
                     Transfer& transfer) {
  CAIRN_CHECK(temp.file().make_read_only());
  CAIRN_CHECK(temp.file().sync());
  CAIRN_TRY(publisher, Publisher::begin({file.directory, file.base, options.output.string()},
                                        {options.lock_wait, options.exec.stop}));
  CAIRN_CHECK(publisher.publish_file(temp, options.replace));
  warn_if_moved(file.directory, transfer);
  return {};
}

}  // namespace

void leave_out_mistaken(std::vector<OutgoingTensor>& tensors, LossyItems& lossy) {
  std::set<std::string, std::less<>> names;
  for (const OutgoingTensor& tensor : tensors) names.insert(tensor.spec.name);
  std::erase_if(tensors, [&](const OutgoingTensor& tensor) {
    const std::string_view name = tensor.spec.name;
    const bool mistaken =
        name.ends_with(kSuffix) && names.contains(name.substr(0, name.size() - kSuffix.size()));
    if (mistaken) lossy.add_tensor(tensor.spec, "for which numpy would take the other one");
    return mistaken;
  });
}

Result<void> write_npz(const FileContents& contents, const TransferOptions& options,
                       Transfer& transfer) {
  CAIRN_TRY(file, file_of(options, ".npz", transfer));
  if (contents.tensors.size() > format::limits::kZipMembersMax) {
    return Error{Code::Unsupported, 0,
                 options.output.string() + ": " + std::to_string(contents.tensors.size()) +
                     " tensors are more than the limit of an .npz archive, " +
                     std::to_string(format::limits::kZipMembersMax)};
  }
  warn_of_void(contents, transfer);
  std::vector<StoredMember> members;
  std::vector<std::string> heads;
  for (const auto& [position, spec] : contents.tensors) {
    heads.push_back(head_of(spec));
    CAIRN_TRY(size_bytes, spec_bytes(spec));
    transfer.payload_bytes_copied += size_bytes;
    members.push_back({spec.name + std::string(kSuffix), heads.back().size() + size_bytes,
                       format::zip::crc32(format::as_bytes(heads.back()))});
  }
  const std::uint64_t directory_at = format::zip::place_members(members, kAlignment);
  CAIRN_TRY(temp, create(file, directory_at));
  CAIRN_CHECK(stream_tensors(request_for(contents, options, transfer), [&](std::size_t i,
                                                                           std::uint64_t at_bytes,
                                                                           auto block) {
    members[i].crc32 = format::zip::crc32(block, members[i].crc32);
    return temp.file().write_at(members[i].data_offset_bytes + heads[i].size() + at_bytes, block);
  }));
  // With the sums, which are known now.
  for (std::size_t i = 0; i < members.size(); ++i) {
    const std::string head = format::zip::encode_local_header(members[i]) + heads[i];
    CAIRN_CHECK(temp.file().write_at(members[i].header_offset_bytes, format::as_bytes(head)));
  }
  const std::string directory = format::zip::encode_directory(members, directory_at);
  CAIRN_CHECK(temp.file().write_at(directory_at, format::as_bytes(directory)));
  return publish(file, temp, options, transfer);
}

Result<void> write_npy(const FileContents& contents, const TransferOptions& options,
                       Transfer& transfer) {
  CAIRN_TRY(file, file_of(options, kSuffix, transfer));
  const TensorSpec& spec = contents.tensors.front().spec;
  warn_of_void(contents, transfer);
  const std::string head = head_of(spec);
  CAIRN_TRY(size_bytes, spec_bytes(spec));
  transfer.payload_bytes_copied = size_bytes;
  CAIRN_TRY(temp, create(file, head.size() + size_bytes));
  CAIRN_CHECK(temp.file().write_at(0, format::as_bytes(head)));
  CAIRN_CHECK(stream_tensors(request_for(contents, options, transfer),
                             [&](std::size_t, std::uint64_t at_bytes, auto block) {
                               return temp.file().write_at(head.size() + at_bytes, block);
                             }));
  return publish(file, temp, options, transfer);
}

}  // namespace cairn::internal
