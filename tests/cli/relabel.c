/* SPDX-License-Identifier: Apache-2.0
 *
 * relabel TARGET SOURCE [RULE...] [-- SOURCE [RULE...]]...: writes tensors of checkpoints into one file under other
 * names, so that tests make a folder of every shape out of the embedded model. TARGET.bin becomes what torch.save
 * writes (its check sums left 0), everything else safetensors. A rule FROM=TO renames what begins with FROM; where a
 * source has rules, tensors that none fits are left out. "=" alone keeps all.
 */
#include "base/buffer.h"
#include "base/file.h"
#include "weights/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#define MOST 4096 /* tensors */

typedef struct named {
    char *name;
    more_weight_info info;
} named;

typedef struct output {
    named tensors[MOST];
    size_t count;
    more_checkpoint *sources[MOST]; /* open until the tensors are written: their data is theirs */
    size_t source_count;
} output;

static void stop(const char *message)
{
    fprintf(stderr, "relabel: %s\n", message);
    exit(1);
}

/* The name under the first rule that fits; NULL when none does. */
static char *rename_tensor(const char *name, char *const *rules, int count)
{
    for (int i = 0; i < count; i++) {
        size_t length = strcspn(rules[i], "=");
        if (strncmp(name, rules[i], length) != 0)
            continue;
        core_buffer whole = {0};
        core_buffer_format(&whole, "%s%s", rules[i] + length + 1, name + length);
        return core_buffer_take(&whole);
    }
    return count ? NULL : strdup(name);
}

static void collect(output *out, const char *source, char *const *rules, int count)
{
    const more_weights_service *weights = core_weights_service();
    more_checkpoint *checkpoint = NULL;
    more_error error = {{0}};
    if (core_checkpoint_open(source, &checkpoint, &error) != MORE_OK)
        stop(error.message);
    if (out->source_count == MOST)
        stop("too many sources");
    out->sources[out->source_count++] = checkpoint;
    for (int64_t i = 0; i < weights->count(checkpoint); i++) {
        const char *name = weights->name_at(checkpoint, i);
        named *tensor = &out->tensors[out->count];
        char *renamed = rename_tensor(name, rules, count);
        if (!renamed)
            continue;
        *tensor = (named){renamed, {.struct_size = sizeof tensor->info}};
        if (++out->count == MOST || weights->info(checkpoint, name, &tensor->info, &error) != MORE_OK)
            stop(error.message);
    }
}

static void release(output *out)
{
    for (size_t i = 0; i < out->count; i++)
        free(out->tensors[i].name);
    for (size_t i = 0; i < out->source_count; i++)
        core_checkpoint_release(out->sources[i]);
}

/* ---- safetensors ------------------------------------------------------------------------------------------------ */

static void write_number(core_buffer *buffer, uint64_t number, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        unsigned char byte = (unsigned char)(number >> (8 * i));
        core_buffer_append(buffer, &byte, 1);
    }
}

static void write_safetensors(const output *out, core_buffer *file)
{
    core_buffer header = {0};
    size_t at = 0;
    for (size_t i = 0; i < out->count; i++) {
        const more_weight_info *info = &out->tensors[i].info;
        const char *dtype = !strcmp(info->format, "f16") ? "F16" : !strcmp(info->format, "bf16") ? "BF16" : "F32";
        core_buffer_format(&header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i ? "," : "{", out->tensors[i].name,
                           dtype);
        for (int32_t k = 0; k < info->rank; k++)
            core_buffer_format(&header, "%s%lld", k ? "," : "", (long long)info->shape[k]);
        core_buffer_format(&header, "],\"data_offsets\":[%zu,%zu]}", at, at + info->bytes);
        at += info->bytes;
    }
    core_buffer_text(&header, "}");
    write_number(file, header.size, 8);
    core_buffer_append(file, header.data, header.size);
    for (size_t i = 0; i < out->count; i++)
        core_buffer_append(file, out->tensors[i].info.data, out->tensors[i].info.bytes);
    core_buffer_free(&header);
}

/* ---- torch.save ------------------------------------------------------------------------------------------------- */

static void pickle_text(core_buffer *pickle, const char *text)
{
    core_buffer_text(pickle, "X");
    write_number(pickle, strlen(text), 4);
    core_buffer_text(pickle, text);
}

static void pickle_number(core_buffer *pickle, int64_t number)
{
    core_buffer_text(pickle, "J");
    write_number(pickle, (uint64_t)number, 4);
}

