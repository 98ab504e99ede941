// Opening, looking up, viewing and reading, through the C interface.

#include <math.h>

#include "check.h"

static void versions_codes_and_dtypes(void) {
  CHECK(cairn_c_version() >= CAIRN_C_VERSION);  // of an older program's header it is more
  CHECK(strchr(cairn_version(), '.') != NULL);
  CHECK(strcmp(cairn_code_name(CAIRN_OK), "Ok") == 0);
  CHECK(strcmp(cairn_code_name(CAIRN_NO_SPACE), "NoSpace") == 0);
  CHECK(strcmp(cairn_code_name((cairn_code)77), "Unknown") == 0);
  CHECK(same(cairn_dtype_name(CAIRN_BFLOAT16), "bfloat16"));
  CHECK(same(cairn_dtype_name((cairn_dtype)99), "invalid"));
  CHECK(cairn_dtype_from_name(cairn_str("int64")) == CAIRN_INT64);
  CHECK(cairn_dtype_from_name(cairn_str("no such")) == CAIRN_DTYPE_INVALID);
  CHECK(cairn_dtype_element_bytes(CAIRN_COMPLEX128) == 16);
  CHECK(cairn_dtype_element_bytes(CAIRN_STRING) == 0);
  CHECK(same(cairn_format_name(CAIRN_FORMAT_GGUF), "gguf"));
  CHECK(same(cairn_format_name((cairn_format)99), "unknown"));
  CHECK(same(cairn_io_method_name(CAIRN_IO_DIRECT), "direct"));
  CHECK(same(cairn_io_method_name(CAIRN_IO_AUTO), "auto"));
  cairn_error* own = cairn_error_new(CAIRN_BUSY, "come later");
  CHECK(cairn_error_code(own) == CAIRN_BUSY && cairn_error_os_errno(own) == 0);
  CHECK(strcmp(cairn_error_message(own), "come later") == 0);
  cairn_error_free(own);
  cairn_error_free(NULL);
}

// Each dtype is the one of TensorFlow's numbers that C++ has under this name.
static void every_dtype_has_its_name(void) {
  static const struct {
    cairn_dtype dtype;
    const char* name;
  } all[] = {{CAIRN_FLOAT32, "float32"},
             {CAIRN_FLOAT64, "float64"},
             {CAIRN_INT32, "int32"},
             {CAIRN_UINT8, "uint8"},
             {CAIRN_INT16, "int16"},
             {CAIRN_INT8, "int8"},
             {CAIRN_STRING, "string"},
             {CAIRN_COMPLEX64, "complex64"},
             {CAIRN_INT64, "int64"},
             {CAIRN_BOOL, "bool"},
             {CAIRN_QINT8, "qint8"},
             {CAIRN_QUINT8, "quint8"},
             {CAIRN_QINT32, "qint32"},
             {CAIRN_BFLOAT16, "bfloat16"},
             {CAIRN_QINT16, "qint16"},
             {CAIRN_QUINT16, "quint16"},
             {CAIRN_UINT16, "uint16"},
             {CAIRN_COMPLEX128, "complex128"},
             {CAIRN_FLOAT16, "float16"},
             {CAIRN_RESOURCE, "resource"},
             {CAIRN_VARIANT, "variant"},
             {CAIRN_UINT32, "uint32"},
             {CAIRN_UINT64, "uint64"},
             {CAIRN_FLOAT8_E5M2, "float8_e5m2"},
             {CAIRN_FLOAT8_E4M3FN, "float8_e4m3fn"},
             {CAIRN_FLOAT8_E4M3FNUZ, "float8_e4m3fnuz"},
             {CAIRN_FLOAT8_E4M3B11FNUZ, "float8_e4m3b11fnuz"},
             {CAIRN_FLOAT8_E5M2FNUZ, "float8_e5m2fnuz"},
             {CAIRN_INT4, "int4"},
             {CAIRN_UINT4, "uint4"},
             {CAIRN_INT2, "int2"},
             {CAIRN_UINT2, "uint2"},
             {CAIRN_FLOAT4_E2M1FN, "float4_e2m1fn"}};
  for (size_t i = 0; i < sizeof all / sizeof *all; ++i) {
    CHECK(same(cairn_dtype_name(all[i].dtype), all[i].name));
    CHECK(cairn_dtype_from_name(cairn_str(all[i].name)) == all[i].dtype);
  }
}

