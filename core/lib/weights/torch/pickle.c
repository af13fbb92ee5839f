/* SPDX-License-Identifier: Apache-2.0
 *
 * The machine: a stack of values, a memo, and pools for what values refer to. Dictionaries keep their items in one list
 * of all dictionaries' items, since only one of them, the state dict, is looked at in the end.
 */
#include "weights/torch/pickle.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define POOL_LIMIT ((size_t)128 << 20) /* bytes of the stack, of the memo, and so on; a few thousand are usual */
#define NAME_LIMIT 128                 /* bytes of a module's or a function's name */
#define KEY_LIMIT 512                  /* bytes of a tensor's name */

enum { NOTHING, NONE, BOOLEAN, INTEGER, TEXT, TUPLE, DICTIONARY, FUNCTION, CLASS, STORAGE, TENSOR };

typedef struct value {
    uint32_t kind;
    uint32_t count; /* of a tuple's items, of a text's bytes */
    union {
        int64_t integer;
        const char *text;
        size_t index; /* first item of a tuple; number of a dictionary, storage or tensor; row of `known` */
    } as;
} value;

typedef struct storage {
    const char *format, *key;
    size_t key_length;
    int64_t elements;
} storage;

typedef struct item {
    size_t dictionary;
    value key, content;
} item;

/* A growing array. */
typedef struct pool {
    void *data;
    size_t count, capacity, width;
} pool;

typedef struct machine {
    const unsigned char *start, *at, *end;
    const char *path;
    more_error *error;
    pool stack, marks, memo, tuples, items, storages, tensors;
    size_t dictionaries;
    bool stopped;
} machine;

/* ---- What may be named ------------------------------------------------------------------------------------------ */

enum { REBUILD_TENSOR, REBUILD_PARAMETER, ORDERED_DICT };

static const struct {
    const char *name;
    uint32_t kind;
    int function;
    const char *format; /* of a storage class */
} known[] = {
    {"torch._utils._rebuild_tensor_v2", FUNCTION, REBUILD_TENSOR, NULL},
    {"torch._utils._rebuild_parameter", FUNCTION, REBUILD_PARAMETER, NULL},
    {"collections.OrderedDict", FUNCTION, ORDERED_DICT, NULL},
    {"torch.FloatStorage", CLASS, 0, "f32"},
    {"torch.HalfStorage", CLASS, 0, "f16"},
    {"torch.BFloat16Storage", CLASS, 0, "bf16"},
    {"torch.DoubleStorage", CLASS, 0, "f64"},
    {"torch.LongStorage", CLASS, 0, "i64"},
    {"torch.IntStorage", CLASS, 0, "i32"},
    {"torch.ShortStorage", CLASS, 0, "i16"},
    {"torch.CharStorage", CLASS, 0, "i8"},
    {"torch.ByteStorage", CLASS, 0, "u8"},
    {"torch.BoolStorage", CLASS, 0, "bool"},
};

/* ---- Failures --------------------------------------------------------------------------------------------------- */

static more_status broken(const machine *m, const char *what)
{
    return more_fail(m->error, MORE_ERROR_CORRUPT, "%s: pickle byte %td: %s", m->path, m->at - m->start, what);
}

static more_status no_memory(const machine *m)
{
    return more_fail(m->error, MORE_ERROR_MEMORY, "%s: out of memory for its pickle", m->path);
}

static more_status refuse_name(const machine *m, const char *name)
{
    return more_fail(m->error, MORE_ERROR_UNSUPPORTED,
                     "%s: refused: pickle calls %s; only tensors are read, and nothing is executed: save a plain state "
                     "dict, or safetensors",
                     m->path, name);
}

/* ---- Pools and the stack ---------------------------------------------------------------------------------------- */

static more_status make_room(const machine *m, pool *in, size_t count)
{
    if (count <= in->capacity)
        return MORE_OK;
    if (count > POOL_LIMIT / in->width)
        return more_fail(m->error, MORE_ERROR_MEMORY, "%s: its pickle holds more than %zu values of one kind", m->path,
                         POOL_LIMIT / in->width);
    size_t capacity = in->capacity ? 2 * in->capacity : 64;
    while (capacity < count)
        capacity *= 2;
    void *data = realloc(in->data, capacity * in->width);
    if (!data)
        return no_memory(m);
    memset((char *)data + in->capacity * in->width, 0, (capacity - in->capacity) * in->width);
    in->data = data;
    in->capacity = capacity;
    return MORE_OK;
}

