// Digests, the index alone, and whole checkpoints, through the C interface: what version 1.1 added.

#include "check.h"

#if CAIRN_C_VERSION >= 10001

static const int64_t kFour[1] = {4};
static const float kValues[4] = {1, 2, 3, 4};

static void save(const char* prefix, const char* name) {
  const cairn_tensor_spec spec = spec_of(name, CAIRN_FLOAT32, kFour, 1);
  cairn_writer* writer = NULL;
  OK(cairn_writer_create(prefix, &spec, 1, NULL, &writer, &error));
  OK(cairn_writer_write(writer, cairn_str(name), kValues, sizeof kValues, &error));
  OK(cairn_writer_commit(writer, NULL, &error));
  cairn_writer_free(writer);
}

static bool holds(const char* path, const char* name) {
  cairn_checkpoint* checkpoint = must_open(path);
  const bool there = cairn_checkpoint_contains(checkpoint, cairn_str(name));
  cairn_checkpoint_free(checkpoint);
  return there;
}

static void digest_at(const char* path, uint8_t digest[16]) {
  cairn_checkpoint* checkpoint = must_open(path);
  CHECK(cairn_checkpoint_digest(checkpoint, digest));
  cairn_checkpoint_free(checkpoint);
}

static void a_digest_pins_what_is_opened(void) {
  save(in_scratch("pinned"), "w");
  save(in_scratch("other"), "v");
  uint8_t digest[16] = {0};
  digest_at(in_scratch("pinned"), digest);
  cairn_open_options opening = cairn_open_options_init();
  opening.expected_digest = digest;
  cairn_restore_options restoring = cairn_restore_options_init();
  restoring.expected_digest = digest;
  cairn_checkpoint* checkpoint = NULL;
  OK(cairn_checkpoint_open(in_scratch("pinned"), &opening, &checkpoint, &error));
  cairn_checkpoint_free(checkpoint);
  OK(cairn_restore(in_scratch("pinned"), &restoring, &checkpoint, NULL, &error));
  cairn_checkpoint_free(checkpoint);
  FAILS(cairn_checkpoint_open(in_scratch("other"), &opening, &checkpoint, &error), CAIRN_INVALID,
        "digest");
  FAILS(cairn_restore(in_scratch("other"), &restoring, &checkpoint, NULL, &error), CAIRN_INVALID,
        "digest");
  checkpoint = must_open(golden("tensorflow/shapes/all"));
  CHECK(!cairn_checkpoint_digest(checkpoint, digest));  // TensorFlow stores no content hashes
  cairn_checkpoint_free(checkpoint);
}

static void the_index_alone_is_listed(void) {
  save(in_scratch("listed"), "w");
  remove(in_scratch("listed.data-00000-of-00001"));
  cairn_open_options options = cairn_open_options_init();
  cairn_checkpoint* checkpoint = NULL;
  FAILS(cairn_checkpoint_open(in_scratch("listed"), &options, &checkpoint, &error), CAIRN_NOT_FOUND,
        "listed");
  options.index_only = 1;
  OK(cairn_checkpoint_open(in_scratch("listed"), &options, &checkpoint, &error));
  cairn_tensor tensor;
  OK(cairn_checkpoint_tensor(checkpoint, cairn_str("w"), &tensor, &error));
  CHECK(cairn_tensor_dtype(tensor) == CAIRN_FLOAT32 && cairn_tensor_size_bytes(tensor) == 16);
  const void* bytes = NULL;
  FAILS(cairn_tensor_bytes(tensor, &bytes, NULL, &error), CAIRN_UNSUPPORTED, "index_only");
  cairn_verification* verification = NULL;
  FAILS(cairn_checkpoint_verify(checkpoint, NULL, &verification, &error), CAIRN_UNSUPPORTED,
        "index_only");
  cairn_checkpoint_free(checkpoint);
  options.verify = CAIRN_VERIFY_FULL;
  FAILS(cairn_checkpoint_open(in_scratch("listed"), &options, &checkpoint, &error), CAIRN_INVALID,
        "index_only");
  options.reserved_1 = 1;
  FAILS(cairn_checkpoint_open(in_scratch("listed"), &options, &checkpoint, &error), CAIRN_INVALID,
        "reserved");
}

