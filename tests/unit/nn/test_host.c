/* SPDX-License-Identifier: Apache-2.0 */
#include "test_host.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"
#include "quantise.h"

enum { MOST_THREADS = 64 };

struct more_checkpoint {
    const test_tensor *tensors;
    int64_t tensor_count;
    const test_key *keys;
    int64_t key_count;
    int64_t drops;
};

struct test_host {
    more_host abi; /* first: a more_host * is a test_host * */
    more_checkpoint checkpoint;
    const char *lacking;
    _Atomic int64_t memory_left, live, progress;
    atomic_bool cancelled;
    char log[256];

    int32_t threads;
    pthread_t pool[MOST_THREADS]; /* [0] is unused: the calling thread is worker 0 */
    pthread_mutex_t calls;        /* one parallel_for at a time */
    pthread_mutex_t lock;         /* guards what follows */
    pthread_cond_t begun, ended;
    pthread_t caller;
    bool busy, stop;
    uint64_t round;
    int32_t running;
    more_range_function body;
    void *argument;
    int64_t items, grain;
    _Atomic int64_t next;
};

static test_host *of(const more_host *host)
{
    return (test_host *)(uintptr_t)host;
}

/* ---- Threads ---------------------------------------------------------------------------------------------------- */

static void work(test_host *host, int32_t worker)
{
    for (;;) {
        int64_t begin = atomic_fetch_add(&host->next, host->grain);
        if (begin >= host->items)
            return;
        int64_t end = begin + host->grain;
        host->body(host->argument, begin, end < host->items ? end : host->items, worker);
    }
}

typedef struct start {
    test_host *host;
    int32_t worker;
} start;

static void *run_worker(void *argument)
{
    start s = *(start *)argument;
    free(argument);
    uint64_t seen = 0;
    pthread_mutex_lock(&s.host->lock);
    for (;;) {
        while (!s.host->stop && s.host->round == seen)
            pthread_cond_wait(&s.host->begun, &s.host->lock);
        if (s.host->stop)
            break;
        seen = s.host->round;
        pthread_mutex_unlock(&s.host->lock);
        work(s.host, s.worker);
        pthread_mutex_lock(&s.host->lock);
        if (--s.host->running == 0)
            pthread_cond_signal(&s.host->ended);
    }
    pthread_mutex_unlock(&s.host->lock);
    return NULL;
}

/* True in a thread that runs a body: the caller of the running call, or one of the pool. */
static bool inside_body(test_host *host)
{
    pthread_mutex_lock(&host->lock);
    bool inside = host->busy && pthread_equal(host->caller, pthread_self());
    for (int32_t i = 1; i < host->threads; i++)
        inside = inside || pthread_equal(host->pool[i], pthread_self());
    pthread_mutex_unlock(&host->lock);
    return inside;
}

static int32_t thread_count(const more_host *host)
{
    return of(host)->threads;
}

static void parallel_for(const more_host *abi, int64_t items, int64_t grain, more_range_function body, void *argument)
{
    test_host *host = of(abi);
    if (items <= 0)
        return;
    if (inside_body(host)) {
        body(argument, 0, items, 0);
        return;
    }
    pthread_mutex_lock(&host->calls);
    pthread_mutex_lock(&host->lock);
    host->caller = pthread_self();
    host->busy = true;
    host->body = body;
    host->argument = argument;
    host->items = items;
    host->grain = grain > 0 ? grain : 1;
    atomic_store(&host->next, 0);
    host->running = host->threads - 1;
    host->round++;
    pthread_cond_broadcast(&host->begun);
    pthread_mutex_unlock(&host->lock);
    work(host, 0);
    pthread_mutex_lock(&host->lock);
    while (host->running > 0)
        pthread_cond_wait(&host->ended, &host->lock);
    host->busy = false;
    pthread_mutex_unlock(&host->lock);
    pthread_mutex_unlock(&host->calls);
}

static const more_threads_service threads_service = {MORE_STRUCT_SIZE(more_threads_service, parallel_for), thread_count,
                                                     parallel_for};

/* ---- Log, progress, memory -------------------------------------------------------------------------------------- */

static void write_log(const more_host *host, more_log_level level, const char *component, const char *message)
{
    (void)level;
    snprintf(of(host)->log, sizeof of(host)->log, "%s: %s", component, message);
}