/* Appends a copy of *element. */
static more_status append(const machine *m, pool *to, const void *element)
{
    more_status status = make_room(m, to, to->count + 1);
    if (status == MORE_OK)
        memcpy((char *)to->data + to->count++ * to->width, element, to->width);
    return status;
}

static more_status push(machine *m, uint32_t kind, size_t index, size_t count)
{
    value made = {.kind = kind, .count = (uint32_t)count, .as.index = index};
    return append(m, &m->stack, &made);
}

static more_status push_integer(machine *m, uint32_t kind, int64_t integer)
{
    value made = {.kind = kind, .as.integer = integer};
    return append(m, &m->stack, &made);
}

/* The value `depth` below the top; NULL when the stack (above the last mark) is too short. */
static value *peek(const machine *m, size_t depth)
{
    size_t floor = m->marks.count ? ((size_t *)m->marks.data)[m->marks.count - 1] : 0;
    return m->stack.count - floor > depth ? (value *)m->stack.data + m->stack.count - 1 - depth : NULL;
}

static value *tuple_item(const machine *m, const value *tuple, size_t i)
{
    return (value *)m->tuples.data + tuple->as.index + i;
}

/* Replaces the top `count` values by a tuple of them. */
static more_status make_tuple(machine *m, size_t count)
{
    size_t first = m->tuples.count;
    if (count && !peek(m, count - 1))
        return broken(m, "a tuple of more values than there are");
    for (size_t i = 0; i < count; i++) {
        more_status status = append(m, &m->tuples, peek(m, count - 1 - i));
        if (status != MORE_OK)
            return status;
    }
    m->stack.count -= count;
    return push(m, TUPLE, first, count);
}

/* Takes the last mark off: *count values lie above it. */
static more_status pop_mark(machine *m, size_t *count)
{
    if (!m->marks.count)
        return broken(m, "there is no mark on the stack");
    *count = m->stack.count - ((size_t *)m->marks.data)[--m->marks.count];
    return MORE_OK;
}

/* Moves the top `count` values as keys and contents into the dictionary below them. */
static more_status set_items(machine *m, size_t count)
{
    const value *below = peek(m, count);
    if (count % 2 || !below || below->kind != DICTIONARY)
        return broken(m, "items for something that is no dictionary");
    item made = {.dictionary = below->as.index};
    for (size_t i = 0; i < count; i += 2) {
        made.key = *peek(m, count - 1 - i);
        made.content = *peek(m, count - 2 - i);
        more_status status = append(m, &m->items, &made);
        if (status != MORE_OK)
            return status;
    }
    m->stack.count -= count;
    return MORE_OK;
}

static more_status memoize(machine *m, uint64_t index)
{
    const value *top = peek(m, 0);
    if (!top)
        return broken(m, "nothing to remember");
    more_status status = make_room(m, &m->memo, (size_t)index + 1);
    if (status == MORE_OK)
        ((value *)m->memo.data)[index] = *top;
    return status;
}

static more_status recall(machine *m, uint64_t index)
{
    const value *found = index < m->memo.capacity ? (value *)m->memo.data + index : NULL;
    return found && found->kind != NOTHING ? append(m, &m->stack, found) : broken(m, "nothing was remembered there");
}

/* ---- Names, storages, tensors ----------------------------------------------------------------------------------- */

/* One line of text into `name`; false when it does not end or is too long. */
static bool read_line(machine *m, char name[NAME_LIMIT])
{
    size_t left = (size_t)(m->end - m->at), length = 0;
    while (length < left && length < NAME_LIMIT && m->at[length] != '\n')
        length++;
    if (length == left || length == NAME_LIMIT)
        return false;
    memcpy(name, m->at, length);
    name[length] = '\0';
    m->at += length + 1;
    return true;
}

static more_status push_global(machine *m)
{
    char module[NAME_LIMIT], name[NAME_LIMIT], whole[2 * NAME_LIMIT];
    if (!read_line(m, module) || !read_line(m, name))
        return broken(m, "a name that does not end");
    snprintf(whole, sizeof whole, "%s.%s", module, name);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(whole, known[i].name))
            return push(m, known[i].kind, i, 0);
    return refuse_name(m, whole);
}