static void pickle_tensor(core_buffer *pickle, const named *tensor, size_t index)
{
    const more_weight_info *info = &tensor->info;
    int64_t elements = 1, stride[MORE_MAX_RANK];
    char key[24];
    for (int32_t i = info->rank - 1; i >= 0; i--) {
        stride[i] = elements;
        elements *= info->shape[i];
    }
    snprintf(key, sizeof key, "%zu", index);
    pickle_text(pickle, tensor->name);
    core_buffer_text(pickle, "ctorch._utils\n_rebuild_tensor_v2\n((");
    pickle_text(pickle, "storage");
    core_buffer_format(pickle, "ctorch\n%sStorage\n",
                       !strcmp(info->format, "f16")    ? "Half"
                       : !strcmp(info->format, "bf16") ? "BFloat16"
                                                       : "Float");
    pickle_text(pickle, key);
    pickle_text(pickle, "cpu");
    pickle_number(pickle, elements);
    core_buffer_text(pickle, "tQ");
    pickle_number(pickle, 0);
    for (int part = 0; part < 2; part++) {
        core_buffer_text(pickle, "(");
        for (int32_t i = 0; i < info->rank; i++)
            pickle_number(pickle, part ? stride[i] : info->shape[i]);
        core_buffer_text(pickle, "t");
    }
    core_buffer_text(pickle, "\x89"
                             "ccollections\nOrderedDict\n)RtR");
}

/* Name and lengths as both headers have them. */
static void write_common(core_buffer *to, const char *name, size_t size)
{
    write_number(to, 0, 2); /* flags */
    write_number(to, 0, 2); /* stored */
    write_number(to, 0, 8); /* time, date, check sum */
    write_number(to, size, 4);
    write_number(to, size, 4);
    write_number(to, strlen(name), 2);
    write_number(to, 0, 2);
}

static void add_entry(core_buffer *file, core_buffer *directory, const char *name, const void *data, size_t size)
{
    size_t offset = file->size;
    core_buffer_append(file, "PK\3\4\12\0", 6);
    write_common(file, name, size);
    core_buffer_text(file, name);
    core_buffer_append(file, data, size);
    core_buffer_append(directory, "PK\1\2\12\0\12\0", 8);
    write_common(directory, name, size);
    write_number(directory, 0, 8); /* comment, disk, attributes */
    write_number(directory, 0, 2);
    write_number(directory, offset, 4);
    core_buffer_text(directory, name);
}

static void write_torch(const output *out, core_buffer *file)
{
    core_buffer pickle = {0}, directory = {0};
    core_buffer_text(&pickle, "\x80\x02}(");
    for (size_t i = 0; i < out->count; i++)
        pickle_tensor(&pickle, &out->tensors[i], i);
    core_buffer_text(&pickle, "u.");
    add_entry(file, &directory, "archive/data.pkl", pickle.data, pickle.size);
    add_entry(file, &directory, "archive/byteorder", "little", 6);
    for (size_t i = 0; i < out->count; i++) {
        char name[40];
        snprintf(name, sizeof name, "archive/data/%zu", i);
        add_entry(file, &directory, name, out->tensors[i].info.data, out->tensors[i].info.bytes);
    }
    size_t start = file->size, count = out->count + 2;
    core_buffer_append(file, directory.data, directory.size);
    core_buffer_append(file, "PK\5\6\0\0\0\0", 8);
    write_number(file, count, 2);
    write_number(file, count, 2);
    write_number(file, directory.size, 4);
    write_number(file, start, 4);
    write_number(file, 0, 2);
    core_buffer_free(&pickle);
    core_buffer_free(&directory);
}

int main(int argc, char **argv)
{
    static output out;
    core_buffer file = {0};
    more_error error = {{0}};
    if (argc < 3)
        stop("usage: relabel TARGET SOURCE [FROM=TO...] [-- SOURCE [FROM=TO...]]...");
    for (int first = 2; first < argc;) {
        int behind = first + 1;
        while (behind < argc && strcmp(argv[behind], "--") != 0)
            behind++;
        collect(&out, argv[first], argv + first + 1, behind - first - 1);
        first = behind + 1;
    }
    size_t length = strlen(argv[1]);
    if (length > 4 && !strcmp(argv[1] + length - 4, ".bin"))
        write_torch(&out, &file);
    else
        write_safetensors(&out, &file);
    if (file.failed || core_file_write(argv[1], file.data, file.size, &error) != MORE_OK)
        stop(file.failed ? "out of memory" : error.message);
    core_buffer_free(&file);
    release(&out);
    return 0;
}
