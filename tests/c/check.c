// The C tests: what they share, and main.

#include "check.h"

cairn_error* error;
const char* golden_root;
const char* scratch;

static int failed_checks, passed_cases, failed_cases;

void check(bool condition, const char* text, int line) {
  if (condition) return;
  ++failed_checks;
  fprintf(stderr, "line %d: %s\n", line, text);
}

void ok(cairn_code code, const char* text, int line) {
  check(code == CAIRN_OK, text, line);
  check((code == CAIRN_OK) == (error == NULL), "an error is set if and only if the call fails",
        line);
  if (error != NULL) fprintf(stderr, "  %s\n", cairn_error_message(error));
  cairn_error_free(error);
  error = NULL;
}

void fails(cairn_code code, cairn_code wanted, const char* part, int line) {
  const bool as_wanted = code == wanted && error != NULL && cairn_error_code(error) == code &&
                         strstr(cairn_error_message(error), part) != NULL;
  check(as_wanted, part, line);
  if (!as_wanted)
    fprintf(stderr, "  %s: %s\n", cairn_code_name(code),
            error == NULL ? "no error" : cairn_error_message(error));
  cairn_error_free(error);
  error = NULL;
}

bool same(cairn_string text, const char* wanted) {
  return text.size == strlen(wanted) && memcmp(text.data, wanted, text.size) == 0;
}

bool contains(cairn_string text, const char* part) {
  const size_t size = strlen(part);
  for (size_t i = 0; i + size <= text.size; ++i)
    if (memcmp(text.data + i, part, size) == 0) return true;
  return false;
}

static const char* joined(const char* directory, const char* name) {
  static char paths[8][1024];
  static unsigned next;
  char* const path = paths[next++ % 8];
  snprintf(path, sizeof paths[0], "%s/%s", directory, name);
  return path;
}

const char* in_scratch(const char* name) { return joined(scratch, name); }
const char* golden(const char* name) { return joined(golden_root, name); }

void write_file(const char* path, const void* bytes, size_t size) {
  FILE* const file = fopen(path, "wb");
  if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) {
    perror(path);
    exit(1);
  }
}

void copy_directory(const char* from, const char* to) {
  char command[3000];
  snprintf(command, sizeof command, "cp -r '%s' '%s' && chmod -R u+w '%s'", from, to, to);
  if (system(command) != 0) exit(1);
}

cairn_tensor_spec spec_of(const char* name, cairn_dtype dtype, const int64_t* shape, size_t rank) {
  cairn_tensor_spec spec = cairn_tensor_spec_init();
  spec.name = cairn_str(name);
  spec.dtype = dtype;
  spec.shape = shape;
  spec.rank = rank;
  return spec;
}

cairn_named_tensor named(const cairn_tensor_spec* spec, const void* bytes, size_t size) {
  cairn_named_tensor tensor = cairn_named_tensor_init();
  tensor.spec = spec;
  tensor.bytes = bytes;
  tensor.size_bytes = size;
  return tensor;
}

cairn_checkpoint* must_open(const char* path) {
  cairn_checkpoint* checkpoint = NULL;
  if (cairn_checkpoint_open(path, NULL, &checkpoint, &error) != CAIRN_OK) {
    fprintf(stderr, "%s\n", cairn_error_message(error));
    exit(1);
  }
  return checkpoint;
}

void run_case(const char* name, void (*body)(void)) {
  const int before = failed_checks;
  body();
  if (failed_checks == before) {
    ++passed_cases;
  } else {
    ++failed_cases;
    fprintf(stderr, "failed: %s\n", name);
  }
}

int main(int count, char** arguments) {
  static char directory[] = "/tmp/cairn-c-XXXXXX";
  if (count != 2 || mkdtemp(directory) == NULL) return 2;
  golden_root = arguments[1];
  scratch = directory;
  read_cases();
  write_cases();
  directory_cases();
  transfer_cases();
  live_cases();
  char command[100];
  snprintf(command, sizeof command, "rm -rf '%s'", directory);
  if (system(command) != 0) return 1;
  printf("%d passed, %d failed, 0 skipped\n", passed_cases, failed_cases);
  return failed_cases == 0 ? 0 : 1;
}