/* ('storage', class, key, location, elements); where it was (a GPU, say) does not matter. */
static more_status push_storage(machine *m)
{
    const value *tuple = peek(m, 0);
    if (!tuple || tuple->kind != TUPLE || tuple->count != 5)
        return broken(m, "a persistent id that is no storage");
    const value *word = tuple_item(m, tuple, 0), *type = tuple_item(m, tuple, 1), *key = tuple_item(m, tuple, 2);
    const value *elements = tuple_item(m, tuple, 4);
    if (word->kind != TEXT || word->count != 7 || memcmp(word->as.text, "storage", 7) != 0 || type->kind != CLASS ||
        key->kind != TEXT || elements->kind != INTEGER || elements->as.integer < 0)
        return broken(m, "a persistent id that is no storage");
    storage made = {known[type->as.index].format, key->as.text, key->count, elements->as.integer};
    more_status status = append(m, &m->storages, &made);
    m->stack.count--;
    return status == MORE_OK ? push(m, STORAGE, m->storages.count - 1, 0) : status;
}

/* A tuple of at most MORE_MAX_RANK numbers; -1 when it is anything else. */
static int read_numbers(const machine *m, const value *tuple, int64_t lowest, int64_t *numbers)
{
    if (tuple->kind != TUPLE || tuple->count > MORE_MAX_RANK)
        return -1;
    for (size_t i = 0; i < tuple->count; i++) {
        const value *number = tuple_item(m, tuple, i);
        if (number->kind != INTEGER || number->as.integer < lowest)
            return -1;
        numbers[i] = number->as.integer;
    }
    return (int)tuple->count;
}

/* _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks) */
static more_status rebuild_tensor(machine *m, const value *arguments)
{
    core_pickle_tensor tensor = {0};
    if (arguments->count < 6 || arguments->count > 7 || tuple_item(m, arguments, 0)->kind != STORAGE ||
        tuple_item(m, arguments, 1)->kind != INTEGER || tuple_item(m, arguments, 1)->as.integer < 0)
        return broken(m, "a tensor is not made of storage, offset, size and strides");
    const storage *from = (storage *)m->storages.data + tuple_item(m, arguments, 0)->as.index;
    int rank = read_numbers(m, tuple_item(m, arguments, 2), 0, tensor.shape);
    if (rank < 0 || read_numbers(m, tuple_item(m, arguments, 3), INT64_MIN, tensor.strides) != rank)
        return broken(m, "a tensor's size and strides are not two tuples of at most 8 numbers");
    tensor.rank = rank;
    tensor.offset = tuple_item(m, arguments, 1)->as.integer;
    tensor.format = from->format;
    tensor.key = from->key;
    tensor.key_length = from->key_length;
    tensor.storage_elements = from->elements;
    more_status status = append(m, &m->tensors, &tensor);
    m->stack.count -= 2;
    return status == MORE_OK ? push(m, TENSOR, m->tensors.count - 1, 0) : status;
}

/* Calls, in effect, the function below the tuple of its arguments. */
static more_status reduce(machine *m)
{
    const value *arguments = peek(m, 0), *called = peek(m, 1);
    if (!called || arguments->kind != TUPLE)
        return broken(m, "a call without function or arguments");
    if (called->kind == CLASS)
        return refuse_name(m, known[called->as.index].name);
    if (called->kind != FUNCTION)
        return broken(m, "a call of something that is no function");
    switch (known[called->as.index].function) {
    case REBUILD_TENSOR:
        return rebuild_tensor(m, arguments);
    case REBUILD_PARAMETER: /* (tensor, requires_grad, hooks): the tensor */
        if (arguments->count != 3 || tuple_item(m, arguments, 0)->kind != TENSOR)
            return broken(m, "a parameter that is not made of a tensor");
        m->stack.count -= 2;
        return append(m, &m->stack, tuple_item(m, arguments, 0));
    default: /* OrderedDict() */
        if (arguments->count)
            return broken(m, "an OrderedDict that is not made empty");
        m->stack.count -= 2;
        return push(m, DICTIONARY, m->dictionaries++, 0);
    }
}

/* The attributes of an object, such as a state dict's _metadata, say nothing of tensors. */
static more_status build(machine *m)
{
    const value *state = peek(m, 0), *object = peek(m, 1);
    if (!object || object->kind != DICTIONARY || state->kind != DICTIONARY)
        return broken(m, "attributes for something that is no dictionary");
    m->stack.count--;
    return MORE_OK;
}

/* ---- Opcodes ---------------------------------------------------------------------------------------------------- */

