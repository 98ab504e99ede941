// The catalog and the Watcher, through the C interface.

#include "check.h"

static void save_into(const char* directory, const char* name) {
  static const int32_t value = 5;
  const cairn_tensor_spec spec = spec_of("w", CAIRN_INT32, NULL, 0);
  const cairn_named_tensor tensor = named(&spec, &value, sizeof value);
  cairn_saver* saver = NULL;
  OK(cairn_saver_open(directory, NULL, &saver, &error));
  OK(cairn_saver_save(saver, name, &tensor, 1, NULL, NULL, &error));
  cairn_saver_free(saver);
}

static void a_catalog_is_read(void) {
  const char* directory = golden("tensorflow/saver_walk/saved");
  cairn_checkpoint_state* state = NULL;
  OK(cairn_get_checkpoint_state(directory, NULL, &state, &error));
  CHECK(contains(state->model_checkpoint_path, "train2-9"));
  CHECK(state->all_model_checkpoint_paths_count == 5);
  CHECK(contains(state->all_model_checkpoint_paths[0], "train2-5"));
  CHECK(state->all_model_checkpoint_timestamps_s == NULL);
  CHECK(state->last_preserved_timestamp_s >= 0);
  cairn_checkpoint_state_free(state);
  cairn_checkpoint_state_free(NULL);
  char* latest = NULL;
  OK(cairn_latest_checkpoint(directory, NULL, &latest, &error));
  cairn_checkpoint_free(must_open(latest));
  cairn_text_free(latest);
  cairn_text_free(NULL);
  // No catalog is no error.
  OK(cairn_get_checkpoint_state(scratch, NULL, &state, &error));
  OK(cairn_latest_checkpoint(scratch, NULL, &latest, &error));
  CHECK(state == NULL && latest == NULL);
  cairn_catalog_options options = cairn_catalog_options_init();
  options.latest_filename = "a/b";
  FAILS(cairn_get_checkpoint_state(directory, &options, &state, &error), CAIRN_INVALID, "a/b");
  FAILS(cairn_latest_checkpoint(directory, &options, &latest, &error), CAIRN_INVALID, "a/b");
  FAILS(cairn_latest_checkpoint(NULL, NULL, &latest, &error), CAIRN_INVALID, "NULL");
}

static void what_is_not_whole_is_passed(void) {
  const char* directory = in_scratch("not_whole");
  copy_directory(golden("tensorflow/saver_walk/saved"), directory);
  CHECK(truncate(in_scratch("not_whole/train2-9.data-00000-of-00001"), 1) == 0);
  cairn_whole_checkpoint* whole = NULL;
  OK(cairn_latest_whole(directory, NULL, &whole, &error));
  CHECK(contains(whole->prefix, "train2-8") && whole->skipped_count == 1);
  CHECK(contains(whole->skipped[0]->prefix, "train2-9") && whole->skipped[0]->why.size > 0);
  cairn_whole_checkpoint_free(whole);
  cairn_whole_checkpoint_free(NULL);
  cairn_listed_checkpoints* listed = NULL;
  OK(cairn_list_checkpoints(directory, NULL, &listed, &error));
  CHECK(listed->count == 5 && listed->checkpoints[4]->opens_as.data == NULL);
  CHECK(listed->checkpoints[4]->why.size > 0 && listed->checkpoints[3]->why.size == 0);
  CHECK(contains(listed->checkpoints[3]->opens_as, "train2-8"));
  cairn_listed_checkpoints_free(listed);
  cairn_listed_checkpoints_free(NULL);
  OK(cairn_latest_whole(scratch, NULL, &whole, &error));
  CHECK(whole->prefix.data == NULL);
  cairn_whole_checkpoint_free(whole);
  write_file(in_scratch("not_whole/checkpoint"), "damaged", 7);
  FAILS(cairn_list_checkpoints(directory, NULL, &listed, &error), CAIRN_CORRUPT, "checkpoint");
  FAILS(cairn_latest_whole(directory, NULL, &whole, &error), CAIRN_CORRUPT, "checkpoint");
}

static void a_catalog_is_written(void) {
  const char* directory = in_scratch("catalog");
  save_into(directory, "a");
  save_into(directory, "b");
  cairn_catalog_options options = cairn_catalog_options_init();
  options.lock_wait_ms = CAIRN_WAIT_FOREVER;
  OK(cairn_set_latest_checkpoint(directory, in_scratch("catalog/a"), &options, &error));
  char* latest = NULL;
  OK(cairn_latest_checkpoint(directory, NULL, &latest, &error));
  CHECK(strcmp(latest, in_scratch("catalog/a")) == 0);
  cairn_text_free(latest);
  FAILS(cairn_set_latest_checkpoint(directory, in_scratch("catalog/c"), NULL, &error),
        CAIRN_NOT_FOUND, "catalog/c");
  FAILS(cairn_set_latest_checkpoint(directory, NULL, NULL, &error), CAIRN_INVALID, "NULL");
  const char* const paths[2] = {"a", "b"};
  const double times[2] = {1, 2};
  cairn_new_checkpoint_state state = cairn_new_checkpoint_state_init();
  FAILS(cairn_update_checkpoint_state(directory, &state, NULL, &error), CAIRN_INVALID,
        "model_checkpoint_path");
  state.model_checkpoint_path = "b";
  state.all_model_checkpoint_paths = paths;
  state.all_model_checkpoint_paths_count = 2;
  state.all_model_checkpoint_timestamps_s = times;
  state.last_preserved_timestamp_s = 3;
  OK(cairn_update_checkpoint_state(directory, &state, NULL, &error));
  cairn_checkpoint_state* read = NULL;
  OK(cairn_get_checkpoint_state(directory, NULL, &read, &error));
  CHECK(read->all_model_checkpoint_paths_count == 2 && read->last_preserved_timestamp_s == 3);
  CHECK(read->all_model_checkpoint_timestamps_s[1] == 2);
  cairn_checkpoint_state_free(read);
  options.reserved = 1;
  FAILS(cairn_update_checkpoint_state(directory, &state, &options, &error), CAIRN_INVALID,
        "reserved");
}

