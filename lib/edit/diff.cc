// What can be said without reading is said first: diff_indexes() makes one pass over both indexes.
// Then tensors are hashed of which one side has a hash, and removed and added tensors that may have
// been renamed. What is left is read on both sides.
//
// Equal checksums alone are no answer: CRC32C has 32 bits, and whoever compares weights wants to
// know. So the bytes are read, unless the caller says that checksums are enough.

#include "cairn/diff.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string_view>
#include <utility>

#include "lib/edit/diff_contents.h"
#include "lib/edit/diff_indexes.h"
#include "lib/edit/diff_renames.h"
#include "lib/os/parallel.h"
#include "lib/try.h"

namespace cairn {
namespace {

using internal::ContentHashes;
using internal::ContentRequest;
using internal::ContentResult;
using internal::DiffPair;
using internal::IndexDiff;
using internal::OpenCheckpoint;

class Differ {
 public:
  Differ(const OpenCheckpoint& a, const OpenCheckpoint& b, const DiffOptions& options)
      : a_(a), b_(b), options_(options), hashes_of_a_(a), hashes_of_b_(b) {}

  Result<Diff> run();

 private:
  void want_hashes();
  Result<void> compute_hashes();
  void settle_by_hash();
  Result<void> compare();
  void add(Change change, std::optional<std::size_t> a, std::optional<std::size_t> b,
           ContentResult content = {});
  void sort();

