#include "disk.h"

#include <algorithm>

#include "format/digest.h"
#include "format/le.h"

namespace cairn::crash {
namespace {

constexpr std::uint64_t kBlockBytes = 4096;

// A block of a new file that was never written shows what somebody else's file held there, where
// the file system does not order data before metadata.
constexpr unsigned kGarbage = 2;

std::byte garbage_at(std::uint64_t offset_bytes) noexcept {
  return static_cast<std::byte>(0xa5u ^ (offset_bytes * 7));
}

void write(File& file, std::uint64_t offset_bytes, std::span<const std::byte> bytes) {
  file.bytes.resize(std::max<std::uint64_t>(file.bytes.size(), offset_bytes + bytes.size()));
  std::ranges::copy(bytes, file.bytes.begin() + static_cast<std::ptrdiff_t>(offset_bytes));
}

void change_names(Image& image, const Operation& operation) {
  Names& names = image.directories[operation.inode];
  for (const auto& change : operation.changes) {
    if (change.inode == kNothing) {
      names.erase(change.name);
    } else {
      names[change.name] = change.inode;
    }
  }
}

// A file or directory exists from the first name on that it is given, whether the name lasts or
// not.
void make_inodes(Image& image, const Operation& operation) {
  for (const auto& change : operation.changes) {
    if (change.inode == kNothing) continue;
    image.next_inode = std::max(image.next_inode, change.inode + 1);
    if (change.is_directory) {
      image.directories.try_emplace(change.inode);
    } else if (!image.files.contains(change.inode)) {
      image.files[change.inode] = std::make_shared<File>();
    }
  }
}

std::uint64_t size_after(const Operation& operation, std::uint64_t size_bytes) noexcept {
  return std::max(size_bytes, operation.kind == Operation::Kind::Resize
                                  ? operation.size_bytes
                                  : operation.offset_bytes + operation.bytes.size());
}

bool touches_bytes(const Operation& operation) noexcept {
  return operation.kind == Operation::Kind::Write || operation.kind == Operation::Kind::Resize;
}

Bytes piece_of(const Disk::Point& point, bool is_garbage) {
  const auto begin =
      point.operation->bytes.begin() + static_cast<std::ptrdiff_t>(point.offset_bytes);
  Bytes bytes(begin, begin + static_cast<std::ptrdiff_t>(point.size_bytes));
  for (std::size_t i = 0; is_garbage && i < bytes.size(); ++i) bytes[i] = garbage_at(i);
  return bytes;
}

}  // namespace

void apply(Image& image, const Operation& operation) {
  if (operation.kind == Operation::Kind::Naming) {
    make_inodes(image, operation);
    change_names(image, operation);
  } else if (touches_bytes(operation)) {
    auto& slot = image.files[operation.inode];
    auto file = std::make_shared<File>(*slot);
    file->bytes.resize(size_after(operation, file->bytes.size()));
    write(*file, operation.offset_bytes, operation.bytes);
    file->mtime_ns = operation.now_ns;
    slot = std::move(file);
  }
  image.now_ns = std::max(image.now_ns, operation.now_ns);
}

void Disk::take(const Operation& operation) {
  durable_.now_ns = std::max(durable_.now_ns, operation.now_ns);
  if (operation.kind == Operation::Kind::Naming) make_inodes(durable_, operation);
  if (operation.kind == Operation::Kind::FailedSync) {
    for (Pending& pending : pending_) {
      // The kernel marks the pages clean: it will not write them again.
      if (pending.operation->inode == operation.inode) pending.given_up = true;
    }
  } else if (operation.kind == Operation::Kind::Sync) {
    std::erase_if(pending_, [&](const Pending& pending) {
      if (pending.operation->inode != operation.inode || pending.given_up) return false;
      apply(durable_, *pending.operation);
      return true;
    });
  } else {
    pending_.push_back({&operation});
  }
}

std::vector<Disk::Point> Disk::points() const {
  std::vector<Point> points;
  std::map<Inode, std::size_t> metadata;  // the file's point
  for (const auto& [operation, given_up] : pending_) {
    if (operation->kind == Operation::Kind::Naming) {
      points.push_back({Point::Kind::Naming, operation});
      continue;
    }
    const auto [at, is_new] = metadata.try_emplace(operation->inode, points.size());
    if (is_new) {
      points.push_back({Point::Kind::Metadata, operation});
    } else {
      points[at->second].done = points[at->second].alternatives++;
    }
    for (std::uint64_t done = 0; done < operation->bytes.size();) {
      const std::uint64_t at_bytes = operation->offset_bytes + done;
      const std::uint64_t piece =
          std::min(kBlockBytes - at_bytes % kBlockBytes, operation->bytes.size() - done);
      const bool is_fresh = at_bytes >= durable_.files.at(operation->inode)->bytes.size();
      points.push_back({Point::Kind::Block, operation, done, piece, is_fresh ? 3u : 2u});
      done += piece;
    }
  }
  return points;
}

Image Disk::left(const std::vector<Point>& points, const Choice& choice) const {
  Image image = durable_;
  std::map<Inode, std::shared_ptr<File>> changed;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const Operation& operation = *points[i].operation;
    if (points[i].kind == Point::Kind::Metadata) {
      changed[operation.inode] = std::make_shared<File>(*durable_.files.at(operation.inode));
    } else if (choice[i] != 0 && points[i].kind == Point::Kind::Naming) {
      change_names(image, operation);
    } else if (choice[i] != 0) {
      write(*changed[operation.inode], operation.offset_bytes + points[i].offset_bytes,
            piece_of(points[i], choice[i] == kGarbage));
    }
  }
  // Last, since the length cuts off what was written behind it.
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (points[i].kind != Point::Kind::Metadata) continue;
    const Inode inode = points[i].operation->inode;
    set_metadata(inode, choice[i], *changed[inode]);
    image.files[inode] = changed[inode];
  }
  return image;
}

void Disk::set_metadata(Inode inode, unsigned operation_count, File& file) const {
  const File& durable = *durable_.files.at(inode);
  std::uint64_t size_bytes = durable.bytes.size();
  file.mtime_ns = durable.mtime_ns;
  for (const auto& [operation, given_up] : pending_) {
    if (operation_count == 0) break;
    if (operation->inode != inode || !touches_bytes(*operation)) continue;
    size_bytes = size_after(*operation, size_bytes);
    file.mtime_ns = operation->now_ns;
    --operation_count;
  }
  file.bytes.resize(size_bytes);
}

void each_choice(const std::vector<Disk::Point>& points,
                 const std::function<void(const Disk::Choice&)>& visit) {
  Disk::Choice choice(points.size(), 0);
  while (true) {
    visit(choice);
    std::size_t at = 0;
    while (at < points.size() && ++choice[at] == points[at].alternatives) choice[at++] = 0;
    if (at == points.size()) return;
  }
}

std::string key_of(const Image& image) {
  std::string key;
  std::vector<std::pair<std::string, Inode>> rest = {{"", kRoot}};
  while (!rest.empty()) {
    const auto [path, directory] = std::move(rest.back());
    rest.pop_back();
    for (const auto& [name, inode] : image.directories.at(directory)) {
      key += path + "/" + name + ":" + std::to_string(inode);
      if (image.directories.contains(inode)) {
        rest.emplace_back(path + "/" + name, inode);
        continue;
      }
      const File& file = *image.files.at(inode);
      const Digest128 digest = format::xxh3_128(file.bytes);
      key += ":" + std::to_string(file.mtime_ns) + ":";
      key += format::as_text(digest.bytes);
    }
  }
  return key;
}

}  // namespace cairn::crash