static void a_watcher_takes_each_checkpoint_once(void) {
  const char* directory = in_scratch("watched");
  cairn_watcher* watcher = NULL;
  cairn_published* published = NULL;
  cairn_watcher_options options = cairn_watcher_options_init();
  options.poll_ms = 10;
  OK(cairn_watcher_open(directory, &options, &watcher, &error));
  OK(cairn_watcher_next(watcher, -1, NULL, &published, &error));
  CHECK(published->prefix.data == NULL && published->skipped_count == 0);
  cairn_published_free(published);
  save_into(directory, "a");
  save_into(directory, "b");
  OK(cairn_watcher_next(watcher, CAIRN_WAIT_FOREVER, NULL, &published, &error));
  CHECK(contains(published->prefix, "watched/a"));
  cairn_published_free(published);
  char cursor[4096];
  const cairn_string text = cairn_watcher_cursor(watcher);
  CHECK(text.size > 0 && text.size < sizeof cursor);
  memcpy(cursor, text.data, text.size);
  options.cursor.data = cursor;
  options.cursor.size = text.size;
  cairn_watcher_free(watcher);
  cairn_watcher_free(NULL);
  // Another Watcher goes on where the first one ended.
  OK(cairn_watcher_open(directory, &options, &watcher, &error));
  OK(cairn_watcher_next(watcher, 1000, NULL, &published, &error));
  CHECK(contains(published->prefix, "watched/b"));
  cairn_published_free(published);
  cairn_published_free(NULL);
  cairn_stop* stop = NULL;
  OK(cairn_stop_new(&stop, &error));
  cairn_stop_request(stop);
  FAILS(cairn_watcher_next(watcher, CAIRN_WAIT_FOREVER, stop, &published, &error), CAIRN_CANCELLED,
        "");
  cairn_stop_free(stop);
  cairn_watcher_free(watcher);
}

static void a_watcher_skips_and_refuses(void) {
  const char* directory = in_scratch("skipping");
  save_into(directory, "a");
  save_into(directory, "b");
  char name[100];
  snprintf(name, sizeof name, "rm '%s'", in_scratch("skipping/a.cairn"));
  CHECK(system(name) == 0 && unlink(in_scratch("skipping/a.index")) == 0);
  cairn_watcher* watcher = NULL;
  cairn_published* published = NULL;
  OK(cairn_watcher_open(directory, NULL, &watcher, &error));
  OK(cairn_watcher_next(watcher, 1000, NULL, &published, &error));
  CHECK(contains(published->prefix, "skipping/b") && published->skipped_count == 1);
  CHECK(contains(published->skipped[0]->prefix, "skipping/a"));
  CHECK(published->skipped[0]->why.size > 0);
  cairn_published_free(published);
  cairn_watcher_free(watcher);
  cairn_watcher_options options = cairn_watcher_options_init();
  options.poll_ms = -1;
  FAILS(cairn_watcher_open(directory, &options, &watcher, &error), CAIRN_INVALID, "poll");
  options = cairn_watcher_options_init();
  options.cursor = cairn_str("no cursor");
  FAILS(cairn_watcher_open(directory, &options, &watcher, &error), CAIRN_INVALID, "cursor");
  options = cairn_watcher_options_init();
  options.only_latest = 1;
  OK(cairn_watcher_open(directory, &options, &watcher, &error));
  OK(cairn_watcher_next(watcher, 0, NULL, &published, &error));
  CHECK(contains(published->prefix, "skipping/b") && published->skipped_count == 0);
  cairn_published_free(published);
  cairn_watcher_free(watcher);
  FAILS(cairn_watcher_open(NULL, NULL, &watcher, &error), CAIRN_INVALID, "NULL");
}

void directory_cases(void) {
  run_case("a catalog is read", a_catalog_is_read);
  run_case("what is not whole is passed", what_is_not_whole_is_passed);
  run_case("a catalog is written", a_catalog_is_written);
  run_case("a Watcher takes each checkpoint once", a_watcher_takes_each_checkpoint_once);
  run_case("a Watcher skips and refuses", a_watcher_skips_and_refuses);
}
