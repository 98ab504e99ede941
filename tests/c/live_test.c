// A model that is replaced while it is used, through the C interface: what version 1.2 added.

#include "check.h"

#if CAIRN_C_VERSION >= 10002

static void publish(const char* directory, int32_t value) {
  const cairn_tensor_spec spec = spec_of("w", CAIRN_INT32, NULL, 0);
  const cairn_named_tensor tensor = named(&spec, &value, sizeof value);
  cairn_saver* saver = NULL;
  OK(cairn_saver_open(directory, NULL, &saver, &error));
  cairn_save_options options = cairn_save_options_init();
  options.step = value;
  options.has_step = 1;
  OK(cairn_saver_save(saver, "m", &tensor, 1, &options, NULL, &error));
  cairn_saver_free(saver);
}

static int32_t value_in(const cairn_snapshot* snapshot) {
  cairn_tensor tensor;
  const void* bytes = NULL;
  OK(cairn_checkpoint_tensor(cairn_snapshot_checkpoint(snapshot), cairn_str("w"), &tensor, &error));
  OK(cairn_tensor_bytes(tensor, &bytes, NULL, &error));
  int32_t value = 0;
  memcpy(&value, bytes, sizeof value);
  return value;
}

// The value of the current one; 0: there is none.
static int32_t current_value(const cairn_live* live) {
  cairn_snapshot* snapshot = NULL;
  OK(cairn_live_current(live, &snapshot, &error));
  const int32_t value = snapshot == NULL ? 0 : value_in(snapshot);
  cairn_snapshot_free(snapshot);
  return value;
}

// Polls until something was published or rejected since.
static void poll_until(cairn_live* live, uint64_t swaps, uint64_t rejected) {
  for (int i = 0; i < 20000; ++i) {
    cairn_live_status* status = NULL;
    OK(cairn_live_get_status(live, &status, &error));
    const bool done = status->swap_count >= swaps && status->rejected_count >= rejected;
    cairn_live_status_free(status);
    if (done) return;
    if (cairn_live_poll(live, 1) > 0) usleep(500);
  }
  CHECK(false);
}

static int models;

static cairn_code prepare(void* context, const cairn_checkpoint* checkpoint, void** model,
                          cairn_error** failed) {
  CHECK(context == &models);
  cairn_tensor tensor;
  int32_t value = 0;
  OK(cairn_checkpoint_tensor(checkpoint, cairn_str("w"), &tensor, &error));
  OK(cairn_tensor_read(tensor, NULL, &value, sizeof value, &error));
  if (value == 3) {
    *failed = cairn_error_new(CAIRN_INVALID, "no threes");
    return CAIRN_INVALID;
  }
  if (value == 4) return CAIRN_UNSUPPORTED;
  int32_t* made = malloc(sizeof *made);
  *made = 10 * value;
  *model = made;
  ++models;
  return CAIRN_OK;
}

static void free_model(void* context, void* model) {
  CHECK(context == &models);
  free(model);
  --models;
}

static void checkpoints_are_published_rejected_and_rolled_back(void) {
  const char* directory = in_scratch("live");
  publish(directory, 1);
  cairn_live_options options = cairn_live_options_init();
  options.prepare = prepare;
  options.free_model = free_model;
  options.context = &models;
  options.bytes_per_second_max = UINT64_MAX;
  options.poll_ms = 1;
  cairn_live* live = NULL;
  OK(cairn_live_open(directory, &options, &live, &error));
  CHECK(current_value(live) == 0);
  FAILS(cairn_live_rollback(live, &error), CAIRN_NOT_FOUND, "no earlier checkpoint");
  poll_until(live, 1, 0);
  cairn_snapshot* one = NULL;
  OK(cairn_live_current(live, &one, &error));
  CHECK(cairn_snapshot_generation(one) == 1);
  CHECK(*(int32_t*)cairn_snapshot_model(one) == 10);
  publish(directory, 2);
  poll_until(live, 2, 0);
  CHECK(current_value(live) == 2);
  publish(directory, 3);
  poll_until(live, 2, 1);
  publish(directory, 4);
  poll_until(live, 2, 2);
  CHECK(current_value(live) == 2);
  cairn_live_status* status = NULL;
  OK(cairn_live_get_status(live, &status, &error));
  CHECK(status->generation == 2 && contains(status->prefix, "m-2"));
  CHECK(contains(status->rollback, "m-1") && status->warnings_count == 0);
  CHECK(status->quarantine_count == 2 && same(status->quarantine[0]->why, "no threes"));
  CHECK(status->quarantine[0]->code == CAIRN_INVALID);
  CHECK(contains(status->quarantine[1]->why, "Unsupported"));
  cairn_live_status_free(status);
  cairn_live_status_free(NULL);
  OK(cairn_live_rollback(live, &error));
  CHECK(current_value(live) == 1);
  char* text = NULL;
  OK(cairn_live_prometheus(live, &text, &error));
  CHECK(strstr(text, "cairn_live_rollbacks_total 1\n") != NULL);
  cairn_text_free(text);
  cairn_live_free(live);
  CHECK(value_in(one) == 1 && models == 1);
  cairn_snapshot_free(one);
  cairn_snapshot_free(NULL);
  CHECK(models == 0);
}

static void a_run_ends_when_it_is_told_to(void) {
  cairn_live_options options = cairn_live_options_init();
  cairn_live* live = NULL;
  options.poll_ms = -1;
  FAILS(cairn_live_open(scratch, &options, &live, &error), CAIRN_INVALID, "polls every -1 ms");
  FAILS(cairn_live_open(NULL, NULL, &live, &error), CAIRN_INVALID, "NULL");
  OK(cairn_live_open(in_scratch("nothing"), NULL, &live, &error));
  cairn_stop* stop = NULL;
  OK(cairn_stop_new(&stop, &error));
  cairn_stop_request(stop);
  cairn_live_run(live, stop);
  cairn_live_free(live);
  cairn_live_free(NULL);
  cairn_stop_free(stop);
}

void live_cases(void) {
  run_case("checkpoints are published, rejected and rolled back",
           checkpoints_are_published_rejected_and_rolled_back);
  run_case("a run ends when it is told to", a_run_ends_when_it_is_told_to);
}

#else

void live_cases(void) {}

#endif
