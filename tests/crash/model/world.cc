#include "world.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>

#include "cairn/catalog.h"
#include "cairn/convert.h"
#include "cairn/saver.h"
#include "cairn/writer.h"
#include "lib/os/file.h"
#include "lib/read/names.h"
#include "machine.h"

namespace cairn::crash {
namespace {

using Breach = std::optional<std::string>;
using Claim = Held::Claim;

ExecOptions alone() {
  ExecOptions exec;
  exec.threads_max = 1;
  return exec;
}

Breach differs(const Tensor& tensor, const test::Content& content) {
  if (tensor.dtype() != content.spec.dtype ||
      !std::ranges::equal(tensor.shape(), content.spec.shape))
    return content.spec.name + " has another dtype or shape";
  if (content.spec.dtype == DType::String) {
    const auto strings = tensor.strings();
    if (!strings) return strings.error().what;
    if (std::ranges::equal(*strings, content.strings)) return std::nullopt;
    return content.spec.name + " has other strings";
  }
  Bytes bytes(content.bytes.size());
  const auto read = tensor.read(bytes);
  if (!read) return read.error().what;
  if (bytes == content.bytes) return std::nullopt;
  return content.spec.name + " has other bytes";
}

Breach differs(const Checkpoint& checkpoint, const Contents& contents) {
  if (checkpoint.tensor_count() != contents.size())
    return "it has " + std::to_string(checkpoint.tensor_count()) + " tensors, not " +
           std::to_string(contents.size());
  for (const test::Content& content : contents) {
    const auto tensor = checkpoint.tensor(content.spec.name);
    if (!tensor) return tensor.error().what;
    if (auto found = differs(*tensor, content)) return found;
  }
  return std::nullopt;
}

Breach damage_of(const Checkpoint& checkpoint) {
  const auto verification = checkpoint.verify(alone());
  if (!verification) return verification.error().what;
  if (verification->damage.empty()) return std::nullopt;
  return "verify finds damage in tensor \"" + verification->damage.front().tensor + "\"";
}

// What no P.index can say. Empty: it says it.
Breach differs_in_marks(const Checkpoint& checkpoint, const Held& held) {
  if (checkpoint.format() != Format::Cairn) return "its P.cairn is skipped";
  if (checkpoint.metadata("note").value_or("") != held.note) return "it has another note";
  if (checkpoint.metadata("cairn.pinned").has_value() == held.pinned) return std::nullopt;
  return held.pinned ? "it is not pinned any more" : "it is pinned";
}

// Whether there is an index that we wrote over files that others did.
bool is_ours(const std::string& index, const Held& held) {
  const Inode inode = running().find(index);
  return inode != kNothing && std::ranges::count(held.foreign_indexes, inode) == 0;
}

// Whether what opens at `path`, or that nothing does, is one of these. `index`: the one that
// speaks.
Breach breach_of_prefix(const std::string& path, const std::string& index, const Held& before,
                        const Held& after) {
  if (after.claim == Claim::Anything) return std::nullopt;
  if (before.claim == Claim::Anything && !is_ours(path + index, before)) return std::nullopt;
  const auto checkpoint = Checkpoint::open(path);
  if (!checkpoint) {
    const bool goes = before.claim == Claim::Whole && after.claim == Claim::Nothing;
    const bool may_lack = before.claim == Claim::Nothing || after.claim == Claim::Nothing;
    // No index may be left that names what is not there, but while a checkpoint is removed.
    const bool named = os::look(path + ".index").value_or(std::nullopt) ||
                       os::look(path + ".cairn").value_or(std::nullopt) ||
                       (after.is_model && os::look(path).value_or(std::nullopt));
    if (may_lack && (goes || !named) && checkpoint.error().code == Code::NotFound)
      return std::nullopt;
    return checkpoint.error().what;
  }
  // Of what goes, and is not listed any more, a power cut may keep the removal of either index
  // alone; to pin what is not ours is to import it first.
  const bool marked = index == ".cairn" && before.claim != Claim::Anything &&
                      !(before.claim == Claim::Whole && after.claim == Claim::Nothing);
  std::string why = ": opens, though there should be nothing";
  for (const Held* held : {&before, &after}) {
    if (held->claim != Claim::Whole) continue;
    Breach found = differs(*checkpoint, *held->contents);
    if (!found && marked && held->cairn) found = differs_in_marks(*checkpoint, *held);
    if (!found) return damage_of(*checkpoint);
    why = ": " + *found;
  }
  return path + why;
}

Breach breach_of_files(const std::string& path, const Held& held) {
  if (held.claim != Claim::Whole) return std::nullopt;
  if (held.cairn && !os::look(path + ".cairn").value_or(std::nullopt))
    return path + ".cairn is gone";
  if (held.meta_graph.empty()) return std::nullopt;
  const std::filesystem::path meta = path + ".meta";
  const Machine& machine = running();
  const Inode inode = machine.find(meta);
  if (inode == kNothing) return meta.string() + " is gone";
  const Bytes& bytes = machine.file(inode).bytes;
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text == held.meta_graph) return std::nullopt;
  return meta.string() + " has other bytes";
}

Breach breach_of_catalog(const World& before, const World& after) {
  const auto state = get_checkpoint_state(after.directory);
  if (!state) return state.error().what;
  std::vector<std::string> listed;
  if (*state) {
    for (const auto& prefix : (*state)->all_model_checkpoint_paths)
      listed.push_back(prefix.string());
  }
  if (listed != before.listed && listed != after.listed)
    return "the catalog lists " + std::to_string(listed.size()) + " others";
  if (!*state) return std::nullopt;
  for (const std::string& prefix : listed) {
    const auto checkpoint = Checkpoint::open(prefix);
    if (!checkpoint) return "listed in the catalog: " + checkpoint.error().what;
    if (auto found = damage_of(*checkpoint)) return "listed in the catalog: " + *found;
  }
  const auto latest = latest_checkpoint(after.directory);
  if (!latest) return latest.error().what;
  if (!*latest || latest->value() != listed.back()) return "latest_checkpoint gives another one";
  const auto whole = latest_whole(after.directory);
  if (!whole) return whole.error().what;
  if (!whole->prefix || *whole->prefix != listed.back()) return "latest_whole skips the latest";
  const auto by_directory = Checkpoint::open(after.directory);
  return by_directory ? std::nullopt : Breach(by_directory.error().what);
}

// What moves is never in neither place.
Breach breach_of_move(const World& after) {
  std::string why;
  for (const std::string& prefix : after.either) {
    const auto checkpoint = Checkpoint::open(prefix);
    const Breach found = checkpoint ? damage_of(*checkpoint) : checkpoint.error().what;
    if (!found) return std::nullopt;
    why += "; " + *found;
  }
  return why.empty() ? std::nullopt : Breach("nothing is left of what moves" + why);
}

Held held_in(const World& world, const std::string& prefix) {
  const auto found = world.checkpoints.find(prefix);
  return found == world.checkpoints.end() ? Held{} : found->second;
}

std::set<std::string> prefixes_of(const World& before, const World& after) {
  std::set<std::string> prefixes;
  for (const World* world : {&before, &after}) {
    for (const auto& [prefix, held] : world->checkpoints) prefixes.insert(prefix);
  }
  return prefixes;
}

// What is left for a reader who knows P.index only.
Held seen_by_tensorflow(Held held) {
  if (held.claim == Claim::Whole && !held.tensorflow) held.claim = Claim::Nothing;
  return held;
}

Image without_cairn(Image image) {
  for (auto& [inode, names] : image.directories) {
    std::erase_if(names, [](const auto& entry) { return entry.first.ends_with(".cairn"); });
  }
  return image;
}

Breach breach_for_tensorflow(const Image& image, const World& before, const World& after) {
  Machine machine(without_cairn(image));
  const Running here(machine);
  for (const std::string& prefix : prefixes_of(before, after)) {
    const Held old_one = seen_by_tensorflow(held_in(before, prefix));
    const Held new_one = seen_by_tensorflow(held_in(after, prefix));
    if (prefix.ends_with(".safetensors") || new_one.is_model) continue;
    if (auto found = breach_of_prefix(prefix, ".index", old_one, new_one))
      return "by P.index: " + *found;
  }
  return std::nullopt;
}

// Whether a file under this prefix has a place in the checkpoint.
bool belongs(const std::string& name, const std::string& base, const Checkpoint& checkpoint) {
  for (std::size_t i = 0; i < checkpoint.shard_count(); ++i) {
    if (name == checkpoint.shard_at(i).name) return true;
  }
  return name == base + ".index" || name == base + ".cairn" || name == base + ".meta" ||
         name == base + ".safetensors";
}

Result<void> save(const std::string& prefix, const Contents& contents) {
  auto writer = Writer::create(prefix, test::specs_of(contents));
  if (!writer) return writer.error();
  for (const test::Content& content : contents) {
    if (auto done = test::write_content(*writer, content); !done) return done;
  }
  return writer->commit();
}

// A model in the same place: it opens, and nothing of another writer is left beside it.
Breach breach_of_next_model(const Machine& machine, const std::string& path,
                            const Contents& contents) {
  if (const auto saved = save("/next", contents); !saved) return saved.error().what;
  TransferOptions options;
  options.output = path;
  options.replace = true;
  options.max_shard_bytes = 1;
  options.exec = alone();
  const auto converted = convert("/next", Format::Safetensors, options);
  if (!converted) return converted.error().what;
  const auto checkpoint = Checkpoint::open(path);
  if (!checkpoint) return checkpoint.error().what;
  if (auto found = differs(*checkpoint, contents)) return found;
  for (const auto& [name, inode] : machine.names(machine.find("/hub"))) {
    if (os::is_temporary_name(name)) return "the next model leaves " + name;
  }
  return std::nullopt;
}

bool is_foreign(const World& world, const std::string& name) {
  return std::ranges::any_of(world.checkpoints, [&](const auto& entry) {
    const std::string base = internal::Prefix::of(entry.first).base;
    return entry.second.claim == Claim::Anything && name.find(base) != std::string::npos;
  });
}

// After a Saver's save every file is its own, or belongs to a checkpoint that opens.
Breach breach_of_next_saver(const Machine& machine, const World& world, const Contents& contents,
                            After what) {
  {
    auto saver = Saver::open(world.directory);
    if (!saver) return saver.error().what;
    const test::Content& content = contents.front();
    const std::array tensors = {NamedTensor{content.spec, content.bytes, {}}};
    const auto saved = saver->save("next", tensors);
    if (!saved) return saved.error().what;
    // Files are of no age here, which is any: what is left of a removal goes at once, and is said.
    for (const std::string& warning : saved->warnings) {
      if (warning.find("cut short") == std::string::npos &&
          warning.find(".cairn: was removed, because it was the last file of a checkpoint") ==
              std::string::npos)
        return warning;
    }
  }
  const Names& names = machine.names(machine.find(world.directory));
  for (const auto& [name, inode] : names) {
    if (name == ".cairn-lock" || name == "checkpoint" || is_foreign(world, name)) continue;
    if (what == After::PowerCut && !os::is_temporary_name(name) && name != ".cairn-journal")
      continue;
    const std::string base = name.substr(0, name.find('.'));
    const auto checkpoint = Checkpoint::open(world.directory + "/" + base);
    if (!checkpoint || !belongs(name, base, *checkpoint)) return "the next save leaves " + name;
  }
  return std::nullopt;
}

}  // namespace