static void an_open_checkpoint_says_what_it_is(void) {
  cairn_checkpoint* checkpoint = must_open(golden("tensorflow/saver_walk/saved"));
  CHECK(cairn_checkpoint_format(checkpoint) == CAIRN_FORMAT_TENSORFLOW);
  CHECK(contains(cairn_checkpoint_prefix(checkpoint), "saved/train2-9"));
  int64_t step = 0;
  CHECK(cairn_checkpoint_step(checkpoint, &step) && step == 9);
  CHECK(cairn_checkpoint_shard_count(checkpoint) == 1);
  CHECK(same(cairn_checkpoint_shard_name(checkpoint, 0), "train2-9.data-00000-of-00001"));
  CHECK(cairn_checkpoint_shard_size_bytes(checkpoint, 0) > 0);
  CHECK(cairn_checkpoint_metadata_count(checkpoint) == 0);
  CHECK(!cairn_checkpoint_faulted(checkpoint));
  CHECK(cairn_checkpoint_contains(checkpoint, cairn_str("v1")));
  CHECK(!cairn_checkpoint_contains(checkpoint, cairn_str("v1 ")));
  cairn_tensor v1, again;
  OK(cairn_checkpoint_tensor(checkpoint, cairn_str("v1"), &v1, &error));
  FAILS(cairn_checkpoint_tensor(checkpoint, cairn_str("v"), &again, &error), CAIRN_NOT_FOUND, "v1");
  bool listed = false;
  for (size_t i = 0; i < cairn_checkpoint_tensor_count(checkpoint); ++i) {
    again = cairn_checkpoint_tensor_at(checkpoint, i);
    if (same(cairn_tensor_name(again), "v1")) listed = cairn_tensor_dtype(again) == CAIRN_INT32;
  }
  CHECK(listed);
  const void* bytes = NULL;
  size_t size = 0;
  OK(cairn_tensor_bytes(v1, &bytes, &size, &error));
  int32_t value = 0;
  memcpy(&value, bytes, sizeof value);
  CHECK(size == 4 && value == 20);
  OK(cairn_tensor_bytes(v1, &bytes, NULL, NULL));
  // A copy keeps what the first handle gave.
  cairn_checkpoint* copy = NULL;
  OK(cairn_checkpoint_copy(checkpoint, &copy, &error));
  cairn_checkpoint_free(checkpoint);
  memcpy(&value, bytes, sizeof value);
  CHECK(value == 20 && same(cairn_tensor_name(v1), "v1"));
  cairn_checkpoint_free(copy);
  cairn_checkpoint_free(NULL);
}

static void an_open_that_fails_says_why(void) {
  cairn_checkpoint* checkpoint = NULL;
  FAILS(cairn_checkpoint_open("/nonexistent/m", NULL, &checkpoint, &error), CAIRN_NOT_FOUND,
        "/nonexistent/m");
  FAILS(cairn_checkpoint_open(NULL, NULL, &checkpoint, &error), CAIRN_INVALID, "NULL");
  FAILS(cairn_checkpoint_open(golden("hostile/bad_magic"), NULL, &checkpoint, &error),
        CAIRN_CORRUPT, "bad_magic");
  CHECK(cairn_checkpoint_open("/nonexistent/m", NULL, &checkpoint, NULL) == CAIRN_NOT_FOUND);
  CHECK(checkpoint == NULL);
  // An error that a later success replaces: NULL again.
  error = (cairn_error*)&checkpoint;
  OK(cairn_checkpoint_open(golden("tensorflow/dtypes/all"), NULL, &checkpoint, &error));
  cairn_checkpoint_free(checkpoint);
}

static void progress_seen(void* context, const cairn_progress* progress) {
  if (progress->done_bytes <= progress->total_bytes) ++*(int*)context;
}

