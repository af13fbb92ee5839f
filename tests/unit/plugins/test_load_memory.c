/* SPDX-License-Identifier: Apache-2.0
 *
 * Quantising a checkpoint of 300 MB while it loads: the process never holds more than the result, the pages of the
 * tensors that are being read, and what a few rows take.
 */
#include "../../parity/parity.h"

#include "weights/checkpoint.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { WIDTH = 1024, INNER = 4096, LAYERS = 3, VOCABULARY = 25000, HEADS = 8, MEBIBYTE = 1 << 20 };

static const int64_t largest = (int64_t)VOCABULARY * WIDTH * 4; /* bytes of the embedding, which is the head too */

/* ---- The checkpoint --------------------------------------------------------------------------------------------- */

static int64_t add(json_t *header, const char *name, int64_t rows, int64_t columns, int64_t start)
{
    int64_t bytes = rows * columns * 4;
    json_t *shape =
        columns > 1 ? json_pack("[I, I]", (json_int_t)rows, (json_int_t)columns) : json_pack("[I]", (json_int_t)rows);
    json_object_set_new(header, name,
                        json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", shape, "data_offsets",
                                  (json_int_t)start, (json_int_t)(start + bytes)));
    return start + bytes;
}

/* All numbers are zero and in no block of the disk; the reader cannot tell. */
static int64_t write_weights(const char *path)
{
    static const struct {
        const char *name;
        int64_t rows, columns;
    } parts[] = {
        {"input_layernorm", WIDTH, 1},      {"post_attention_layernorm", WIDTH, 1}, {"self_attn.q_proj", WIDTH, WIDTH},
        {"self_attn.k_proj", WIDTH, WIDTH}, {"self_attn.v_proj", WIDTH, WIDTH},     {"self_attn.o_proj", WIDTH, WIDTH},
        {"mlp.gate_proj", INNER, WIDTH},    {"mlp.up_proj", INNER, WIDTH},          {"mlp.down_proj", WIDTH, INNER}};
    json_t *header = json_object();
    int64_t bytes = add(header, "model.embed_tokens.weight", VOCABULARY, WIDTH, 0);
    for (int layer = 0; layer < LAYERS; layer++)
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            char name[96];
            snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, parts[i].name);
            bytes = add(header, name, parts[i].rows, parts[i].columns, bytes);
        }
    bytes = add(header, "model.norm.weight", WIDTH, 1, bytes);
    char *text = json_dumps(header, JSON_COMPACT);
    uint64_t size = strlen(text);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(&size, sizeof size, 1, file), 1);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(truncate(path, (off_t)(8 + (int64_t)size + bytes)), 0);
    free(text);
    json_decref(header);
    return bytes;
}

static int64_t write_folder(char *folder)
{
    char path[96];
    json_t *config = json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:b}", "model_type", "llama",
                               "hidden_size", WIDTH, "intermediate_size", INNER, "num_hidden_layers", LAYERS,
                               "num_attention_heads", HEADS, "num_key_value_heads", HEADS, "vocab_size", VOCABULARY,
                               "max_position_embeddings", 512, "rms_norm_eps", 1e-5, "tie_word_embeddings", true);
    assert_non_null(config);
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    return write_weights(path);
}

static void remove_folder(const char *folder)
{
    char path[96];
    snprintf(path, sizeof path, "%s/config.json", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    unlink(path);
    rmdir(folder);
}

/* ---- Memory ----------------------------------------------------------------------------------------------------- */

/* A line of /proc/self/status in bytes; -1 where there is none. */
static int64_t status_bytes(const char *key)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long long kibibytes = -1;
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, key, strlen(key)))
            kibibytes = strtoll(line + strlen(key), NULL, 10);
    if (file)
        fclose(file);
    return kibibytes < 0 ? -1 : kibibytes * 1024;
}

/* Makes the largest resident size that the process had what it has now; false where the system does not let it. */
static bool forget_peak(void)
{
    int file = open("/proc/self/clear_refs", O_WRONLY);
    bool done = file >= 0 && write(file, "5", 1) == 1;
    if (file >= 0)
        close(file);
    return done;
}

static bool is_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__)
    return true;
#elif defined(__has_feature)
    return __has_feature(address_sanitizer);
#else
    return false;
#endif
}

static void load(const char *folder, int64_t source_bytes)
{
    const more_host *host = parity_host(2);
    const more_plugin *plugin = parity_plugin("llm/llama");
    const more_language_interface *interface = plugin->get_interface(MORE_LANGUAGE_INTERFACE);
    parity_checkpoint checkpoint = parity_checkpoint_open(folder, NULL, interface->tensor_map());
    more_language *model;
    more_memory memory;
    more_error error = {""};
    int64_t before = status_bytes("VmRSS:"), held = (int64_t)parity_host_bytes();

    assert_true(before > 0 && forget_peak());
    if (interface->open(parity_arguments(plugin, host, checkpoint.view, MORE_OPEN_DEFAULT, "quantize", "q8"), &model,
                        &error) ||
        interface->estimate(model, 0, 0, 0, &memory, &error))
        fail_msg("%s", error.message);
    int64_t peak = status_bytes("VmHWM:") - before, result = memory.weight_bytes;
    print_message("%lld MiB of f32 become %lld MiB; at most %lld MiB more were resident\n",
                  (long long)(source_bytes / MEBIBYTE), (long long)(result / MEBIBYTE), (long long)(peak / MEBIBYTE));
    assert_true(source_bytes > 300 * (int64_t)1000000);
    assert_true(result > source_bytes / 4 && result < source_bytes / 4 * 108 / 100); /* tied matrices once */
    assert_true((int64_t)parity_host_bytes() - held < result + 16 * MEBIBYTE);
    assert_true(peak < result + largest + 48 * MEBIBYTE);
    interface->close(model);
    parity_checkpoint_close(&checkpoint);
    parity_host_close();
}

static void peak_while_loading(void **state)
{
    char folder[] = "/tmp/llavamore-memory-XXXXXX";
    (void)state;
    if (is_sanitized() || status_bytes("VmHWM:") < 0 || !forget_peak()) {
        print_message("skipped: peak memory cannot be measured here\n");
        skip();
    }
    int64_t bytes = write_folder(folder);
    load(folder, bytes);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(peak_while_loading)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
