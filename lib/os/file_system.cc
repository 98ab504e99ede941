// Which file systems hide a network cannot be listed (FUSE alone hides dozens), so the list is of
// those that are known not to.

#include "lib/os/file_system.h"

#include <sys/vfs.h>

#include <cstdint>
#include <cstdio>

namespace cairn::os {
namespace {

struct Known {
  std::uint32_t number;  // statfs(2)'s f_type
  const char* name;
  bool is_local;
  bool is_memory;
};

constexpr Known kKnown[] = {
    {0x0000ef53, "ext4", true, false},       // ext2 and ext3 too
    {0x01021994, "tmpfs", true, true},       //
    {0x2fc12fc1, "zfs", true, false},        //
    {0x58465342, "xfs", true, false},        //
    {0x794c7630, "overlayfs", true, false},  //
    {0x858458f6, "ramfs", true, true},       //
    {0x9123683e, "btrfs", true, false},      //
    {0xca451a4e, "bcachefs", true, false},   //
    {0xf2f52010, "f2fs", true, false},       //
    {0x00006969, "nfs", false, false},       //
    {0xff534d42, "cifs", false, false},      //
    {0xfe534d42, "smb2", false, false},      //
    {0x00c36400, "ceph", false, false},      //
    {0x0bd00bd0, "lustre", false, false},    //
    {0x01021997, "9p", false, false},        //
    {0x65735546, "fuse", false, false},      //
};

FileSystem named(const struct statfs& status) {
  const auto number = static_cast<std::uint32_t>(status.f_type);
  for (const Known& known : kKnown) {
    if (known.number == number) return {known.name, known.is_local, known.is_memory};
  }
  char digits[16];
  std::snprintf(digits, sizeof digits, "0x%08x", number);
  return {digits, false, false};
}

}  // namespace

FileSystem file_system_of(const File& file) {
  struct statfs status{};
  return ::fstatfs(file.fd(), &status) == 0 ? named(status) : FileSystem{"unknown", false, false};
}

FileSystem file_system_at(const std::string& path) {
  struct statfs status{};
  return ::statfs(path.c_str(), &status) == 0 ? named(status) : FileSystem{"unknown", false, false};
}

}  // namespace cairn::os