static const more_log_service log_service = {MORE_STRUCT_SIZE(more_log_service, write), write_log};

static void update_progress(const more_host *host, const char *stage, int64_t done, int64_t total)
{
    (void)stage;
    (void)total;
    atomic_store(&of(host)->progress, done);
}

static bool is_cancelled(const more_host *host)
{
    return atomic_load(&of(host)->cancelled);
}

static const more_progress_service progress_service = {MORE_STRUCT_SIZE(more_progress_service, cancelled),
                                                       update_progress, is_cancelled};

static void *allocate(const more_host *abi, size_t bytes)
{
    test_host *host = of(abi);
    void *memory = NULL;
    if (atomic_load(&host->memory_left) >= 0 && atomic_fetch_sub(&host->memory_left, 1) <= 0) {
        atomic_store(&host->memory_left, 0);
        return NULL;
    }
    if (posix_memalign(&memory, MORE_ALIGNMENT, bytes))
        return NULL;
    memset(memory, 0xff, bytes < 4096 ? bytes : 4096); /* NaN where somebody forgets to write */
    atomic_fetch_add(&host->live, 1);
    return memory;
}

static void release(const more_host *host, void *memory)
{
    if (!memory)
        return;
    atomic_fetch_sub(&of(host)->live, 1);
    free(memory);
}

static const more_memory_service memory_service = {MORE_STRUCT_SIZE(more_memory_service, release), allocate, release};

/* ---- Weights ---------------------------------------------------------------------------------------------------- */

static const test_tensor *find(more_checkpoint *checkpoint, const char *name)
{
    for (int64_t i = 0; i < checkpoint->tensor_count; i++)
        if (!strcmp(checkpoint->tensors[i].name, name))
            return &checkpoint->tensors[i];
    return NULL;
}

static more_status info(more_checkpoint *checkpoint, const char *name, more_weight_info *result, more_error *error)
{
    const test_tensor *t = find(checkpoint, name);
    if (!t)
        return more_fail(error, MORE_ERROR_NOT_FOUND, "memory: no tensor '%s'", name);
    result->name = t->name;
    result->format = t->format;
    result->rank = t->rank;
    memcpy(result->shape, t->shape, sizeof result->shape);
    result->data = t->access == TEST_MAPPED ? t->data : NULL;
    result->bytes = t->access == TEST_MAPPED ? t->bytes : 0;
    return MORE_OK;
}

static int64_t count_tensors(more_checkpoint *checkpoint)
{
    return checkpoint->tensor_count;
}

static const char *name_at(more_checkpoint *checkpoint, int64_t index)
{
    return index >= 0 && index < checkpoint->tensor_count ? checkpoint->tensors[index].name : NULL;
}

static float stored_value(const test_tensor *t, int64_t index)
{
    if (!strcmp(t->format, "f16"))
        return nn_f16_to_f32(((const uint16_t *)t->data)[index]);
    if (!strcmp(t->format, "bf16"))
        return nn_bf16_to_f32(((const uint16_t *)t->data)[index]);
    return ((const float *)t->data)[index];
}

/* False for formats without blocks that are known here. */
static bool blocks_of(const char *format, nn_blocks *blocks)
{
    static const char *const names[] = {
        [NN_BLOCKS_Q8_0] = "gguf.q8_0", [NN_BLOCKS_Q4_0] = "gguf.q4_0", [NN_BLOCKS_Q4_1] = "gguf.q4_1"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(format, names[i])) {
            *blocks = (nn_blocks)i;
            return true;
        }
    return false;
}

/* The tensor whose rows are asked for, and its columns. */
static more_status find_rows(more_checkpoint *checkpoint, const char *name, int64_t first, int64_t count,
                             const test_tensor **tensor, int64_t *columns, more_error *error)
{
    const test_tensor *t = *tensor = find(checkpoint, name);
    int64_t all = t && t->rank > 1 ? t->shape[0] : 1;
    *columns = 1;
    if (!t || first < 0 || count < 0 || first + count > all)
        return more_fail(error, MORE_ERROR_ARGUMENT, "memory: no rows %lld of '%s'", (long long)first, name);
    if (strstr(name, "unreadable") && count)
        return more_fail(error, MORE_ERROR_IO, "memory: tensor '%s' cannot be read", name);
    for (int32_t i = t->rank > 1 ? 1 : 0; i < t->rank; i++)
        *columns *= t->shape[i];
    return MORE_OK;
}

