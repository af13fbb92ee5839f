/* SPDX-License-Identifier: Apache-2.0
 *
 * Features on disk: what is written is read again bit for bit, what is not whole or not ours is told and never used,
 * the limit is kept, and several processes may use one folder.
 */
#include "base/file.h"
#include "base/host.h"
#include "recall/folder.h"
#include "recall/trim.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define WIDTH 16
#define ROWS 5
#define HEADER 64
#define BYTES (HEADER + ROWS * WIDTH * (int)sizeof(float) + 32)

typedef struct fixture {
    char path[64];
    core_host *host;
    core_visual_folder folder;
    int warnings;
    char last[2000]; /* message */
} fixture;

static void on_log(void *user, more_log_level level, const char *component, const char *message)
{
    fixture *self = user;
    assert_int_equal(level, MORE_LOG_WARNING);
    assert_string_equal(component, "feature_cache");
    snprintf(self->last, sizeof self->last, "%s", message);
    self->warnings++;
}

static void open_folder(fixture *self, const char *path, int64_t limit)
{
    more_error error = {{0}};
    self->folder = (core_visual_folder){
        .limit = limit, .width = WIDTH, .settings = {{1, 2, 3}}, .host = core_host_abi(self->host)};
    if (core_visual_folder_open(&self->folder, path, &error) != MORE_OK)
        fail_msg("%s", error.message);
}

static int set_up(void **state)
{
    fixture *self = calloc(1, sizeof *self);
    core_host_config config = {.threads = 1, .log_level = MORE_LOG_WARNING, .log = on_log, .user = self};
    if (!self || core_host_create(&config, &self->host, NULL) != MORE_OK)
        return -1;
    snprintf(self->path, sizeof self->path, "/tmp/llavamore-features-XXXXXX");
    if (!mkdtemp(self->path))
        return -1;
    open_folder(self, self->path, 0);
    *state = self;
    return 0;
}

static int tear_down(void **state)
{
    fixture *self = *state;
    char command[128];
    core_visual_folder_close(&self->folder);
    core_host_destroy(self->host);
    snprintf(command, sizeof command, "rm -rf '%s'", self->path);
    int code = system(command);
    free(self);
    return code;
}

static core_visual made(int number)
{
    core_visual visual;
    assert_true(core_visual_create(&visual, ROWS, WIDTH));
    visual.content.bytes[0] = (unsigned char)number;
    visual.content.bytes[1] = (unsigned char)(number >> 8);
    for (int i = 0; i < ROWS * WIDTH; i++)
        visual.rows[i] = (float)(number * 1000 + i) / 7;
    return visual;
}

static void write_one(fixture *self, int number)
{
    core_visual visual = made(number);
    core_visual_folder_write(&self->folder, &visual);
    core_visual_free(&visual);
}

/* Whether it is there; if so, it must be right. */
static bool read_one(fixture *self, int number)
{
    core_visual wanted = made(number), got = {0};
    bool found = core_visual_folder_read(&self->folder, &wanted.content, &got);
    if (found) {
        assert_int_equal(got.count, ROWS);
        assert_true(core_digest_equal(&got.content, &wanted.content));
        assert_memory_equal(got.rows, wanted.rows, ROWS * WIDTH * sizeof(float));
    } else {
        assert_null(got.rows);
    }
    core_visual_free(&wanted);
    core_visual_free(&got);
    return found;
}

/* Path of the folder's only entry. */
static void only_entry(const fixture *self, char *path, size_t size)
{
    int count = 0;
    DIR *folder = opendir(self->path);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, size, "%s/%s", self->path, entry->d_name);
        count++;
    }
    closedir(folder);
    assert_int_equal(count, 1);
}

static int files_in(const char *path)
{
    int count = 0;
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(folder);
    return count;
}

/* ---- Right entries ---------------------------------------------------------------------------------------------- */

