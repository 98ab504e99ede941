// The example of Cairn's README, in C: reads a value of the latest checkpoint in the directory
// `saved`, and saves the next one.

#include <cairn/c.h>
#include <stdio.h>
#include <stdlib.h>

static void try(cairn_code code, cairn_error* error) {
  if (code == CAIRN_OK) return;
  fprintf(stderr, "%s: %s\n", cairn_code_name(code), cairn_error_message(error));
  exit(1);
}

int main(void) {
  cairn_error* error;
  cairn_checkpoint* checkpoint;
  cairn_tensor v1;
  const void* bytes;
  try(cairn_checkpoint_open("saved/train2-9", NULL, &checkpoint, &error), error);
  try(cairn_checkpoint_tensor(checkpoint, cairn_str("v1"), &v1, &error), error);
  try(cairn_tensor_bytes(v1, &bytes, NULL, &error), error);  // checked, and not copied
  int32_t next;
  memcpy(&next, bytes, sizeof next);
  printf("%d\n", next++);

  cairn_tensor_spec spec = cairn_tensor_spec_init();
  spec.name = cairn_str("v1");
  spec.dtype = CAIRN_INT32;
  cairn_named_tensor tensor = cairn_named_tensor_init();
  tensor.spec = &spec;
  tensor.bytes = &next;
  tensor.size_bytes = sizeof next;
  cairn_save_options options = cairn_save_options_init();
  options.step = 10;
  options.has_step = 1;
  cairn_saver* saver;
  cairn_saved* saved;
  try(cairn_saver_open("saved", NULL, &saver, &error), error);  // keeps the newest five
  try(cairn_saver_save(saver, "train2", &tensor, 1, &options, &saved, &error), error);
  printf("%s\n", saved->prefix.data);
  cairn_saved_free(saved);
  cairn_saver_free(saver);
  cairn_checkpoint_free(checkpoint);
}