static void an_index_is_imported_and_exported(void) {
  copy_directory(golden("tensorflow/saver_walk/saved"), in_scratch("transfers"));
  cairn_transfer* transfer = NULL;
  OK(cairn_import_index(in_scratch("transfers/train2-9"), NULL, &transfer, &error));
  CHECK(same(transfer->prefix, in_scratch("transfers/train2-9")));
  CHECK(transfer->used == CAIRN_LINK_AUTO && transfer->payload_bytes_copied == 0);
  CHECK(transfer->not_nameable_count == 0 && transfer->metadata_left_out_count == 0);
  CHECK(transfer->renamed_count == 0 && transfer->casts_count == 0 && transfer->reserved == 0);
  cairn_transfer_free(transfer);
  cairn_transfer_free(NULL);
  cairn_checkpoint* checkpoint = must_open(in_scratch("transfers/train2-9"));
  CHECK(cairn_checkpoint_format(checkpoint) == CAIRN_FORMAT_CAIRN);
  cairn_checkpoint_free(checkpoint);

  save(in_scratch("exported"), "w");
  remove(in_scratch("exported.index"));
  OK(cairn_export_index(in_scratch("exported"), CAIRN_FORMAT_TENSORFLOW, NULL, NULL, &error));
  OK(cairn_export_index(in_scratch("exported"), CAIRN_FORMAT_SAFETENSORS, NULL, &transfer, &error));
  CHECK(same(transfer->prefix, in_scratch("exported.safetensors")));
  cairn_transfer_free(transfer);
  CHECK(holds(in_scratch("exported.safetensors"), "w"));
  remove(in_scratch("exported.cairn"));
  CHECK(holds(in_scratch("exported.index"), "w"));
  FAILS(cairn_export_index(in_scratch("exported"), (cairn_format)77, NULL, NULL, &error),
        CAIRN_INVALID, "77 is no cairn_format");
  FAILS(cairn_import_index(NULL, NULL, NULL, &error), CAIRN_INVALID, "the source is NULL");
  FAILS(cairn_import_index(in_scratch("nothing"), NULL, NULL, &error), CAIRN_NOT_FOUND, "nothing");
}

