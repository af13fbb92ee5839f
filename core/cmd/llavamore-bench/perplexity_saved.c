/* SPDX-License-Identifier: Apache-2.0 */
#include "perplexity.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[16] = "LLAVAMORE-LOGIT1";

/* As in the file, and in memory on every machine that this runs on. */
typedef struct head {
    char magic[16];
    int64_t vocabulary, rows;
    uint64_t digest;
} head;

static more_status refuse(const char *path, const char *doing, more_error *error)
{
    return more_fail(error, MORE_ERROR_IO, "%s: cannot %s: %s", path, doing, strerror(errno));
}

bool saved_logits_recognise(const char *path)
{
    char begin[sizeof magic];
    FILE *file = fopen(path, "rb");
    bool yes = file && fread(begin, sizeof begin, 1, file) == 1 && !memcmp(begin, magic, sizeof magic);
    if (file)
        fclose(file);
    return yes;
}

more_status saved_logits_open(const char *path, saved_logits *self, more_error *error)
{
    head h;
    struct stat about;
    int64_t bytes;
    *self = (saved_logits){.path = path, .file = fopen(path, "rb")};
    if (!self->file)
        return refuse(path, "open it", error);
    if (fread(&h, sizeof h, 1, self->file) != 1 || memcmp(h.magic, magic, sizeof magic))
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: no file of saved logits", path);
    if (h.vocabulary < 1 || h.rows < 1 || __builtin_mul_overflow(h.vocabulary, h.rows, &bytes) ||
        __builtin_mul_overflow(bytes, (int64_t)sizeof(float), &bytes) ||
        __builtin_add_overflow(bytes, (int64_t)sizeof h, &bytes) || fstat(fileno(self->file), &about) ||
        about.st_size != bytes)
        return more_fail(error, MORE_ERROR_CORRUPT,
                         "%s: its head says %lld rows of %lld logits, which is not its size: it was cut short", path,
                         (long long)h.rows, (long long)h.vocabulary);
    self->vocabulary = h.vocabulary;
    self->rows = h.rows;
    self->digest = h.digest;
    return MORE_OK;
}

more_status saved_logits_create(const char *path, int64_t vocabulary, int64_t rows, uint64_t digest, saved_logits *self,
                                more_error *error)
{
    head h = {.vocabulary = vocabulary, .rows = rows, .digest = digest};
    memcpy(h.magic, magic, sizeof magic);
    *self = (saved_logits){.path = path, .vocabulary = vocabulary, .rows = rows, .digest = digest};
    if (asprintf(&self->unfinished, "%s.unfinished", path) < 0) {
        self->unfinished = NULL;
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory");
    }
    self->file = fopen(self->unfinished, "wb");
    if (!self->file)
        return refuse(self->unfinished, "write it", error);
    return fwrite(&h, sizeof h, 1, self->file) == 1 ? MORE_OK : refuse(self->unfinished, "write it", error);
}

more_status saved_logits_read(saved_logits *self, int64_t count, float *logits, more_error *error)
{
    size_t wanted = (size_t)(count * self->vocabulary);
    if (fread(logits, sizeof *logits, wanted, self->file) != wanted)
        return refuse(self->path, "read it", error);
    for (size_t i = 0; i < wanted; i++)
        if (isnan(logits[i]) || logits[i] == INFINITY)
            return more_fail(error, MORE_ERROR_CORRUPT, "%s: one of its logits is %s: save it again", self->path,
                             isnan(logits[i]) ? "not a number" : "infinite");
    return MORE_OK;
}

more_status saved_logits_write(saved_logits *self, int64_t count, const float *logits, more_error *error)
{
    size_t wanted = (size_t)(count * self->vocabulary);
    return fwrite(logits, sizeof *logits, wanted, self->file) == wanted ? MORE_OK
                                                                        : refuse(self->unfinished, "write it", error);
}

more_status saved_logits_finish(saved_logits *self, more_error *error)
{
    int failed = fclose(self->file);
    self->file = NULL;
    if (failed)
        return refuse(self->unfinished, "write it", error);
    if (rename(self->unfinished, self->path))
        return refuse(self->path, "write it", error);
    free(self->unfinished);
    self->unfinished = NULL;
    return MORE_OK;
}

void saved_logits_close(saved_logits *self)
{
    if (self->file)
        fclose(self->file);
    if (self->unfinished)
        unlink(self->unfinished);
    free(self->unfinished);
    *self = (saved_logits){0};
}
