// The Writer and the Saver, through the C interface.

#include "check.h"

static const int64_t kFour[1] = {4};
static const float kValues[4] = {1, 2, 3, 4};

// The bytes of one tensor, where they lie in a checkpoint that lives as long as the answer.
static bool has_values(cairn_checkpoint* checkpoint, const char* name, const void* bytes,
                       size_t size) {
  cairn_tensor tensor;
  const void* stored = NULL;
  size_t stored_size = 0;
  OK(cairn_checkpoint_tensor(checkpoint, cairn_str(name), &tensor, &error));
  OK(cairn_tensor_bytes(tensor, &stored, &stored_size, &error));
  return stored_size == size && memcmp(stored, bytes, size) == 0;
}

static void give_all_tensors(cairn_writer* writer) {
  OK(cairn_writer_tie(writer, cairn_str("whole"), cairn_str("shared"), &error));
  FAILS(cairn_writer_tie(writer, cairn_str("whole"), cairn_str("none"), &error), CAIRN_NOT_FOUND,
        "none");
  FAILS(cairn_writer_write(writer, cairn_str("whole"), kValues, sizeof kValues, &error),
        CAIRN_INVALID, "write that tensor instead");
  OK(cairn_writer_write(writer, cairn_str("shared"), kValues, sizeof kValues, &error));
  FAILS(cairn_writer_write(writer, cairn_str("shared"), kValues, sizeof kValues, &error),
        CAIRN_INVALID, "shared");
  FAILS(cairn_writer_write(writer, cairn_str("none"), kValues, sizeof kValues, &error),
        CAIRN_NOT_FOUND, "none");
  OK(cairn_writer_append(writer, cairn_str("pieces"), kValues, 8, &error));
  FAILS(cairn_writer_append(writer, cairn_str("pieces"), kValues, 16, &error), CAIRN_INVALID,
        "pieces");
  FAILS(cairn_writer_commit(writer, NULL, &error), CAIRN_INVALID, "all its bytes");
  OK(cairn_writer_append(writer, cairn_str("pieces"), kValues + 2, 8, &error));
  const cairn_string words[2] = {cairn_str("two"), {"wo\0ds", 5}};
  OK(cairn_writer_write_strings(writer, cairn_str("words"), words, 2, &error));
  FAILS(cairn_writer_write_encoded(writer, cairn_str("encoded"), "\xff", 1, &error), CAIRN_CORRUPT,
        "encoded");
  // TensorFlow's encoding of one string: its length, the checksum of the lengths, its bytes.
  cairn_checkpoint* strings = must_open(golden("tensorflow/strings/all"));
  for (size_t i = 0; i < cairn_checkpoint_tensor_count(strings); ++i) {
    const cairn_tensor tensor = cairn_checkpoint_tensor_at(strings, i);
    if (cairn_tensor_dtype(tensor) != CAIRN_STRING || cairn_tensor_element_count(tensor) != 1)
      continue;
    const void* bytes = NULL;
    size_t size = 0;
    OK(cairn_tensor_bytes(tensor, &bytes, &size, &error));
    OK(cairn_writer_write_encoded(writer, cairn_str("encoded"), bytes, size, &error));
    break;
  }
  cairn_checkpoint_free(strings);
  const cairn_named_bytes both[2] = {{cairn_str("a"), kValues, sizeof kValues},
                                     {cairn_str("b"), kValues, sizeof kValues}};
  OK(cairn_writer_write_all(writer, both, 2, NULL, &error));
}