  const OpenCheckpoint& a_;
  const OpenCheckpoint& b_;
  const DiffOptions& options_;
  ContentHashes hashes_of_a_;
  ContentHashes hashes_of_b_;
  IndexDiff found_;
  std::vector<DiffPair> renamed_;
  std::atomic<std::uint64_t> read_bytes_ = 0;
  Diff diff_;
};

Result<Diff> Differ::run() {
  CAIRN_TRY(found, internal::diff_indexes(a_, b_, options_.trust_checksums));
  found_ = std::move(found);
  want_hashes();
  CAIRN_CHECK(compute_hashes());
  settle_by_hash();
  renamed_ = internal::take_renamed(a_, b_, hashes_of_a_, hashes_of_b_, found_);
  diff_.tensors.reserve(found_.removed.size() + found_.added.size() + renamed_.size() +
                        found_.changed.size());
  for (const std::size_t i : found_.removed) add(Change::Removed, i, std::nullopt);
  for (const std::size_t i : found_.added) add(Change::Added, std::nullopt, i);
  for (const DiffPair& pair : renamed_) add(Change::Renamed, pair.a, pair.b);
  CAIRN_CHECK(compare());
  sort();
  diff_.equal_count = found_.equal_count;
  diff_.equal_by_checksum_count = found_.equal_by_checksum_count;
  diff_.read_bytes = read_bytes_;
  return std::move(diff_);
}

bool has_hash(const OpenCheckpoint& checkpoint, std::size_t position) noexcept {
  return checkpoint.index().tensor_columns().content_hash(position) != nullptr;
}

void Differ::want_hashes() {
  // Where only the index was opened, only its own hashes are there.
  if (!a_.parts().index_only && !b_.parts().index_only)
    internal::want_rename_hashes(a_, b_, found_, hashes_of_a_, hashes_of_b_);
  for (const DiffPair& pair : found_.undecided) {
    if (has_hash(a_, pair.a)) hashes_of_b_.want(pair.b);
    if (has_hash(b_, pair.b)) hashes_of_a_.want(pair.a);
  }
}

Result<void> Differ::compute_hashes() {
  const std::uint64_t of_a = hashes_of_a_.wanted_bytes();
  const std::uint64_t of_b = hashes_of_b_.wanted_bytes();
  CAIRN_CHECK(hashes_of_a_.compute(os::part_of(options_.exec, {0, of_a + of_b})));
  CAIRN_CHECK(hashes_of_b_.compute(os::part_of(options_.exec, {of_a, of_a + of_b})));
  read_bytes_ += of_a + of_b;
  return {};
}

// Of undecided pairs, the one side that the index knows the hash of, and the other that was read.
void Differ::settle_by_hash() {
  std::vector<DiffPair> left;
  for (const DiffPair& pair : found_.undecided) {
    const auto of_a = hashes_of_a_.of(pair.a);
    const auto of_b = hashes_of_b_.of(pair.b);
    if (!of_a || !of_b)
      left.push_back(pair);
    else if (*of_a == *of_b)
      ++found_.equal_count;
    else
      found_.changed.push_back({pair, Change::Content});
  }
  found_.undecided = std::move(left);
}

// Reads what is undecided, and what the options ask for.
Result<void> Differ::compare() {
  std::vector<ContentRequest> requests;
  for (const DiffPair& pair : found_.undecided)
    requests.push_back({pair, options_.ranges, options_.values});
  const std::size_t undecided_count = requests.size();
  std::vector<Change> changes(undecided_count, Change::Content);
  for (const auto& [pair, change] : found_.changed) {
    const bool values = options_.values && internal::has_values(a_, b_, pair);
    const bool ranges = options_.ranges && change == Change::Content;
    auto known = ranges && !values ? internal::ranges_by_sums(a_, b_, pair) : std::nullopt;
    if (known || (!ranges && !values)) {
      add(change, pair.a, pair.b, {true, known ? *std::move(known) : std::vector<ContentRange>()});
      continue;
    }
    requests.push_back({pair, ranges, values});
    changes.push_back(change);
  }
  return internal::compare_contents(a_, b_, requests, options_.exec, read_bytes_,
                                    [&](std::size_t i, ContentResult result) {
                                      const DiffPair& pair = requests[i].pair;
                                      if (i < undecided_count && !result.differs)
                                        ++found_.equal_count;
                                      else
                                        add(changes[i], pair.a, pair.b, std::move(result));
                                    });
}

void Differ::add(Change change, std::optional<std::size_t> a, std::optional<std::size_t> b,
                 ContentResult content) {
  TensorDifference& difference = diff_.tensors.emplace_back();
  difference.change = change;
  if (a) difference.a = a_.handle(*a);
  if (b) difference.b = b_.handle(*b);
  difference.ranges = std::move(content.ranges);
  difference.values = content.values;
}

std::string_view name_of(const TensorDifference& difference) noexcept {
  return (difference.a ? difference.a : difference.b)->name();
}

// How much the values changed; −1: there are none. What is too large for a number is more than all
// that is not.
double amount_of(const TensorDifference& difference) noexcept {
  if (!difference.values) return -1;
  const double amount = difference.values->norm_rel;
  return std::isnan(amount) ? HUGE_VAL : amount;
}

void Differ::sort() {
  const auto before = [](const TensorDifference& one, const TensorDifference& other) {
    const double amount_of_one = amount_of(one);
    const double amount_of_other = amount_of(other);
    if (amount_of_one != amount_of_other) return amount_of_one > amount_of_other;
    return name_of(one) < name_of(other);
  };
  if (!std::ranges::is_sorted(diff_.tensors, before)) std::ranges::sort(diff_.tensors, before);
}

}  // namespace

std::string_view name(Change change) noexcept {
  switch (change) {
    case Change::Removed:
      return "removed";
    case Change::Added:
      return "added";
    case Change::Renamed:
      return "renamed";
    case Change::DType:
      return "dtype";
    case Change::Shape:
      return "shape";
    case Change::Content:
      return "content";
  }
  return "unknown";
}

Result<Diff> diff(const Checkpoint& a, const Checkpoint& b, const DiffOptions& options) noexcept {
  return at_boundary(
      [&] { return Differ(OpenCheckpoint::of(a), OpenCheckpoint::of(b), options).run(); });
}

}  // namespace cairn