static void round_trip(void **state)
{
    fixture *self = *state;
    struct stat about;
    char path[400];
    assert_false(read_one(self, 1));
    write_one(self, 1);
    assert_true(read_one(self, 1));
    assert_false(read_one(self, 2));
    only_entry(self, path, sizeof path);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_size, BYTES);
    assert_int_equal(about.st_mode & 0777, 0600); /* what is seen in a picture is its owner's */
    write_one(self, 1);                           /* over itself */
    assert_true(read_one(self, 1));
    assert_int_equal(files_in(self->path), 1);
    self->folder.settings.bytes[5] = 1;
    assert_false(read_one(self, 1));
    assert_int_equal(self->warnings, 0);
}

static void folder_is_made(void **state)
{
    fixture *self = *state;
    more_error error = {{0}};
    core_visual_folder other = {.width = WIDTH};
    struct stat about;
    char path[128];
    snprintf(path, sizeof path, "%s/below", self->path);
    assert_int_equal(core_visual_folder_open(&other, path, &error), MORE_OK);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0700);
    core_visual_folder_close(&other);
    snprintf(path, sizeof path, "%s/not/there", self->path);
    assert_int_equal(core_visual_folder_open(&other, path, &error), MORE_ERROR_IO);
    assert_non_null(strstr(error.message, "feature_cache"));
    assert_non_null(strstr(error.message, path));
    assert_int_equal(core_visual_folder_open(&other, "/dev/null", &error), MORE_ERROR_IO);
    assert_non_null(strstr(error.message, "no folder"));
}

/* ---- Wrong entries ---------------------------------------------------------------------------------------------- */

/* Told in one line that names the file, not used, and written over by what is computed instead. */
static void assert_refused(fixture *self, const char *path, const char *reason)
{
    self->warnings = 0;
    assert_false(read_one(self, 1));
    assert_int_equal(self->warnings, 1);
    if (!strstr(self->last, path) || !strstr(self->last, reason) || strchr(self->last, '\n'))
        fail_msg("'%s' does not name %s and '%s'", self->last, path, reason);
}

static void assert_mended(fixture *self)
{
    self->warnings = 0;
    write_one(self, 1);
    assert_true(read_one(self, 1));
    assert_int_equal(self->warnings, 0);
}

static void put_bytes(const char *path, const unsigned char *bytes, size_t size)
{
    more_error error = {{0}};
    if (core_file_write(path, bytes, size, &error) != MORE_OK)
        fail_msg("%s", error.message);
}

static void every_length(void **state)
{
    fixture *self = *state;
    char path[400];
    core_buffer whole = {0};
    write_one(self, 1);
    only_entry(self, path, sizeof path);
    assert_int_equal(core_file_read(path, 1 << 20, &whole, NULL), MORE_OK);
    assert_int_equal(whole.size, BYTES);
    for (size_t size = 0; size < whole.size; size++) {
        put_bytes(path, (unsigned char *)whole.data, size);
        assert_refused(self, path, "is not as long");
    }
    core_buffer_append(&whole, "x", 1);
    put_bytes(path, (unsigned char *)whole.data, whole.size);
    assert_refused(self, path, "is not as long");
    assert_mended(self);
    core_buffer_free(&whole);
}

/* Any bit that is turned. */
static void every_byte(void **state)
{
    fixture *self = *state;
    char path[400];
    core_buffer whole = {0};
    write_one(self, 1);
    only_entry(self, path, sizeof path);
    assert_int_equal(core_file_read(path, 1 << 20, &whole, NULL), MORE_OK);
    for (size_t i = 0; i < whole.size; i++) {
        whole.data[i] = (char)(whole.data[i] ^ (1 << i % 8));
        put_bytes(path, (unsigned char *)whole.data, whole.size);
        assert_refused(self, path, "");
        whole.data[i] = (char)(whole.data[i] ^ (1 << i % 8));
    }
    put_bytes(path, (unsigned char *)whole.data, whole.size);
    assert_true(read_one(self, 1));
    core_buffer_free(&whole);
}