static void a_writer_takes_every_kind_of_tensor(void) {
  static const int64_t two[1] = {2};
  const cairn_tensor_spec specs[7] = {
      spec_of("whole", CAIRN_FLOAT32, kFour, 1),  spec_of("pieces", CAIRN_FLOAT32, kFour, 1),
      spec_of("shared", CAIRN_FLOAT32, kFour, 1), spec_of("words", CAIRN_STRING, two, 1),
      spec_of("encoded", CAIRN_STRING, NULL, 0),  spec_of("a", CAIRN_FLOAT32, kFour, 1),
      spec_of("b", CAIRN_FLOAT32, kFour, 1)};
  cairn_writer_options options = cairn_writer_options_init();
  options.step = 12;
  options.has_step = 1;
  const cairn_key_value metadata[1] = {{cairn_str("author"), cairn_str("me")}};
  const cairn_key_value header[1] = {{cairn_str("format"), cairn_str("np")}};
  options.metadata = metadata;
  options.metadata_count = 1;
  options.safetensors_metadata = header;
  options.safetensors_metadata_count = 1;
  options.meta_graph = cairn_str("graph");
  cairn_writer* writer = NULL;
  const char* prefix = in_scratch("kinds");
  OK(cairn_writer_create(prefix, specs, 7, &options, &writer, &error));
  give_all_tensors(writer);
  OK(cairn_writer_commit(writer, NULL, &error));
  CHECK(cairn_writer_warning_count(writer) == 0);
  cairn_writer_free(writer);
  cairn_checkpoint* checkpoint = must_open(prefix);
  CHECK(has_values(checkpoint, "whole", kValues, sizeof kValues));
  CHECK(has_values(checkpoint, "pieces", kValues, sizeof kValues));
  CHECK(has_values(checkpoint, "shared", kValues, sizeof kValues));
  CHECK(has_values(checkpoint, "b", kValues, sizeof kValues));
  cairn_tensor words;
  cairn_strings* strings = NULL;
  OK(cairn_checkpoint_tensor(checkpoint, cairn_str("words"), &words, &error));
  const cairn_range second[1] = {{1, 1}};
  const cairn_slice slice = {second, 1};
  OK(cairn_tensor_strings(words, &slice, &strings, &error));
  CHECK(strings->count == 1 && strings->values[0].size == 5);
  cairn_strings_free(strings);
  int64_t step = 0;
  CHECK(cairn_checkpoint_step(checkpoint, &step) && step == 12);
  cairn_string value;
  CHECK(cairn_checkpoint_metadata(checkpoint, cairn_str("author"), &value) && same(value, "me"));
  CHECK(!cairn_checkpoint_metadata(checkpoint, cairn_str("autho"), &value));
  CHECK(cairn_checkpoint_metadata_count(checkpoint) >= 1);
  CHECK(cairn_checkpoint_metadata_at(checkpoint, 0).key.size > 0);
  CHECK(cairn_checkpoint_safetensors_metadata(checkpoint, cairn_str("format"), &value));
  CHECK(same(value, "np") && cairn_checkpoint_safetensors_metadata_count(checkpoint) == 1);
  CHECK(same(cairn_checkpoint_safetensors_metadata_at(checkpoint, 0).value, "np"));
  cairn_checkpoint_free(checkpoint);
}

static void a_writer_without_commit_leaves_nothing(void) {
  const cairn_tensor_spec spec = spec_of("w", CAIRN_FLOAT32, kFour, 1);
  cairn_writer* writer = NULL;
  OK(cairn_writer_create(in_scratch("none"), &spec, 1, NULL, &writer, &error));
  OK(cairn_writer_write(writer, cairn_str("w"), kValues, sizeof kValues, &error));
  cairn_writer_free(writer);
  cairn_writer_free(NULL);
  cairn_checkpoint* checkpoint = NULL;
  FAILS(cairn_checkpoint_open(in_scratch("none"), NULL, &checkpoint, &error), CAIRN_NOT_FOUND,
        "none");
}