/* Reads `bytes` of a little-endian number; false at the end of the pickle. */
static bool read_number(machine *m, int bytes, uint64_t *number)
{
    *number = 0;
    if (m->end - m->at < bytes)
        return false;
    for (int i = 0; i < bytes; i++)
        *number |= (uint64_t)m->at[i] << (8 * i);
    m->at += bytes;
    return true;
}

static more_status push_text(machine *m, uint64_t length)
{
    if (length > (uint64_t)(m->end - m->at))
        return broken(m, "a text that goes past the end");
    value made = {.kind = TEXT, .count = (uint32_t)length, .as.text = (const char *)m->at};
    m->at += length;
    return append(m, &m->stack, &made);
}

/* LONG1: a number of `length` bytes in two's complement. */
static more_status push_long(machine *m, uint64_t length)
{
    uint64_t number;
    if (length > 8 || !read_number(m, (int)length, &number))
        return broken(m, "a number that does not fit 64 bits");
    if (length && length < 8 && number >> (8 * length - 1))
        number |= UINT64_MAX << (8 * length);
    return push_integer(m, INTEGER, (int64_t)number);
}

static const char *name_of(int opcode)
{
    switch (opcode) {
    case 'i':
        return "INST";
    case 'o':
        return "OBJ";
    case 0x81:
        return "NEWOBJ";
    case 0x92:
        return "NEWOBJ_EX";
    case 0x93:
        return "STACK_GLOBAL";
    case 0x82:
    case 0x83:
    case 0x84:
        return "EXT";
    case 'P':
        return "PERSID";
    case ']':
    case 'l':
        return "LIST";
    case 'G':
        return "BINFLOAT";
    default:
        return "not of a state dict";
    }
}

/* Opcodes without an argument. */
static more_status run_plain(machine *m, int opcode)
{
    size_t count = 0;
    more_status status;
    switch (opcode) {
    case '.':
        m->stopped = true;
        return MORE_OK;
    case '(':
        return append(m, &m->marks, &m->stack.count);
    case '}':
        return push(m, DICTIONARY, m->dictionaries++, 0);
    case 'N':
        return push(m, NONE, 0, 0);
    case 0x88:
    case 0x89:
        return push_integer(m, BOOLEAN, opcode == 0x88);
    case ')':
        return make_tuple(m, 0);
    case 0x85:
    case 0x86:
    case 0x87:
        return make_tuple(m, (size_t)opcode - 0x84);
    case 't':
        status = pop_mark(m, &count);
        return status == MORE_OK ? make_tuple(m, count) : status;
    case 'u':
        status = pop_mark(m, &count);
        return status == MORE_OK ? set_items(m, count) : status;
    case 's':
        return set_items(m, 2);
    case 'c':
        return push_global(m);
    case 'Q':
        return push_storage(m);
    case 'R':
        return reduce(m);
    case 'b':
        return build(m);
    default:
        return more_fail(m->error, MORE_ERROR_UNSUPPORTED,
                         "%s: refused: pickle byte %td: opcode 0x%02x (%s); only plain state dicts of tensors are read",
                         m->path, m->at - m->start - 1, (unsigned)opcode, name_of(opcode));
    }
}

/* Opcodes behind which a number stands, the bytes of that number. 0 for others. */
static int argument_bytes(int opcode)
{
    switch (opcode) {
    case 0x80: /* PROTO */
    case 'q':  /* BINPUT */
    case 'h':  /* BINGET */
    case 'K':  /* BININT1 */
    case 0x8a: /* LONG1 */
    case 0x8c: /* SHORT_BINUNICODE */
        return 1;
    case 'M': /* BININT2 */
        return 2;
    case 'r': /* LONG_BINPUT */
    case 'j': /* LONG_BINGET */
    case 'J': /* BININT */
    case 'X': /* BINUNICODE */
        return 4;
    default:
        return 0;
    }
}

static more_status step(machine *m)
{
    uint64_t number;
    if (m->at == m->end)
        return broken(m, "it ends without a stop");
    int opcode = *m->at++;
    int bytes = argument_bytes(opcode);
    if (!bytes)
        return run_plain(m, opcode);
    if (!read_number(m, bytes, &number))
        return broken(m, "it ends in the middle of an opcode");
    switch (opcode) {
    case 0x80:
        return number == 2
                   ? MORE_OK
                   : more_fail(m->error, MORE_ERROR_UNSUPPORTED,
                               "%s: pickle protocol %d; save with the protocol of torch.save, 2", m->path, (int)number);
    case 'q':
    case 'r':
        return memoize(m, number);
    case 'h':
    case 'j':
        return recall(m, number);
    case 'X':
    case 0x8c:
        return push_text(m, number);
    case 0x8a:
        return push_long(m, number);
    case 'J':
        return push_integer(m, INTEGER, (int32_t)(uint32_t)number);
    default:
        return push_integer(m, INTEGER, (int64_t)number);
    }
}