Contents contents_of(const Checkpoint& checkpoint) {
  Contents contents;
  for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i) {
    const Tensor tensor = checkpoint.tensor_at(i);
    test::Content content;
    content.spec = {
        std::string(tensor.name()), tensor.dtype(), {tensor.shape().begin(), tensor.shape().end()}};
    if (tensor.dtype() == DType::String) {
      const auto strings = tensor.strings();
      content.strings.assign(strings->begin(), strings->end());
    } else {
      content.bytes = test::bytes_of(tensor);
    }
    contents.push_back(std::move(content));
  }
  return contents;
}

Breach breach(const Image& image, const World& before, const World& after) {
  {
    Machine machine(image);
    const Running here(machine);
    for (const std::string& prefix : prefixes_of(before, after)) {
      const Held old_one = held_in(before, prefix);
      const Held new_one = held_in(after, prefix);
      if (auto found = breach_of_prefix(prefix, ".cairn", old_one, new_one)) return found;
      if (old_one != new_one) continue;
      if (auto found = breach_of_files(prefix, new_one)) return found;
    }
    if (auto found = breach_of_move(after)) return found;
    if (!after.directory.empty()) {
      if (auto found = breach_of_catalog(before, after)) return found;
    }
  }
  return breach_for_tensorflow(image, before, after);
}