static void the_options_of_a_writer_are_used(void) {
  const cairn_tensor_spec spec = spec_of("w", CAIRN_FLOAT32, kFour, 1);
  cairn_writer* writer = NULL;
  cairn_writer_options options = cairn_writer_options_init();
  options.no_cairn_index = 1;
  options.no_tensorflow_index = 1;
  FAILS(cairn_writer_create(in_scratch("w"), &spec, 1, &options, &writer, &error), CAIRN_INVALID,
        "index");
  options = cairn_writer_options_init();
  options.alignment_bytes = 100;
  FAILS(cairn_writer_create(in_scratch("w"), &spec, 1, &options, &writer, &error), CAIRN_INVALID,
        "alignment");
  options = cairn_writer_options_init();
  options.lock_wait_ms = -7;
  FAILS(cairn_writer_create(in_scratch("w"), &spec, 1, &options, &writer, &error), CAIRN_INVALID,
        "lock_wait_ms");
  FAILS(cairn_writer_create(NULL, &spec, 1, NULL, &writer, &error), CAIRN_INVALID, "NULL");
  options = cairn_writer_options_init();
  options.keep_existing = 1;
  options.lock_wait_ms = CAIRN_NO_WAIT;
  options.no_tensorflow_index = 1;
  options.alignment_bytes = 4096;
  OK(cairn_writer_create(in_scratch("w"), &spec, 1, &options, &writer, &error));
  OK(cairn_writer_write(writer, cairn_str("w"), kValues, sizeof kValues, &error));
  OK(cairn_writer_commit(writer, NULL, &error));
  cairn_writer_free(writer);
  cairn_checkpoint* checkpoint = must_open(in_scratch("w"));
  CHECK(cairn_tensor_offset_bytes(cairn_checkpoint_tensor_at(checkpoint, 0)) % 4096 == 0);
  CHECK(access(in_scratch("w.index"), F_OK) != 0);
  options.read_from = checkpoint;
  OK(cairn_writer_create(in_scratch("w"), &spec, 1, &options, &writer, &error));
  OK(cairn_writer_write(writer, cairn_str("w"), kValues, sizeof kValues, &error));
  FAILS(cairn_writer_commit(writer, NULL, &error), CAIRN_EXISTS, "w");
  cairn_writer_free(writer);
  // Another dtype than before is a warning.
  const cairn_tensor_spec other = spec_of("w", CAIRN_INT32, kFour, 1);
  OK(cairn_writer_create(in_scratch("w"), &other, 1, NULL, &writer, &error));
  OK(cairn_writer_write(writer, cairn_str("w"), kValues, sizeof kValues, &error));
  OK(cairn_writer_commit(writer, NULL, &error));
  CHECK(cairn_writer_warning_count(writer) == 1);
  CHECK(contains(cairn_writer_warning_at(writer, 0), "w"));
  cairn_writer_free(writer);
  cairn_checkpoint_free(checkpoint);
}

// Saves one tensor with a step; the number of checkpoints that are kept.
static size_t save_step(cairn_saver* saver, int64_t step, double loss) {
  const cairn_tensor_spec spec = spec_of("w", CAIRN_FLOAT32, kFour, 1);
  const cairn_named_tensor tensor = named(&spec, kValues, sizeof kValues);
  const cairn_metric metric = {cairn_str("loss"), loss};
  cairn_save_options options = cairn_save_options_init();
  options.step = step;
  options.has_step = 1;
  options.metrics = &metric;
  options.metrics_count = 1;
  cairn_saved* saved = NULL;
  OK(cairn_saver_save(saver, "m", &tensor, 1, &options, &saved, &error));
  const size_t kept = saved->kept_count;
  CHECK(same(saved->kept[kept - 1], saved->prefix.data));
  for (size_t i = 0; i < saved->deleted_count; ++i) CHECK(contains(saved->deleted[i], "m-"));
  CHECK(saved->warnings_count == 0);
  cairn_saved_free(saved);
  return kept;
}

static void a_saver_keeps_five(void) {
  cairn_saver* saver = NULL;
  OK(cairn_saver_open(in_scratch("five"), NULL, &saver, &error));
  for (int step = 1; step <= 6; ++step)
    CHECK(save_step(saver, step, 1) == (size_t)(step < 5 ? step : 5));
  cairn_strings* listed = NULL;
  OK(cairn_saver_last_checkpoints(saver, &listed, &error));
  CHECK(listed->count == 5 && contains(listed->values[0], "five/m-2"));
  CHECK(listed->values[4].data[listed->values[4].size] == '\0');
  cairn_strings_free(listed);
  OK(cairn_saver_pin(saver, in_scratch("five/m-2"), true, &error));
  FAILS(cairn_saver_pin(saver, in_scratch("five/m-1"), true, &error), CAIRN_NOT_FOUND, "m-1");
  FAILS(cairn_saver_pin(saver, NULL, true, &error), CAIRN_INVALID, "NULL");
  CHECK(save_step(saver, 7, 1) >= 5);
  cairn_checkpoint_free(must_open(in_scratch("five/m-2")));
  cairn_retention_decisions* decisions = NULL;
  OK(cairn_saver_prune(saver, true, &decisions, &error));
  CHECK(decisions->count == 6 && decisions->decisions[0]->kept == 1);
  CHECK(contains(decisions->decisions[0]->prefix, "m-2") && decisions->decisions[0]->why.size > 0);
  cairn_retention_decisions_free(decisions);
  cairn_retention_decisions_free(NULL);
  OK(cairn_saver_prune(saver, false, NULL, &error));
  CHECK(cairn_saver_warning_count(saver) == 0);
  OK(cairn_saver_pin(saver, in_scratch("five/m-2"), false, &error));
  // The path leads to another directory now: a warning says so.
  CHECK(rename(in_scratch("five"), in_scratch("moved")) == 0);
  copy_directory(in_scratch("moved"), in_scratch("five"));
  OK(cairn_saver_prune(saver, false, NULL, &error));
  CHECK(cairn_saver_warning_count(saver) == 1);
  CHECK(contains(cairn_saver_warning_at(saver, 0), "is now a different directory"));
  cairn_saver_free(saver);
  cairn_saver_free(NULL);
  cairn_saved_free(NULL);
}