static void the_options_of_open_are_used(void) {
  cairn_open_options options = cairn_open_options_init();
  cairn_checkpoint* checkpoint = NULL;
  const char* path = golden("tensorflow/saver_walk/saved/train2-9");
  cairn_tensor_spec expected = spec_of("v1", CAIRN_FLOAT32, NULL, 0);
  options.expected = &expected;
  options.expected_count = 1;
  FAILS(cairn_checkpoint_open(path, &options, &checkpoint, &error), CAIRN_INVALID, "v1");
  expected.dtype = (cairn_dtype)1000;
  FAILS(cairn_checkpoint_open(path, &options, &checkpoint, &error), CAIRN_INVALID, "cairn_dtype");
  expected.dtype = CAIRN_OPAQUE;
  expected.opaque_bits = 70000;
  FAILS(cairn_checkpoint_open(path, &options, &checkpoint, &error), CAIRN_INVALID, "opaque_bits");
  options = cairn_open_options_init();
  options.access = (cairn_access)9;
  FAILS(cairn_checkpoint_open(path, &options, &checkpoint, &error), CAIRN_INVALID, "cairn_access");
  options = cairn_open_options_init();
  options.verify = (cairn_verify)-1;
  FAILS(cairn_checkpoint_open(path, &options, &checkpoint, &error), CAIRN_INVALID, "cairn_verify");
  options = cairn_open_options_init();
  options.void_dtype = (cairn_dtype)-5;
  FAILS(cairn_checkpoint_open(path, &options, &checkpoint, &error), CAIRN_INVALID, "cairn_dtype");
  options = cairn_open_options_init();
  int calls = 0;
  cairn_exec_options exec = cairn_exec_options_init();
  exec.progress = progress_seen;
  exec.progress_context = &calls;
  exec.threads_max = 1;
  options.exec = &exec;
  options.access = CAIRN_ACCESS_COPY;
  options.verify = CAIRN_VERIFY_FULL;
  OK(cairn_checkpoint_open(path, &options, &checkpoint, &error));
  CHECK(calls > 0);
  cairn_checkpoint_free(checkpoint);
}

static void private_bytes_can_be_changed(void) {
  cairn_open_options options = cairn_open_options_init();
  options.access = CAIRN_ACCESS_PRIVATE;
  cairn_checkpoint* checkpoint = NULL;
  OK(cairn_checkpoint_open(golden("tensorflow/dtypes/all"), &options, &checkpoint, &error));
  size_t changed = 0;
  for (size_t i = 0; i < cairn_checkpoint_tensor_count(checkpoint); ++i) {
    const cairn_tensor tensor = cairn_checkpoint_tensor_at(checkpoint, i);
    void* bytes = NULL;
    size_t size = 0;
    if (cairn_tensor_dtype(tensor) == CAIRN_STRING) {
      FAILS(cairn_tensor_mutable_bytes(tensor, &bytes, &size, &error), CAIRN_INVALID, "string");
      continue;
    }
    OK(cairn_tensor_mutable_bytes(tensor, &bytes, &size, &error));
    CHECK(size == cairn_tensor_size_bytes(tensor));
    memset(bytes, 7, size);
    const void* seen = NULL;
    OK(cairn_tensor_bytes(tensor, &seen, NULL, &error));
    CHECK(seen == bytes);
    ++changed;
  }
  CHECK(changed > 10);
  cairn_checkpoint_free(checkpoint);
  checkpoint = must_open(golden("tensorflow/saver_walk/saved"));
  void* bytes = NULL;
  FAILS(cairn_tensor_mutable_bytes(cairn_checkpoint_tensor_at(checkpoint, 0), &bytes, NULL, &error),
        CAIRN_INVALID, "read-only");
  cairn_checkpoint_free(checkpoint);
}