/* Shapes that do not belong here, under a right checksum. */
static void put_shape(const char *path, core_buffer *whole, int64_t rows, int64_t width, float first)
{
    core_digest checksum;
    memcpy(whole->data + 16, &rows, sizeof rows);
    memcpy(whole->data + 24, &width, sizeof width);
    memcpy(whole->data + HEADER, &first, sizeof first);
    assert_int_equal(core_digest_of(whole->data, whole->size - 32, &checksum, NULL), MORE_OK);
    memcpy(whole->data + whole->size - 32, &checksum, sizeof checksum);
    put_bytes(path, (unsigned char *)whole->data, whole->size);
}

static void hostile_shapes(void **state)
{
    static const int64_t rows[] = {0,
                                   -1,
                                   1,
                                   ROWS + 1,
                                   INT64_MAX,
                                   INT64_MIN,
                                   INT64_MAX / 64,
                                   INT64_MAX / 64 + 2,
                                   (int64_t)1 << 58,
                                   ((int64_t)1 << 58) + ROWS};
    static const int64_t widths[] = {0, -1, WIDTH - 1, WIDTH + 1, INT64_MAX, (int64_t)1 << 62};
    fixture *self = *state;
    char path[400];
    core_buffer whole = {0};
    write_one(self, 1);
    only_entry(self, path, sizeof path);
    assert_int_equal(core_file_read(path, 1 << 20, &whole, NULL), MORE_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_shape(path, &whole, rows[i], WIDTH, 1);
        assert_refused(self, path, "is not as long");
    }
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        put_shape(path, &whole, ROWS, widths[i], 1);
        assert_refused(self, path, "of another width");
    }
    put_shape(path, &whole, ROWS, WIDTH, (float)strtod("nan", NULL));
    assert_refused(self, path, "not finite");
    put_shape(path, &whole, ROWS, WIDTH, (float)strtod("inf", NULL));
    assert_refused(self, path, "not finite");
    assert_mended(self);
    core_buffer_free(&whole);
}

/* One picture's file under another's name. */
static void renamed_entry(void **state)
{
    fixture *self = *state;
    char first[400], second[400];
    write_one(self, 2);
    only_entry(self, second, sizeof second);
    assert_int_equal(unlink(second), 0);
    write_one(self, 1);
    only_entry(self, first, sizeof first);
    write_one(self, 2);
    assert_int_equal(rename(second, first), 0);
    assert_refused(self, first, "of another picture");
    assert_mended(self);
}

/* What is no file in its place: it may neither hold us up nor lead us elsewhere. */
static void strangers_in_place(void **state)
{
    fixture *self = *state;
    char path[400], elsewhere[128];
    write_one(self, 1);
    only_entry(self, path, sizeof path);
    snprintf(elsewhere, sizeof elsewhere, "%s/.elsewhere", self->path);
    assert_int_equal(rename(path, elsewhere), 0);
    assert_int_equal(symlink(elsewhere, path), 0);
    assert_refused(self, path, "");
    assert_mended(self);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_refused(self, path, "no ordinary file");
    assert_mended(self);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_refused(self, path, "no ordinary file");
    write_one(self, 1); /* cannot take a folder's place: told, once */
    write_one(self, 1);
    assert_int_equal(self->warnings, 2);
    assert_non_null(strstr(self->last, "features are not kept"));
    assert_int_equal(rmdir(path), 0);
    assert_mended(self);
    assert_int_equal(files_in(self->path), 2); /* nothing unfinished was left */
}

/* A file that says that it is huge, without a byte of it on disk. */
static void sparse_giant(void **state)
{
    fixture *self = *state;
    char path[400];
    int64_t rows = ((int64_t)1 << 36) / (WIDTH * 4);
    write_one(self, 1);
    only_entry(self, path, sizeof path);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(file, &rows, sizeof rows, 16), sizeof rows);
    assert_int_equal(ftruncate(file, HEADER + rows * WIDTH * 4 + 32), 0);
    close(file);
    assert_refused(self, path, "is not as long");
    assert_mended(self);
}