static more_status read_stored_rows(more_checkpoint *checkpoint, const char *name, int64_t first, int64_t count,
                                    void *rows, more_error *error)
{
    const test_tensor *t;
    int64_t columns;
    nn_blocks blocks;
    more_status status = find_rows(checkpoint, name, first, count, &t, &columns, error);
    if (status)
        return status;
    if (t->access == TEST_CONVERTED)
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "memory: tensor '%s' is not as stored", name);
    size_t bytes = blocks_of(t->format, &blocks) ? (size_t)nn_blocks_bytes(blocks, columns)
                                                 : (size_t)columns * (strcmp(t->format, "f32") ? 2 : 4);
    if (count)
        memcpy(rows, (const char *)t->data + (size_t)first * bytes, (size_t)count * bytes);
    return MORE_OK;
}

static more_status read_rows(more_checkpoint *checkpoint, const char *name, int64_t first, int64_t count,
                             DLDataType dtype, void *rows, more_error *error)
{
    const test_tensor *t;
    int64_t columns;
    nn_blocks blocks;
    more_status status = find_rows(checkpoint, name, first, count, &t, &columns, error);
    if (status)
        return status;
    if (blocks_of(t->format, &blocks)) {
        for (int64_t i = 0; i < count; i++)
            nn_dequantise(blocks, (const char *)t->data + (first + i) * nn_blocks_bytes(blocks, columns), columns,
                          (float *)rows + i * columns);
        return dtype.bits == 32 ? MORE_OK : more_fail(error, MORE_ERROR_ARGUMENT, "memory: '%s' is given as f32", name);
    }
    for (int64_t i = 0; i < count * columns; i++) {
        float value = stored_value(t, first * columns + i);
        if (dtype.bits == 32)
            ((float *)rows)[i] = value;
        else if (dtype.code == kDLBfloat)
            ((uint16_t *)rows)[i] = nn_f32_to_bf16(value);
        else
            ((uint16_t *)rows)[i] = nn_f32_to_f16(value);
    }
    return MORE_OK;
}

static more_status find_key(more_checkpoint *checkpoint, const char *name, const char *kinds, const test_key **key,
                            more_error *error)
{
    for (int64_t i = 0; i < checkpoint->key_count; i++) {
        *key = &checkpoint->keys[i];
        if (!strcmp((*key)->name, name))
            return strchr(kinds, (*key)->kind)
                       ? MORE_OK
                       : more_fail(error, MORE_ERROR_CORRUPT, "memory: key '%s' has another type", name);
    }
    return more_fail(error, MORE_ERROR_NOT_FOUND, "memory: no key '%s'", name);
}

static more_status get_int64(more_checkpoint *checkpoint, const char *name, int64_t *value, more_error *error)
{
    const test_key *key;
    more_status status = find_key(checkpoint, name, "i", &key, error);
    if (!status)
        *value = key->i;
    return status;
}

static more_status get_double(more_checkpoint *checkpoint, const char *name, double *value, more_error *error)
{
    const test_key *key;
    more_status status = find_key(checkpoint, name, "id", &key, error);
    if (!status)
        *value = key->kind == 'i' ? (double)key->i : key->d;
    return status;
}

static more_status get_bool(more_checkpoint *checkpoint, const char *name, bool *value, more_error *error)
{
    const test_key *key;
    more_status status = find_key(checkpoint, name, "b", &key, error);
    if (!status)
        *value = key->i != 0;
    return status;
}

static more_status get_string(more_checkpoint *checkpoint, const char *name, const char **value, more_error *error)
{
    const test_key *key;
    more_status status = find_key(checkpoint, name, "s", &key, error);
    if (!status)
        *value = key->s;
    return status;
}

static int64_t key_length(more_checkpoint *checkpoint, const char *name)
{
    (void)checkpoint;
    (void)name;
    return -1;
}

static bool has_file(more_checkpoint *checkpoint, const char *name)
{
    (void)checkpoint;
    (void)name;
    return false;
}