// The same memory, with what a struct of another size has in front.
static void structs_may_be_shorter_or_longer(void) {
  const char* path = golden("tensorflow/saver_walk/saved/train2-9");
  cairn_checkpoint* checkpoint = NULL;
  struct {
    cairn_open_options known;
    char unknown[1000];  // more than the library has added to what an older program knows
  } longer;
  memset(&longer, 0, sizeof longer);
  longer.known.struct_size = sizeof longer;
  OK(cairn_checkpoint_open(path, &longer.known, &checkpoint, &error));
  cairn_checkpoint_free(checkpoint);
  longer.unknown[999] = 1;
  char where[100];
  snprintf(where, sizeof where, "byte %zu of a cairn_open_options", sizeof longer.known + 999);
  FAILS(cairn_checkpoint_open(path, &longer.known, &checkpoint, &error), CAIRN_UNSUPPORTED, where);
  // Shorter: what follows is not read, here an access that does not exist.
  cairn_open_options shorter = cairn_open_options_init();
  shorter.struct_size = offsetof(cairn_open_options, access);
  shorter.access = (cairn_access)99;
  OK(cairn_checkpoint_open(path, &shorter, &checkpoint, &error));
  cairn_checkpoint_free(checkpoint);
  shorter = cairn_open_options_init();
  shorter.access = CAIRN_ACCESS_PRIVATE;
  shorter.struct_size = offsetof(cairn_open_options, verify);
  shorter.expected_count = 1000;
  OK(cairn_checkpoint_open(path, &shorter, &checkpoint, &error));
  void* bytes = NULL;
  OK(cairn_tensor_mutable_bytes(cairn_checkpoint_tensor_at(checkpoint, 0), &bytes, NULL, &error));
  cairn_checkpoint_free(checkpoint);
  shorter = cairn_open_options_init();
  shorter.struct_size = 0;
  FAILS(cairn_checkpoint_open(path, &shorter, &checkpoint, &error), CAIRN_INVALID, "struct_size");
  shorter.struct_size = (size_t)-1;
  FAILS(cairn_checkpoint_open(path, &shorter, &checkpoint, &error), CAIRN_INVALID, "sizeof");
  shorter = cairn_open_options_init();
  shorter.reserved = 1;
  FAILS(cairn_checkpoint_open(path, &shorter, &checkpoint, &error), CAIRN_INVALID, "reserved");
}

// Elements of a list lie as far apart as they say.
static void lists_of_longer_structs_are_read(void) {
  struct {
    cairn_tensor_spec spec;
    int64_t unknown;
  } specs[2];
  memset(specs, 0, sizeof specs);
  specs[0].spec = spec_of("v1", CAIRN_INT32, NULL, 0);
  specs[1].spec = spec_of("v9", CAIRN_INT32, NULL, 0);
  specs[0].spec.struct_size = specs[1].spec.struct_size = sizeof specs[0];
  cairn_open_options options = cairn_open_options_init();
  options.expected = &specs[0].spec;
  options.expected_count = 2;
  cairn_checkpoint* checkpoint = NULL;
  const char* path = golden("tensorflow/saver_walk/saved/train2-9");
  FAILS(cairn_checkpoint_open(path, &options, &checkpoint, &error), CAIRN_INVALID, "v9");
  specs[1].unknown = 5;
  FAILS(cairn_checkpoint_open(path, &options, &checkpoint, &error), CAIRN_UNSUPPORTED,
        "cairn_tensor_spec");
  specs[1].spec.struct_size = sizeof(cairn_tensor_spec);
  FAILS(cairn_checkpoint_open(path, &options, &checkpoint, &error), CAIRN_INVALID, "differ");
}

// What C++ throws inside comes out as a code.
static void exceptions_become_codes(void) {
  cairn_open_options options = cairn_open_options_init();
  cairn_tensor_spec spec = spec_of("v1", CAIRN_INT32, NULL, 0);
  options.expected = &spec;
  options.expected_count = SIZE_MAX / sizeof spec;
  cairn_checkpoint* checkpoint = NULL;
  FAILS(cairn_checkpoint_open(golden("tensorflow/saver_walk/saved"), &options, &checkpoint, &error),
        CAIRN_OUT_OF_MEMORY, "memory");
}