/* ---- The state dict --------------------------------------------------------------------------------------------- */

static const char *kind_name(uint32_t kind)
{
    static const char *const names[] = {"nothing", "None",      "a truth value", "a number",
                                        "a text",  "a tuple",   "a dictionary",  "a function",
                                        "a class", "a storage", "a tensor"};
    return names[kind];
}

/* A name must be UTF-8 without NUL, since it is compared and printed as C text. */
static bool is_name(const value *key)
{
    json_t *text = key->kind == TEXT && key->count && !memchr(key->as.text, '\0', key->count)
                       ? json_stringn(key->as.text, key->count)
                       : NULL;
    json_decref(text);
    return text != NULL;
}

static more_status check_item(const machine *m, const item *entry)
{
    if (!is_name(&entry->key))
        return more_fail(m->error, MORE_ERROR_CORRUPT, "%s: a key of its state dict is no text in UTF-8", m->path);
    if (entry->key.count > KEY_LIMIT)
        return more_fail(m->error, MORE_ERROR_CORRUPT, "%s: the name '%.60s...' has %u bytes, at most %d are taken",
                         m->path, entry->key.as.text, (unsigned)entry->key.count, KEY_LIMIT);
    if (entry->content.kind != TENSOR)
        return more_fail(m->error, MORE_ERROR_UNSUPPORTED,
                         "%s: '%.*s' is %s, not a tensor: only flat state dicts are read", m->path,
                         (int)entry->key.count, entry->key.as.text, kind_name(entry->content.kind));
    return MORE_OK;
}

/* The items of the one dictionary that is left. */
static more_status collect(machine *m, pool *result)
{
    const value *top = m->stack.data;
    if (m->stack.count != 1 || m->marks.count || top->kind != DICTIONARY)
        return more_fail(m->error, MORE_ERROR_UNSUPPORTED, "%s: holds %s, not a state dict of tensors by name", m->path,
                         m->stack.count == 1 ? kind_name(top->kind) : "no single value");
    for (size_t i = 0; i < m->items.count; i++) {
        const item *entry = (item *)m->items.data + i;
        if (entry->dictionary != top->as.index)
            continue;
        more_status status = check_item(m, entry);
        if (status != MORE_OK)
            return status;
        core_pickle_tensor tensor = ((core_pickle_tensor *)m->tensors.data)[entry->content.as.index];
        tensor.name = entry->key.as.text;
        tensor.name_length = entry->key.count;
        status = append(m, result, &tensor);
        if (status != MORE_OK)
            return status;
    }
    return MORE_OK;
}

more_status core_pickle_read(const unsigned char *bytes, size_t size, const char *path, core_pickle_tensor **tensors,
                             size_t *count, more_error *error)
{
    machine m = {.start = bytes,
                 .at = bytes,
                 .end = bytes + size,
                 .path = path,
                 .error = error,
                 .stack = {.width = sizeof(value)},
                 .marks = {.width = sizeof(size_t)},
                 .memo = {.width = sizeof(value)},
                 .tuples = {.width = sizeof(value)},
                 .items = {.width = sizeof(item)},
                 .storages = {.width = sizeof(storage)},
                 .tensors = {.width = sizeof(core_pickle_tensor)}};
    pool *const pools[] = {&m.stack, &m.marks, &m.memo, &m.tuples, &m.items, &m.storages, &m.tensors};
    pool result = {.width = sizeof(core_pickle_tensor)};
    more_status status = MORE_OK;
    *tensors = NULL;
    *count = 0;
    if (size > CORE_PICKLE_LIMIT)
        return more_fail(error, MORE_ERROR_MEMORY, "%s: its pickle of %zu bytes is over the limit of %zu", path, size,
                         CORE_PICKLE_LIMIT);
    while (status == MORE_OK && !m.stopped)
        status = step(&m);
    if (status == MORE_OK)
        status = collect(&m, &result);
    for (size_t i = 0; i < sizeof pools / sizeof *pools; i++)
        free(pools[i]->data);
    if (status != MORE_OK) {
        free(result.data);
        return status;
    }
    *tensors = result.data;
    *count = result.count;
    return MORE_OK;
}