static double time_of(void* context) { return *(const double*)context; }

static void every_rule_of_retention(void) {
  cairn_retention rules[2] = {cairn_retention_init(), cairn_retention_init()};
  cairn_saver_options options = cairn_saver_options_init();
  double now = 1e9;
  options.clock = time_of;
  options.clock_context = &now;
  options.keep_any_of = rules;
  options.keep_any_of_count = 1;
  options.no_tensorflow_index = 1;
  const struct {
    cairn_retention_rule rule;
    uint64_t count;
    double hours;
    size_t kept;  // after the steps 1 … 4, with the losses 4, 3, 2, 1
  } table[] = {{CAIRN_KEEP_NEWEST, 2, 0, 2},           {CAIRN_KEEP_EVERY_STEPS, 2, 0, 2},
               {CAIRN_KEEP_EVERY_HOURS, 0, 15, 3},     {CAIRN_KEEP_BEST, 1, 0, 1},
               {CAIRN_KEEP_TENSORFLOW_SAVER, 3, 0, 3}, {CAIRN_KEEP_TENSORFLOW_MANAGER, 3, 0, 3}};
  for (size_t i = 0; i < sizeof table / sizeof *table; ++i) {
    char name[20];
    snprintf(name, sizeof name, "rule%zu", i);
    rules[0].rule = table[i].rule;
    rules[0].count = table[i].count;
    rules[0].hours = table[i].hours;
    rules[0].metric = cairn_str(table[i].rule == CAIRN_KEEP_BEST ? "loss" : "");
    cairn_saver* saver = NULL;
    OK(cairn_saver_open(in_scratch(name), &options, &saver, &error));
    size_t kept = 0;
    for (int step = 1; step <= 4; ++step) {
      now += 36000;  // ten hours
      kept = save_step(saver, step, 5 - step);
    }
    CHECK(kept == table[i].kept);
    if (kept != table[i].kept) fprintf(stderr, "  rule %zu keeps %zu\n", i, kept);
    cairn_saver_free(saver);
  }
}

static void the_options_of_a_saver_are_checked(void) {
  cairn_retention rules[2] = {cairn_retention_init(), cairn_retention_init()};
  cairn_saver_options options = cairn_saver_options_init();
  cairn_saver* saver = NULL;
  options.keep_any_of = rules;
  options.keep_any_of_count = 2;
  rules[0].count = 1;
  rules[1].rule = CAIRN_KEEP_TENSORFLOW_SAVER;
  FAILS(cairn_saver_open(in_scratch("s"), &options, &saver, &error), CAIRN_INVALID, "");
  rules[1].rule = (cairn_retention_rule)50;
  FAILS(cairn_saver_open(in_scratch("s"), &options, &saver, &error), CAIRN_INVALID,
        "cairn_retention_rule");
  rules[1] = rules[0];
  rules[1].best = (cairn_order)2;
  FAILS(cairn_saver_open(in_scratch("s"), &options, &saver, &error), CAIRN_INVALID, "cairn_order");
  options.keep_all = 1;
  FAILS(cairn_saver_open(in_scratch("s"), &options, &saver, &error), CAIRN_INVALID, "keep_all");
  options = cairn_saver_options_init();
  options.latest_filename = "a/b";
  FAILS(cairn_saver_open(in_scratch("s"), &options, &saver, &error), CAIRN_INVALID, "a/b");
  options = cairn_saver_options_init();
  options.keep_all = 1;
  options.pad_step_number = 1;
  options.latest_filename = "latest";
  OK(cairn_saver_open(in_scratch("s"), &options, &saver, &error));
  for (int step = 1; step <= 7; ++step) CHECK(save_step(saver, step, 0) == (size_t)step);
  CHECK(access(in_scratch("s/latest"), F_OK) == 0);
  cairn_checkpoint_free(must_open(in_scratch("s/m-00000007")));
  cairn_saver_free(saver);
}