static void slices_and_many_reads(void) {
  static const float values[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  static const int64_t shape[2] = {3, 4};
  cairn_tensor_spec spec = spec_of("w", CAIRN_FLOAT32, shape, 2);
  cairn_writer* writer = NULL;
  OK(cairn_writer_create(in_scratch("slices"), &spec, 1, NULL, &writer, &error));
  OK(cairn_writer_write(writer, cairn_str("w"), values, sizeof values, &error));
  OK(cairn_writer_commit(writer, NULL, &error));
  cairn_writer_free(writer);
  cairn_checkpoint* checkpoint = must_open(in_scratch("slices"));
  cairn_tensor w;
  OK(cairn_checkpoint_tensor(checkpoint, cairn_str("w"), &w, &error));
  CHECK(cairn_tensor_rank(w) == 2 && cairn_tensor_shape(w)[1] == 4);
  CHECK(cairn_tensor_strides(w) == NULL && !cairn_tensor_partitioned(w));
  CHECK(cairn_tensor_element_count(w) == 12 && cairn_tensor_element_bits(w) == 32);
  CHECK(same(cairn_tensor_dtype_name(w), "float32") && cairn_tensor_shard(w).size > 0);
  CHECK(cairn_tensor_offset_bytes(w) % 64 == 0);
  uint32_t crc = 0, block_elements = 9, block_bytes = 9;
  uint8_t hash[16] = {0};
  CHECK(cairn_tensor_crc32c(w, &crc) && crc != 0);
  CHECK(cairn_tensor_content_hash(w, hash) && (hash[0] | hash[1] | hash[15]) != 0);
  OK(cairn_tensor_block(w, &block_elements, &block_bytes, &error));
  CHECK(block_elements == 0 && block_bytes == 0);
  const cairn_range middle[2] = {{1, 1}, {2, CAIRN_TO_END}};
  const cairn_slice slice = {middle, 2};
  size_t size = 0;
  OK(cairn_tensor_read_bytes(w, &slice, &size, &error));
  CHECK(size == 8);
  float two[2] = {0, 0}, all[12];
  OK(cairn_tensor_read(w, &slice, two, sizeof two, &error));
  CHECK(two[0] == 6 && two[1] == 7);
  FAILS(cairn_tensor_read(w, NULL, two, sizeof two, &error), CAIRN_INVALID, "48 bytes");
  const cairn_slice wrong = {middle, 1};
  FAILS(cairn_tensor_read_bytes(w, &wrong, &size, &error), CAIRN_INVALID, "dimension");
  cairn_read reads[2] = {cairn_read_init(), cairn_read_init()};
  reads[0].name = reads[1].name = cairn_str("w");
  reads[0].slice = &slice;
  reads[0].out = two;
  reads[0].size_bytes = sizeof two;
  reads[1].out = all;
  reads[1].size_bytes = sizeof all;
  two[0] = 0;
  OK(cairn_checkpoint_read(checkpoint, reads, 2, NULL, &error));
  CHECK(two[0] == 6 && memcmp(all, values, sizeof all) == 0);
  cairn_read_options options = cairn_read_options_init();
  options.reader_index = 1;
  FAILS(cairn_checkpoint_read(checkpoint, reads, 2, &options, &error), CAIRN_INVALID,
        "reader_index");
  options.reader_count = 2;
  OK(cairn_checkpoint_read(checkpoint, reads, 2, &options, &error));
  reads[1].name = cairn_str("x");
  FAILS(cairn_checkpoint_read(checkpoint, reads, 2, NULL, &error), CAIRN_NOT_FOUND, "x");
  const cairn_string names[1] = {cairn_str("w")};
  OK(cairn_checkpoint_prefetch(checkpoint, names, 1, NULL, &error));
  OK(cairn_checkpoint_prefetch(checkpoint, NULL, 0, NULL, &error));
  uint64_t resident = 0;
  const cairn_code code = cairn_checkpoint_resident_bytes(checkpoint, &resident, NULL);
  CHECK(code == CAIRN_UNSUPPORTED || (code == CAIRN_OK && resident > 0));
  cairn_checkpoint_free(checkpoint);
}

static void strings_are_views(void) {
  cairn_checkpoint* checkpoint = must_open(golden("tensorflow/strings/all"));
  size_t seen = 0;
  for (size_t i = 0; i < cairn_checkpoint_tensor_count(checkpoint); ++i) {
    const cairn_tensor tensor = cairn_checkpoint_tensor_at(checkpoint, i);
    if (cairn_tensor_dtype(tensor) != CAIRN_STRING) continue;
    cairn_strings* strings = NULL;
    OK(cairn_tensor_strings(tensor, NULL, &strings, &error));
    CHECK(strings->count == cairn_tensor_element_count(tensor));
    for (size_t k = 0; k < strings->count; ++k) seen += strings->values[k].size;
    cairn_strings_free(strings);
  }
  CHECK(seen > 0);
  cairn_strings_free(NULL);
  cairn_checkpoint_free(checkpoint);
  checkpoint = must_open(golden("tensorflow/saver_walk/saved"));
  cairn_strings* strings = NULL;
  FAILS(cairn_tensor_strings(cairn_checkpoint_tensor_at(checkpoint, 0), NULL, &strings, &error),
        CAIRN_INVALID, "not strings");
  cairn_checkpoint_free(checkpoint);
}

// An array in Fortran order is a view with strides; its values are read row-major.
static void strides_are_given_with_the_bytes(void) {
  char npy[128 + 24];
  memset(npy, ' ', sizeof npy);
  memcpy(npy, "\x93NUMPY\1\0\x76\0", 10);
  static const char header[] = "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2)}";
  memcpy(npy + 10, header, sizeof header - 1);
  npy[127] = '\n';
  const float stored[6] = {1, 2, 3, 4, 5, 6};
  memcpy(npy + 128, stored, sizeof stored);
  write_file(in_scratch("columns.npy"), npy, sizeof npy);
  cairn_checkpoint* checkpoint = must_open(in_scratch("columns.npy"));
  const cairn_tensor columns = cairn_checkpoint_tensor_at(checkpoint, 0);
  const int64_t* strides = cairn_tensor_strides(columns);
  CHECK(strides != NULL && strides[0] == 1 && strides[1] == 3);
  const void* bytes = NULL;
  size_t size = 0;
  FAILS(cairn_tensor_bytes(columns, &bytes, &size, &error), CAIRN_UNSUPPORTED, "row-major");
  OK(cairn_tensor_strided_bytes(columns, &bytes, &size, &error));
  CHECK(size == sizeof stored && memcmp(bytes, stored, size) == 0);
  float read[6];
  OK(cairn_tensor_read(columns, NULL, read, sizeof read, &error));
  for (int row = 0; row < 3; ++row)
    for (int column = 0; column < 2; ++column)
      CHECK(read[row * 2 + column] == stored[row * strides[0] + column * strides[1]]);
  cairn_checkpoint_free(checkpoint);
}

static void quantized_blocks_become_floats(void) {
  cairn_checkpoint* checkpoint = must_open(golden("gguf/types.gguf"));
  size_t known = 0;
  for (size_t i = 0; i < cairn_checkpoint_tensor_count(checkpoint); ++i) {
    const cairn_tensor tensor = cairn_checkpoint_tensor_at(checkpoint, i);
    float* values = calloc(cairn_tensor_element_count(tensor), sizeof(float));
    const size_t count = cairn_tensor_element_count(tensor);
    if (!cairn_tensor_can_dequantize(tensor)) {
      FAILS(cairn_tensor_dequantize(tensor, NULL, values, count, &error), CAIRN_UNSUPPORTED, "");
    } else {
      uint32_t block_elements = 0, block_bytes = 0;
      OK(cairn_tensor_block(tensor, &block_elements, &block_bytes, &error));
      CHECK(block_elements >= 32 && block_bytes >= 17);
      CHECK(cairn_tensor_size_bytes(tensor) == count / block_elements * block_bytes);
      CHECK(cairn_tensor_element_bits(tensor) == 0);
      OK(cairn_tensor_dequantize(tensor, NULL, values, count, &error));
      CHECK(isfinite(values[0]));
      FAILS(cairn_tensor_dequantize(tensor, NULL, values, count - 1, &error), CAIRN_INVALID,
            "needs room");
      ++known;
    }
    free(values);
  }
  CHECK(known >= 8 && cairn_checkpoint_metadata_count(checkpoint) > 0);
  cairn_checkpoint_free(checkpoint);
}

static void partitioned_and_object_paths(void) {
  cairn_checkpoint* checkpoint = must_open(golden("tensorflow/partitioned/part"));
  bool partitioned = false;
  for (size_t i = 0; i < cairn_checkpoint_tensor_count(checkpoint); ++i) {
    const cairn_tensor tensor = cairn_checkpoint_tensor_at(checkpoint, i);
    if (!cairn_tensor_partitioned(tensor)) continue;
    partitioned = true;
    uint32_t crc = 0;
    CHECK(!cairn_tensor_crc32c(tensor, &crc) && cairn_tensor_shard(tensor).size == 0);
  }
  CHECK(partitioned);
  cairn_checkpoint_free(checkpoint);
  checkpoint = must_open(golden("tensorflow/tf2_manager/tf_ckpts"));
  cairn_tensor step;
  OK(cairn_checkpoint_find_tensor(checkpoint, cairn_str("save_counter"), &step, &error));
  CHECK(cairn_tensor_dtype(step) == CAIRN_INT64);
  FAILS(cairn_checkpoint_find_tensor(checkpoint, cairn_str("no/such"), &step, &error),
        CAIRN_NOT_FOUND, "no/such");
  cairn_checkpoint_free(checkpoint);
}

static void damage_is_a_result(void) {
  copy_directory(golden("tensorflow/saver_walk/saved"), in_scratch("damaged"));
  cairn_checkpoint* checkpoint = must_open(in_scratch("damaged/train2-9"));
  cairn_verification* verification = NULL;
  OK(cairn_checkpoint_verify(checkpoint, NULL, &verification, &error));
  CHECK(verification->damage_count == 0 && verification->bytes_checked > 0);
  CHECK(verification->unchecked_bytes == 0);
  cairn_verification_free(verification);
  cairn_checkpoint_free(checkpoint);
  FILE* file = fopen(in_scratch("damaged/train2-9.data-00000-of-00001"), "r+b");
  const int byte = fgetc(file);
  rewind(file);
  fputc(byte ^ 1, file);
  fclose(file);
  checkpoint = must_open(in_scratch("damaged/train2-9"));
  OK(cairn_checkpoint_verify(checkpoint, NULL, &verification, &error));
  CHECK(verification->damage_count == 1);
  const cairn_damage* damage = verification->damage[0];
  CHECK(damage->offset_bytes == 0 && damage->size_bytes == 4 && damage->tensor.size > 0);
  CHECK(damage->stored_crc32c != damage->computed_crc32c);
  CHECK(same(damage->shard, "train2-9.data-00000-of-00001"));
  cairn_tensor tensor;
  const void* bytes = NULL;
  OK(cairn_checkpoint_tensor(checkpoint, damage->tensor, &tensor, &error));
  FAILS(cairn_tensor_bytes(tensor, &bytes, NULL, &error), CAIRN_CORRUPT, "train2-9");
  cairn_verification_free(verification);
  cairn_verification_free(NULL);
  cairn_stop* stop = NULL;
  OK(cairn_stop_new(&stop, &error));
  cairn_exec_options exec = cairn_exec_options_init();
  exec.stop = stop;
  cairn_stop_request(stop);
  FAILS(cairn_checkpoint_verify(checkpoint, &exec, &verification, &error), CAIRN_CANCELLED, "");
  exec.reserved = 1;
  FAILS(cairn_checkpoint_verify(checkpoint, &exec, &verification, &error), CAIRN_INVALID,
        "reserved");
  cairn_stop_free(stop);
  cairn_stop_free(NULL);
  cairn_checkpoint_free(checkpoint);
}

// Python objects in a file of PyTorch's are left out, and a warning says so.
static void warnings_are_sentences(void) {
  cairn_checkpoint* checkpoint = must_open(golden("pytorch/python_objects.pt"));
  const size_t count = cairn_checkpoint_warning_count(checkpoint);
  CHECK(count > 0);
  for (size_t i = 0; i < count; ++i) CHECK(cairn_checkpoint_warning_at(checkpoint, i).size > 10);
  cairn_checkpoint_free(checkpoint);
}

static void restore_by_every_method(void) {
  const char* path = golden("tensorflow/saver_walk/saved/train2-9");
  static const cairn_io_method methods[] = {CAIRN_IO_AUTO, CAIRN_IO_MAP, CAIRN_IO_POPULATE,
                                            CAIRN_IO_READ, CAIRN_IO_DIRECT};
  for (size_t i = 0; i < sizeof methods / sizeof *methods; ++i) {
    cairn_restore_options options = cairn_restore_options_init();
    options.method = methods[i];
    cairn_checkpoint* checkpoint = NULL;
    cairn_restored* restored = NULL;
    const cairn_code code = cairn_restore(path, &options, &checkpoint, &restored, NULL);
    if (methods[i] == CAIRN_IO_DIRECT && code == CAIRN_UNSUPPORTED) continue;
    CHECK(code == CAIRN_OK);
    CHECK(methods[i] == CAIRN_IO_AUTO || restored->method == methods[i]);
    CHECK(restored->reason.size > 0 && restored->payload_bytes > 0);
    CHECK(restored->file_system.data[restored->file_system.size] == '\0');
    CHECK(cairn_checkpoint_contains(checkpoint, cairn_str("v1")));
    cairn_restored_free(restored);
    cairn_checkpoint_free(checkpoint);
  }
  cairn_checkpoint* checkpoint = NULL;
  OK(cairn_restore(path, NULL, &checkpoint, NULL, &error));
  cairn_checkpoint_free(checkpoint);
  cairn_restored_free(NULL);
  cairn_restore_options options = cairn_restore_options_init();
  options.method = (cairn_io_method)9;
  FAILS(cairn_restore(path, &options, &checkpoint, NULL, &error), CAIRN_INVALID, "cairn_io_method");
  FAILS(cairn_restore(in_scratch("damaged/train2-9"), NULL, &checkpoint, NULL, &error),
        CAIRN_CORRUPT, "train2-9");
  FAILS(cairn_restore("/nonexistent/m", NULL, &checkpoint, NULL, &error), CAIRN_NOT_FOUND, "m");
}

static volatile uint64_t fault_offset = 1;

static void fault_seen(void* context, const cairn_mapping_fault* fault) {
  ++*(volatile int*)context;
  fault_offset = fault->offset_bytes;
}

static void a_guard_survives_a_truncated_file(void) {
  static volatile int faults;
  cairn_sigbus_guard_options options = cairn_sigbus_guard_options_init();
  options.on_fault = fault_seen;
  options.context = (void*)&faults;
  cairn_sigbus_guard *guard = NULL, *second = NULL;
  OK(cairn_sigbus_guard_install(&options, &guard, &error));
  FAILS(cairn_sigbus_guard_install(NULL, &second, &error), CAIRN_EXISTS, "guard");
  copy_directory(golden("tensorflow/saver_walk/saved"), in_scratch("truncated"));
  cairn_checkpoint* checkpoint = must_open(in_scratch("truncated/train2-9"));
  const void* bytes = NULL;
  OK(cairn_tensor_bytes(cairn_checkpoint_tensor_at(checkpoint, 0), &bytes, NULL, &error));
  CHECK(truncate(in_scratch("truncated/train2-9.data-00000-of-00001"), 0) == 0);
  CHECK(*(const volatile unsigned char*)bytes == 0);
  CHECK(cairn_checkpoint_faulted(checkpoint) && faults == 1 && fault_offset == 0);
  FAILS(cairn_tensor_bytes(cairn_checkpoint_tensor_at(checkpoint, 0), &bytes, NULL, &error),
        CAIRN_IO, "train2-9");
  cairn_checkpoint_free(checkpoint);
  cairn_sigbus_guard_free(guard);
  cairn_sigbus_guard_free(NULL);
}

void read_cases(void) {
  run_case("versions, codes and dtypes", versions_codes_and_dtypes);
  run_case("every dtype has its name", every_dtype_has_its_name);
  run_case("an open checkpoint says what it is", an_open_checkpoint_says_what_it_is);
  run_case("an open that fails says why", an_open_that_fails_says_why);
  run_case("the options of open are used", the_options_of_open_are_used);
  run_case("private bytes can be changed", private_bytes_can_be_changed);
  run_case("structs may be shorter or longer", structs_may_be_shorter_or_longer);
  run_case("lists of longer structs are read", lists_of_longer_structs_are_read);
  run_case("exceptions become codes", exceptions_become_codes);
  run_case("slices and many reads", slices_and_many_reads);
  run_case("strings are views", strings_are_views);
  run_case("strides are given with the bytes", strides_are_given_with_the_bytes);
  run_case("quantized blocks become floats", quantized_blocks_become_floats);
  run_case("partitioned tensors and object paths", partitioned_and_object_paths);
  run_case("damage is a result", damage_is_a_result);
  run_case("warnings are sentences", warnings_are_sentences);
  run_case("restore by every method", restore_by_every_method);
  run_case("a guard survives a truncated file", a_guard_survives_a_truncated_file);
}