static void conversion_changes_names_and_dtypes(void) {
  const cairn_tensor_spec specs[3] = {spec_of("m/a", CAIRN_FLOAT32, kFour, 1),
                                      spec_of("m/b", CAIRN_FLOAT32, kFour, 1),
                                      spec_of("left", CAIRN_FLOAT32, kFour, 1)};
  cairn_writer* writer = NULL;
  OK(cairn_writer_create(in_scratch("source"), specs, 3, NULL, &writer, &error));
  for (int i = 0; i < 3; ++i)
    OK(cairn_writer_write(writer, specs[i].name, kValues, sizeof kValues, &error));
  OK(cairn_writer_commit(writer, NULL, &error));
  cairn_writer_free(writer);

  cairn_transfer_options options = cairn_transfer_options_init();
  FAILS(cairn_convert(in_scratch("source"), CAIRN_FORMAT_CAIRN, &options, NULL, &error),
        CAIRN_INVALID, "output");
  options.output = in_scratch("converted");
  const cairn_string tensors[2] = {cairn_str("m/a"), cairn_str("m/b")};
  options.tensors = tensors;
  options.tensors_count = 2;
  const cairn_name_change renamed[1] = {{cairn_str("m/b"), cairn_str("second")}};
  options.renamed = renamed;
  options.renamed_count = 1;
  const cairn_name_change patterns[1] = {{cairn_str("^a$"), cairn_str("first")}};
  options.patterns = patterns;
  options.patterns_count = 1;
  options.strip_prefix = cairn_str("m/");
  const cairn_cast casts[1] = {{CAIRN_FLOAT32, CAIRN_BFLOAT16}};
  options.casts = casts;
  options.casts_count = 1;
  cairn_transfer* transfer = NULL;
  OK(cairn_convert(in_scratch("source"), CAIRN_FORMAT_CAIRN, &options, &transfer, &error));
  CHECK(transfer->renamed_count == 2 && same(transfer->renamed[0].from, "m/a") &&
        same(transfer->renamed[0].to, "first") && same(transfer->renamed[1].to, "second"));
  CHECK(transfer->casts_count == 1 && transfer->casts[0]->cast.to == CAIRN_BFLOAT16 &&
        transfer->casts[0]->tensor_count == 2 && transfer->casts[0]->value_count == 8);
  CHECK(transfer->payload_bytes_copied > 0);
  cairn_transfer_free(transfer);
  cairn_checkpoint* checkpoint = must_open(in_scratch("converted"));
  cairn_tensor first;
  OK(cairn_checkpoint_tensor(checkpoint, cairn_str("first"), &first, &error));
  CHECK(cairn_tensor_dtype(first) == CAIRN_BFLOAT16);
  CHECK(cairn_checkpoint_tensor_count(checkpoint) == 2);
  cairn_checkpoint_free(checkpoint);

  FAILS(cairn_convert(in_scratch("source"), CAIRN_FORMAT_CAIRN, &options, NULL, &error),
        CAIRN_EXISTS, "converted");
  options.replace = 1;
  OK(cairn_convert(in_scratch("source"), CAIRN_FORMAT_CAIRN, &options, NULL, &error));
  options.link = (cairn_link)9;
  FAILS(cairn_convert(in_scratch("source"), CAIRN_FORMAT_CAIRN, &options, NULL, &error),
        CAIRN_INVALID, "9 is no cairn_link");
  options.link = CAIRN_LINK_AUTO;
  options.names = (cairn_tensor_names)9;
  FAILS(cairn_convert(in_scratch("source"), CAIRN_FORMAT_CAIRN, &options, NULL, &error),
        CAIRN_INVALID, "9 is no cairn_tensor_names");
}

static void conversion_names_what_it_leaves_out(void) {
  cairn_transfer_options options = cairn_transfer_options_init();
  options.output = in_scratch("lossy.safetensors");
  FAILS(cairn_convert(golden("tensorflow/strings/all"), CAIRN_FORMAT_SAFETENSORS, &options, NULL,
                      &error),
        CAIRN_UNSUPPORTED, "");
  options.allow_lossy = 1;
  cairn_transfer* transfer = NULL;
  OK(cairn_convert(golden("tensorflow/strings/all"), CAIRN_FORMAT_SAFETENSORS, &options, &transfer,
                   &error));
  CHECK(transfer->not_nameable_count > 0 && transfer->not_nameable[0].size > 0);
  cairn_transfer_free(transfer);
  // In several files, in a directory.
  options.output = in_scratch("several");
  options.max_shard_bytes = 64;
  OK(cairn_convert(golden("tensorflow/shapes/all"), CAIRN_FORMAT_SAFETENSORS, &options, &transfer,
                   &error));
  cairn_checkpoint* checkpoint = must_open(in_scratch("several"));
  CHECK(cairn_checkpoint_shard_count(checkpoint) > 1);
  cairn_checkpoint_free(checkpoint);
  cairn_transfer_free(transfer);
}