static void a_save_can_fail(void) {
  cairn_saver* saver = NULL;
  cairn_saved* saved = NULL;
  OK(cairn_saver_open(in_scratch("fail"), NULL, &saver, &error));
  cairn_tensor_spec spec = spec_of("w", CAIRN_FLOAT32, kFour, 1);
  cairn_named_tensor tensor = named(&spec, kValues, 3);
  FAILS(cairn_saver_save(saver, "m", &tensor, 1, NULL, &saved, &error), CAIRN_INVALID, "w");
  tensor.size_bytes = sizeof kValues;
  FAILS(cairn_saver_save(saver, "a/b", &tensor, 1, NULL, &saved, &error), CAIRN_INVALID, "a/b");
  tensor.spec = NULL;
  FAILS(cairn_saver_save(saver, "m", &tensor, 1, NULL, &saved, &error), CAIRN_INVALID, "spec");
  tensor.spec = &spec;
  OK(cairn_saver_save(saver, "m", &tensor, 1, NULL, NULL, &error));
  cairn_save_options options = cairn_save_options_init();
  options.keep_existing = 1;
  spec.dtype = CAIRN_INT32;
  FAILS(cairn_saver_save(saver, "m", &tensor, 1, &options, &saved, &error), CAIRN_EXISTS, "m");
  options = cairn_save_options_init();
  options.reserved = 3;
  FAILS(cairn_saver_save(saver, "m", &tensor, 1, &options, &saved, &error), CAIRN_INVALID,
        "reserved");
  cairn_stop* stop = NULL;
  OK(cairn_stop_new(&stop, &error));
  cairn_stop_request(stop);
  cairn_exec_options exec = cairn_exec_options_init();
  exec.stop = stop;
  options = cairn_save_options_init();
  options.exec = &exec;
  FAILS(cairn_saver_save(saver, "n", &tensor, 1, &options, &saved, &error), CAIRN_CANCELLED, "");
  CHECK(saved == NULL);
  cairn_stop_free(stop);
  cairn_saver_free(saver);
}

static void everything_of_a_save_is_stored(void) {
  cairn_saver* saver = NULL;
  OK(cairn_saver_open(in_scratch("all"), NULL, &saver, &error));
  const cairn_tensor_spec spec = spec_of("words", CAIRN_STRING, NULL, 0);
  const cairn_string word = cairn_str("word");
  cairn_named_tensor tensor = named(&spec, NULL, 0);
  tensor.strings = &word;
  tensor.strings_count = 1;
  const cairn_key_value pair = {cairn_str("key"), cairn_str("value")};
  cairn_save_options options = cairn_save_options_init();
  options.metadata = options.safetensors_metadata = &pair;
  options.metadata_count = options.safetensors_metadata_count = 1;
  options.pinned = 1;
  options.meta_graph = cairn_str("graph");
  OK(cairn_saver_save(saver, "m", &tensor, 1, &options, NULL, &error));
  cairn_checkpoint* checkpoint = must_open(in_scratch("all/m"));
  cairn_string value;
  CHECK(cairn_checkpoint_metadata(checkpoint, cairn_str("key"), &value) && same(value, "value"));
  CHECK(cairn_checkpoint_safetensors_metadata(checkpoint, cairn_str("key"), &value));
  cairn_strings* strings = NULL;
  OK(cairn_tensor_strings(cairn_checkpoint_tensor_at(checkpoint, 0), NULL, &strings, &error));
  CHECK(strings->count == 1 && same(strings->values[0], "word"));
  cairn_strings_free(strings);
  CHECK(access(in_scratch("all/m.meta"), F_OK) == 0);
  options.read_from = checkpoint;
  OK(cairn_saver_save(saver, "m", &tensor, 1, &options, NULL, &error));
  FAILS(cairn_saver_save(saver, "m", &tensor, 1, &options, NULL, &error), CAIRN_BUSY, "m");
  cairn_checkpoint_free(checkpoint);
  cairn_saver_free(saver);
}