Breach breach_of_next_save(const Image& image, const World& world, After what) {
  const Contents contents = {test::raw("next", DType::Float32, {3})};
  Machine machine(image);
  const Running here(machine);
  if (world.by_saver) return breach_of_next_saver(machine, world, contents, what);
  for (const auto& [prefix, held] : world.checkpoints) {
    if (held.is_model) {
      if (auto found = breach_of_next_model(machine, prefix, contents)) return found;
      continue;
    }
    if (prefix.ends_with(".safetensors")) continue;
    if (const auto saved = save(prefix, contents); !saved) return saved.error().what;
    const auto checkpoint = Checkpoint::open(prefix);
    if (!checkpoint) return checkpoint.error().what;
    if (auto found = differs(*checkpoint, contents)) return found;
    const auto parts = internal::Prefix::of(prefix);
    for (const auto& [name, inode] : machine.names(machine.find(parts.directory))) {
      if (what == After::PowerCut && !os::is_temporary_name(name)) continue;  // see publisher.cc
      if (world.foreign_shards.contains((parts.directory / name).string())) continue;
      if (name.starts_with(parts.base + ".") && !belongs(name, parts.base, *checkpoint))
        return "the next save under " + prefix + " leaves " + name;
    }
  }
  return std::nullopt;
}

}  // namespace cairn::crash