static const char *checkpoint_path(more_checkpoint *checkpoint)
{
    (void)checkpoint;
    return "memory";
}

static void drop(more_checkpoint *checkpoint, const char *name)
{
    if (find(checkpoint, name))
        checkpoint->drops++;
}

static const more_weights_service weights_service = {
    .struct_size = MORE_STRUCT_SIZE(more_weights_service, read_stored_rows),
    .info = info,
    .count = count_tensors,
    .name_at = name_at,
    .read_rows = read_rows,
    .get_int64 = get_int64,
    .get_double = get_double,
    .get_bool = get_bool,
    .get_string = get_string,
    .length = key_length,
    .has_file = has_file,
    .path = checkpoint_path,
    .drop = drop,
    .read_stored_rows = read_stored_rows,
};

/* ---- The host --------------------------------------------------------------------------------------------------- */

static const void *get_service(const more_host *host, const char *id)
{
    static const struct {
        const char *id;
        const void *table;
    } services[] = {
        {MORE_LOG_SERVICE, &log_service},           {MORE_THREADS_SERVICE, &threads_service},
        {MORE_PROGRESS_SERVICE, &progress_service}, {MORE_MEMORY_SERVICE, &memory_service},
        {MORE_WEIGHTS_SERVICE, &weights_service},
    };
    if (of(host)->lacking && !strcmp(of(host)->lacking, id))
        return NULL;
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++)
        if (!strcmp(services[i].id, id))
            return services[i].table;
    return NULL;
}

test_host *test_host_create(int32_t threads)
{
    test_host *host = calloc(1, sizeof *host);
    if (!host)
        return NULL;
    host->abi.struct_size = MORE_STRUCT_SIZE(more_host, get_service);
    host->abi.abi_version = 1;
    host->abi.get_service = get_service;
    host->memory_left = -1;
    host->threads = threads < MOST_THREADS ? threads : MOST_THREADS;
    pthread_mutex_init(&host->calls, NULL);
    pthread_mutex_init(&host->lock, NULL);
    pthread_cond_init(&host->begun, NULL);
    pthread_cond_init(&host->ended, NULL);
    for (int32_t i = 1; i < host->threads; i++) {
        start *s = malloc(sizeof *s);
        if (s)
            *s = (start){host, i};
        pthread_mutex_lock(&host->lock); /* the thread looks at pool[i] */
        bool started = s && !pthread_create(&host->pool[i], NULL, run_worker, s);
        pthread_mutex_unlock(&host->lock);
        if (!started) {
            free(s);
            host->threads = i;
            break;
        }
    }
    return host;
}

void test_host_destroy(test_host *host)
{
    if (!host)
        return;
    pthread_mutex_lock(&host->lock);
    host->stop = true;
    pthread_cond_broadcast(&host->begun);
    pthread_mutex_unlock(&host->lock);
    for (int32_t i = 1; i < host->threads; i++)
        pthread_join(host->pool[i], NULL);
    pthread_cond_destroy(&host->begun);
    pthread_cond_destroy(&host->ended);
    pthread_mutex_destroy(&host->lock);
    pthread_mutex_destroy(&host->calls);
    free(host);
}

const more_host *test_host_abi(test_host *host)
{
    return &host->abi;
}

more_checkpoint *test_host_checkpoint(test_host *host, const test_tensor *tensors, int64_t tensor_count,
                                      const test_key *keys, int64_t key_count)
{
    host->checkpoint = (more_checkpoint){tensors, tensor_count, keys, key_count, 0};
    return &host->checkpoint;
}

void test_host_lack(test_host *host, const char *id)
{
    host->lacking = id;
}

void test_host_memory_left(test_host *host, int64_t allocations)
{
    atomic_store(&host->memory_left, allocations);
}

int64_t test_host_live(test_host *host)
{
    return atomic_load(&host->live);
}

void test_host_cancel(test_host *host)
{
    atomic_store(&host->cancelled, true);
}

const char *test_host_last_log(const test_host *host)
{
    return host->log;
}

int64_t test_host_last_progress(const test_host *host)
{
    return host->progress;
}

int64_t test_host_drops(const test_host *host)
{
    return host->checkpoint.drops;
}