// What fill functions do: 0 gives the tensor, 1 returns a code alone, 2 an error of its own, 3 that
// of a function, 4 commits.
static cairn_code fill(void* context, cairn_writer* writer, cairn_error** failed) {
  switch (*(int*)context) {
    case 1:
      return CAIRN_BUSY;
    case 2:
      *failed = cairn_error_new(CAIRN_CORRUPT, "my source is damaged");
      return CAIRN_CORRUPT;
    case 3:
      return cairn_writer_write(writer, cairn_str("x"), kValues, sizeof kValues, failed);
    case 4:
      return cairn_writer_commit(writer, NULL, failed);
    default:
      return cairn_writer_append(writer, cairn_str("w"), kValues, sizeof kValues, failed);
  }
}

static void a_function_can_give_the_bytes(void) {
  cairn_saver* saver = NULL;
  cairn_saved* saved = NULL;
  OK(cairn_saver_open(in_scratch("filled"), NULL, &saver, &error));
  const cairn_tensor_spec spec = spec_of("w", CAIRN_FLOAT32, kFour, 1);
  const struct {
    cairn_code code;
    const char* part;
  } wanted[5] = {{CAIRN_OK, ""},
                 {CAIRN_BUSY, "the fill function returned Busy"},
                 {CAIRN_CORRUPT, "my source is damaged"},
                 {CAIRN_NOT_FOUND, "x"},
                 {CAIRN_INVALID, "commit"}};
  for (int kind = 4; kind > 0; --kind) {
    FAILS(cairn_saver_save_filled(saver, "m", &spec, 1, fill, &kind, NULL, &saved, &error),
          wanted[kind].code, wanted[kind].part);
  }
  int kind = 0;
  OK(cairn_saver_save_filled(saver, "m", &spec, 1, fill, &kind, NULL, &saved, &error));
  CHECK(contains(saved->prefix, "filled/m") && saved->prefix.data[saved->prefix.size] == '\0');
  cairn_checkpoint* checkpoint = must_open(saved->prefix.data);
  CHECK(has_values(checkpoint, "w", kValues, sizeof kValues));
  cairn_checkpoint_free(checkpoint);
  cairn_saved_free(saved);
  cairn_saver_free(saver);
}

static void a_save_runs_in_the_background(void) {
  cairn_saver* saver = NULL;
  OK(cairn_saver_open(in_scratch("async"), NULL, &saver, &error));
  cairn_tensor_spec spec = spec_of("w", CAIRN_FLOAT32, kFour, 1);
  const cairn_named_tensor tensor = named(&spec, kValues, sizeof kValues);
  static const cairn_memory memories[2] = {CAIRN_MEMORY_COPY, CAIRN_MEMORY_BORROW};
  cairn_pending_save* pending = NULL;
  for (int i = 0; i < 2; ++i) {
    OK(cairn_saver_save_async(saver, i == 0 ? "a" : "b", &tensor, 1, memories[i], NULL, &pending,
                              &error));
    cairn_saved* saved = NULL;
    OK(cairn_pending_save_wait(pending, &saved, &error));
    CHECK(cairn_pending_save_done(pending) && saved->kept_count == (size_t)i + 1);
    cairn_saved_free(saved);
    OK(cairn_pending_save_wait(pending, NULL, &error));
    cairn_pending_save_free(pending);
  }
  cairn_pending_save_free(NULL);
  FAILS(cairn_saver_save_async(saver, "c", &tensor, 1, (cairn_memory)5, NULL, &pending, &error),
        CAIRN_INVALID, "cairn_memory");
  const cairn_named_tensor wrong = named(&spec, kValues, 3);
  if (cairn_saver_save_async(saver, "c", &wrong, 1, CAIRN_MEMORY_COPY, NULL, &pending, NULL) ==
      CAIRN_OK) {
    FAILS(cairn_pending_save_wait(pending, NULL, &error), CAIRN_INVALID, "w");
    cairn_pending_save_free(pending);
  }
  cairn_saver_free(saver);
}

void write_cases(void) {
  run_case("a Writer takes every kind of tensor", a_writer_takes_every_kind_of_tensor);
  run_case("a Writer without commit leaves nothing", a_writer_without_commit_leaves_nothing);
  run_case("the options of a Writer are used", the_options_of_a_writer_are_used);
  run_case("a Saver keeps five", a_saver_keeps_five);
  run_case("every rule of retention", every_rule_of_retention);
  run_case("the options of a Saver are checked", the_options_of_a_saver_are_checked);
  run_case("a save can fail", a_save_can_fail);
  run_case("everything of a save is stored", everything_of_a_save_is_stored);
  run_case("a function can give the bytes", a_function_can_give_the_bytes);
  run_case("a save runs in the background", a_save_runs_in_the_background);
}