static void not_finite_is_not_kept(void **state)
{
    fixture *self = *state;
    core_visual visual = made(1);
    visual.rows[ROWS * WIDTH - 1] = (float)strtod("-inf", NULL);
    core_visual_folder_write(&self->folder, &visual);
    core_visual_free(&visual);
    assert_int_equal(files_in(self->path), 0);
    assert_int_equal(self->warnings, 0);
}

static void folder_goes_away(void **state)
{
    fixture *self = *state;
    assert_int_equal(rmdir(self->path), 0);
    assert_false(read_one(self, 1));
    write_one(self, 1);
    write_one(self, 2);
    assert_int_equal(self->warnings, 1);
    assert_non_null(strstr(self->last, self->path));
    assert_int_equal(mkdir(self->path, 0700), 0);
}

/* ---- The limit -------------------------------------------------------------------------------------------------- */

/* Sets the times of all entries back, so that what is used from now on is younger. */
static void age(const fixture *self, int seconds)
{
    DIR *folder = opendir(self->path);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        struct stat about;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        assert_int_equal(fstatat(dirfd(folder), entry->d_name, &about, AT_SYMLINK_NOFOLLOW), 0);
        struct timespec times[2] = {about.st_mtim, about.st_mtim};
        times[0].tv_sec = times[1].tv_sec = about.st_mtim.tv_sec - seconds;
        assert_int_equal(utimensat(dirfd(folder), entry->d_name, times, 0), 0);
    }
    closedir(folder);
}

static void touch(const fixture *self, const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", self->path, name);
    put_bytes(path, (const unsigned char *)"x", 1);
}

static void longest_unused_go(void **state)
{
    fixture *self = *state;
    self->folder.limit = 3 * BYTES + 10;
    for (int i = 1; i <= 3; i++) {
        write_one(self, i);
        age(self, 10);
    }
    assert_true(read_one(self, 1)); /* is young again */
    age(self, 10);
    write_one(self, 4);
    assert_true(read_one(self, 1) && !read_one(self, 2) && read_one(self, 3) && read_one(self, 4));
    touch(self, "notes.txt");
    touch(self, ".unfinishedAbCdEf");
    touch(self, "0123.visual");
    age(self, 3500);
    touch(self, ".unfinishedGhIjKl");
    age(self, 200);
    touch(self, ".unfinishedMnOpQr");
    self->folder.limit = BYTES;
    write_one(self, 5);
    assert_true(read_one(self, 5) && !read_one(self, 4));
    assert_int_equal(files_in(self->path), 5); /* with the strangers and what may still be written to */
    self->folder.limit = BYTES - 1;            /* nothing fits */
    write_one(self, 6);
    assert_false(read_one(self, 6));
    assert_true(read_one(self, 5));
    assert_int_equal(self->warnings, 0);
}

/* ---- Several processes ------------------------------------------------------------------------------------------ */

#define PROCESSES 4
#define PICTURES 6

/* Writes and reads the same pictures over and over; what is found must be right, and nothing is ever half there. */
static int use_folder(fixture *self, int seed)
{
    int found = 0;
    for (int i = 0; i < 200; i++) {
        int number = 1 + (i * 7 + seed) % PICTURES;
        found += read_one(self, number);
        if (i % 3 == seed % 3)
            write_one(self, number);
    }
    return found && !self->warnings ? 0 : 1;
}

static void several_processes(void **state)
{
    fixture *self = *state;
    pid_t children[PROCESSES];
    self->folder.limit = (PICTURES - 1) * BYTES;
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0)
            _exit(use_folder(self, i));
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    core_folder_trim(self->path, self->folder.limit);
    assert_true(files_in(self->path) <= PICTURES - 1);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(round_trip),         CASE(folder_is_made),    CASE(every_length),
        CASE(every_byte),         CASE(hostile_shapes),    CASE(renamed_entry),
        CASE(strangers_in_place), CASE(sparse_giant),      CASE(not_finite_is_not_kept),
        CASE(folder_goes_away),   CASE(longest_unused_go), CASE(several_processes),
    };
    return cmocka_run_group_tests_name("features on disk", tests, NULL, NULL);
}