static void checkpoints_are_copied_and_merged(void) {
  save(in_scratch("one"), "w");
  save(in_scratch("two"), "v");
  cairn_transfer_options options = cairn_transfer_options_init();
  FAILS(cairn_copy_checkpoint(in_scratch("one"), &options, NULL, &error), CAIRN_INVALID, "output");
  options.output = in_scratch("copy");
  cairn_transfer* transfer = NULL;
  OK(cairn_copy_checkpoint(in_scratch("one"), &options, &transfer, &error));
  CHECK(same(transfer->prefix, in_scratch("copy")));
  cairn_transfer_free(transfer);
  uint8_t of_one[16], of_copy[16];
  digest_at(in_scratch("one"), of_one);
  digest_at(in_scratch("copy"), of_copy);
  CHECK(memcmp(of_one, of_copy, 16) == 0);
  FAILS(cairn_copy_checkpoint(in_scratch("one"), &options, NULL, &error), CAIRN_EXISTS, "copy");

  const char* sources[2] = {in_scratch("one"), in_scratch("two")};
  options.output = in_scratch("merged");
  options.lock_wait_ms = CAIRN_NO_WAIT;
  OK(cairn_merge(sources, 2, &options, &transfer, &error));
  CHECK(same(transfer->prefix, in_scratch("merged")) && transfer->warnings_count == 0);
  cairn_transfer_free(transfer);
  CHECK(holds(in_scratch("merged"), "w") && holds(in_scratch("merged"), "v"));
  sources[1] = in_scratch("copy");
  options.output = in_scratch("twice");
  FAILS(cairn_merge(sources, 2, &options, NULL, &error), CAIRN_EXISTS, "\"w\"");
  FAILS(cairn_merge(NULL, 0, &options, NULL, &error), CAIRN_INVALID, "");
  sources[0] = NULL;
  FAILS(cairn_merge(sources, 1, &options, NULL, &error), CAIRN_INVALID, "a source is NULL");

  cairn_stop* stop = NULL;
  OK(cairn_stop_new(&stop, &error));
  cairn_stop_request(stop);
  cairn_exec_options exec = cairn_exec_options_init();
  exec.stop = stop;
  options.exec = &exec;
  options.output = in_scratch("stopped");
  FAILS(cairn_copy_checkpoint(in_scratch("one"), &options, NULL, &error), CAIRN_CANCELLED, "");
  cairn_checkpoint* checkpoint = NULL;
  FAILS(cairn_checkpoint_open(in_scratch("stopped"), NULL, &checkpoint, &error), CAIRN_NOT_FOUND,
        "stopped");
  cairn_stop_free(stop);
}

static void damage_is_not_copied(void) {
  save(in_scratch("hurt"), "w");
  cairn_checkpoint* checkpoint = must_open(in_scratch("hurt"));
  const uint64_t at = cairn_tensor_offset_bytes(cairn_checkpoint_tensor_at(checkpoint, 0));
  cairn_checkpoint_free(checkpoint);
  char command[3000];
  const char* shard = in_scratch("hurt.data-00000-of-00001");
  snprintf(command, sizeof command,
           "chmod u+w '%s' && printf x | dd of='%s' bs=1 seek=%llu conv=notrunc status=none", shard,
           shard, (unsigned long long)at);
  CHECK(system(command) == 0);
  cairn_transfer_options options = cairn_transfer_options_init();
  options.output = in_scratch("hurt-copy");
  cairn_transfer* transfer = NULL;
  FAILS(cairn_copy_checkpoint(in_scratch("hurt"), &options, &transfer, &error), CAIRN_CORRUPT,
        "\"w\"");
  FAILS(cairn_convert(in_scratch("hurt"), CAIRN_FORMAT_SAFETENSORS, &options, &transfer, &error),
        CAIRN_CORRUPT, "\"w\"");
  CHECK(transfer == NULL);
}

void transfer_cases(void) {
  run_case("a digest pins what is opened", a_digest_pins_what_is_opened);
  run_case("the index alone is listed", the_index_alone_is_listed);
  run_case("an index is imported and exported", an_index_is_imported_and_exported);
  run_case("conversion changes names and dtypes", conversion_changes_names_and_dtypes);
  run_case("conversion names what it leaves out", conversion_names_what_it_leaves_out);
  run_case("checkpoints are copied and merged", checkpoints_are_copied_and_merged);
  run_case("damage is not copied", damage_is_not_copied);
}

#else

void transfer_cases(void) {}

#endif
