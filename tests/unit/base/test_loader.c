/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "plugin/call.h"
#include "plugin/loader.h"
#include <limits.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* Each test gets an empty folder, links to built test plugins into it, and lets the registry look there. */
static char folder[PATH_MAX];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/test_loader.XXXXXX");
    unsetenv(CORE_PLUGIN_PATH_VARIABLE);
    return mkdtemp(folder) ? 0 : 1;
}

static int drop_folder(void **state)
{
    (void)state;
    core_buffer command = {0};
    core_buffer_format(&command, "rm -rf '%s'", folder);
    int code = system(command.data);
    core_buffer_free(&command);
    return code;
}

static char *built(const char *name)
{
    const char *build = getenv("builddir");
    core_buffer path = {0};
    core_buffer_format(&path, "%s/tests/unit/base/.libs/%s.so", build ? build : ".", name);
    if (!core_file_exists(path.data))
        fail_msg("%s was not built", path.data);
    char *real = realpath(path.data, NULL);
    core_buffer_free(&path);
    return real;
}

static void link_as(const char *name, const char *as)
{
    char *from = built(name), *to = core_path_join(folder, as);
    assert_int_equal(symlink(from, to), 0);
    free(from);
    free(to);
}

static void write_as(const char *as, const void *bytes, size_t size)
{
    char *to = core_path_join(folder, as);
    assert_int_equal(core_file_write(to, bytes, size, NULL), MORE_OK);
    free(to);
}

static void make_subfolder(const char *name)
{
    char *path = core_path_join(folder, name);
    assert_int_equal(mkdir(path, 0777), 0);
    free(path);
}

static core_registry *registry_of(const char *paths)
{
    core_registry *registry = NULL;
    assert_int_equal(core_registry_create(paths, &registry, NULL), MORE_OK);
    return registry;
}

/* The files looked at but those of an installation, which come last and are none of the tests' business. */
static const core_plugin_file *list(core_registry *registry, size_t *count)
{
    static const char installed[] = LLAVAMORE_PLUGIN_DIR "/";
    const core_plugin_file *files;
    assert_int_equal(core_registry_list(registry, &files, count, NULL), MORE_OK);
    while (*count && !strncmp(files[*count - 1].path, installed, strlen(installed)))
        (*count)--;
    return files;
}

static const core_plugin_file *find(core_registry *registry, const char *id)
{
    const core_plugin_file *file = NULL;
    more_error error = {{0}};
    if (core_registry_find(registry, MORE_KIND_FUNCTIONS, id, &file, &error) != MORE_OK)
        fail_msg("%s", error.message);
    return file;
}

static void expect_not_given(core_registry *registry, const char *id, more_status status, const char *part)
{
    const core_plugin_file *file = NULL;
    more_error error = {{0}};
    assert_int_equal(core_registry_find(registry, MORE_KIND_FUNCTIONS, id, &file, &error), status);
    assert_null(file);
    assert_null(strchr(error.message, '\n'));
    if (!strstr(error.message, part))
        fail_msg("'%s' is not in '%s'", part, error.message);
}

static void expect_missing(core_registry *registry, const char *id, const char *part)
{
    expect_not_given(registry, id, MORE_ERROR_NOT_FOUND, part);
}

/* One file by itself, whose refusal must say `part`, once alone and once through a registry. */
static void expect_refused(const char *as, more_status status, const char *part)
{
    more_error error = {{0}};
    const more_plugin *plugin = (const more_plugin *)(uintptr_t)1;
    char *path = core_path_join(folder, as);
    assert_int_equal(core_plugin_load(path, &plugin, &error), status);
    assert_null(plugin);
    assert_memory_equal(error.message, path, strlen(path));
    if (!strstr(error.message, part))
        fail_msg("'%s' is not in '%s'", part, error.message);
    core_registry *registry = registry_of(path);
    size_t count;
    const core_plugin_file *files = list(registry, &count);
    assert_int_equal(count, 1);
    assert_null(files[0].plugin);
    assert_int_equal(files[0].status, status);
    assert_string_equal(files[0].path, path);
    assert_non_null(strstr(files[0].reason, part));
    assert_false(core_registry_chosen(registry, &files[0]));
    core_registry_destroy(registry);
    free(path);
}

static void a_good_plugin_is_found_and_called(void **state)
{
    (void)state;
    link_as("good", "good.so");
    core_registry *registry = registry_of(folder);
    const core_plugin_file *file = find(registry, "adder");
    assert_int_equal(file->score, 100);
    assert_string_equal(file->plugin->version, "1.0.0");
    assert_true(core_registry_chosen(registry, file));
    core_functions *functions = NULL;
    core_call *call = NULL;
    more_error error = {{0}};
    assert_int_equal(core_functions_create(&functions, &error), MORE_OK);
    assert_int_equal(
        core_functions_add(functions, file->plugin->get_interface(MORE_FUNCTIONS_INTERFACE), file->path, &error),
        MORE_OK);
    assert_int_equal(core_call_parse(functions, MORE_STAGE_PLAIN, "add(40)", "test", &call, &error), MORE_OK);
    assert_int_equal(core_call_invoke(call, NULL, &error), 42);
    core_call_destroy(call);
    core_functions_destroy(functions);
    core_registry_destroy(registry);
}

static void the_best_score_wins(void **state)
{
    (void)state;
    link_as("good", "a.so");
    link_as("better", "b.so");
    core_registry *registry = registry_of(folder);
    size_t count;
    const core_plugin_file *file = find(registry, "adder"), *files = list(registry, &count);
    assert_int_equal(file->score, 200);
    assert_int_equal(count, 2);
    assert_false(core_registry_chosen(registry, &files[0]));
    assert_true(core_registry_chosen(registry, &files[1]));
    core_registry_destroy(registry);
}

/* Of equal scores the first path wins; links to one file count once. */
static void paths_are_searched_in_order(void **state)
{
    (void)state;
    char *good = built("good"), *twin = core_path_join(folder, "twin.so");
    core_buffer bytes = {0}, paths = {0};
    assert_int_equal(core_file_read(good, 1 << 24, &bytes, NULL), MORE_OK);
    write_as("twin.so", bytes.data, bytes.size);
    core_buffer_format(&paths, "::%s:%s:%s", twin, good, good);
    core_registry *registry = registry_of(paths.data);
    size_t count;
    assert_string_equal(find(registry, "adder")->path, twin);
    list(registry, &count);
    assert_int_equal(count, 2);
    core_registry_destroy(registry);
    /* the environment comes behind the paths given */
    setenv(CORE_PLUGIN_PATH_VARIABLE, twin, 1);
    registry = registry_of(good);
    assert_string_equal(find(registry, "adder")->path, good);
    core_registry_destroy(registry);
    registry = registry_of(NULL);
    assert_string_equal(find(registry, "adder")->path, twin);
    core_registry_destroy(registry);
    unsetenv(CORE_PLUGIN_PATH_VARIABLE);
    core_buffer_free(&bytes);
    core_buffer_free(&paths);
    free(good);
    free(twin);
}

static void subfolders_are_searched(void **state)
{
    (void)state;
    const char *const deep[] = {"vision", "vision/clock", "vision/clock/.libs", "vision/clock/deeper", ".hidden"};
    for (size_t i = 0; i < sizeof deep / sizeof *deep; i++)
        make_subfolder(deep[i]);
    link_as("good", "vision/clock/deeper/a.so");
    link_as("good", ".hidden/a.so");
    link_as("good", "a.so.1");
    core_registry *registry = registry_of(folder);
    expect_missing(registry, "adder", "no functions plugin 'adder'; there are: none; looked in /tmp/");
    core_registry_destroy(registry);
    link_as("better", "vision/clock/.libs/b.so");
    registry = registry_of(folder);
    assert_int_equal(find(registry, "adder")->score, 200);
    core_registry_destroy(registry);
}

static void files_that_are_no_plugins_are_refused(void **state)
{
    (void)state;
    write_as("text.so", "just some text, no program at all\n", 34);
    write_as("empty.so", "", 0);
    write_as("magic.so",
             "\x7f"
             "ELF",
             4);
    expect_refused("text.so", MORE_ERROR_CORRUPT, "is no ELF shared object (34 bytes)");
    expect_refused("empty.so", MORE_ERROR_CORRUPT, "is no ELF shared object (0 bytes)");
    expect_refused("magic.so", MORE_ERROR_CORRUPT, "is cut short: 4 bytes are less than an ELF header");
    expect_refused("absent.so", MORE_ERROR_NOT_FOUND, "");
    link_as("no_entry", "no_entry.so");
    expect_refused("no_entry.so", MORE_ERROR_UNSUPPORTED, "is no plugin: it has no function more_plugin_entry");
}

/* Behind the last segment are only symbols and section headers, which nobody needs. */
static size_t end_of_segments(const char *object)
{
    ElfW(Ehdr) header;
    ElfW(Phdr) segment;
    size_t end = 0;
    memcpy(&header, object, sizeof header);
    for (size_t i = 0; i < header.e_phnum; i++) {
        memcpy(&segment, object + header.e_phoff + i * sizeof segment, sizeof segment);
        if (segment.p_type == PT_LOAD && segment.p_offset + segment.p_filesz > end)
            end = segment.p_offset + segment.p_filesz;
    }
    return end;
}

static void damaged_files_are_refused(void **state)
{
    (void)state;
    char *good = built("good");
    core_buffer bytes = {0};
    assert_int_equal(core_file_read(good, 1 << 24, &bytes, NULL), MORE_OK);
    const size_t end = end_of_segments(bytes.data), sizes[] = {100, end / 4, end / 2, end - 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        core_buffer name = {0};
        core_buffer_format(&name, "cut%zu.so", sizes[i]);
        write_as(name.data, bytes.data, sizes[i]);
        expect_refused(name.data, MORE_ERROR_CORRUPT, "is cut short: ");
        core_buffer_free(&name);
    }
    bytes.data[18] ^= 0x55; /* e_machine */
    write_as("machine.so", bytes.data, bytes.size);
    expect_refused("machine.so", MORE_ERROR_UNSUPPORTED, "is for another machine");
    bytes.data[18] ^= 0x55;
    bytes.data[4] = 1; /* EI_CLASS */
    write_as("class.so", bytes.data, bytes.size);
    expect_refused("class.so", MORE_ERROR_UNSUPPORTED, "is for another machine");
    bytes.data[4] = 2;
    bytes.data[16] = 1; /* e_type */
    write_as("object.so", bytes.data, bytes.size);
    expect_refused("object.so", MORE_ERROR_CORRUPT, "is no shared object (ELF type 1)");
    core_buffer_free(&bytes);
    free(good);
}

static void wrong_plugins_are_refused(void **state)
{
    (void)state;
    const char *const names[] = {"other_abi", "declines", "silent", "null_id", "bad_option", "unfit"};
    char as[64];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(as, sizeof as, "%s.so", names[i]);
        link_as(names[i], as);
    }
    snprintf(as, sizeof as, "for ABI 9.7 and this program serves ABI %d.%d", MORE_ABI_MAJOR, MORE_ABI_MINOR);
    expect_refused("other_abi.so", MORE_ERROR_VERSION, as);
    expect_refused("declines.so", MORE_ERROR_VERSION, "it declined: this plugin\\nnever agrees");
    expect_refused("silent.so", MORE_ERROR_UNSUPPORTED, "it declined without giving a reason");
    expect_refused("null_id.so", MORE_ERROR_CORRUPT, "its id is NULL");
    expect_refused("bad_option.so", MORE_ERROR_CORRUPT, "option 'size' has a wrong default: must be 0 to 8, not 9");
    core_registry *registry = registry_of(folder);
    expect_not_given(registry, "unfit", MORE_ERROR_UNSUPPORTED,
                     "/unfit.so was refused: it cannot run on this machine (score 0)");
    expect_not_given(registry, "declines", MORE_ERROR_VERSION, "/declines.so was refused: it declined: this plugin");
    expect_not_given(registry, "other_abi", MORE_ERROR_VERSION, "/other_abi.so was refused: it was built for ABI 9.7");
    expect_missing(registry, "nothing", "no functions plugin 'nothing'; 6 files were refused, see --list-plugins");
    core_registry_destroy(registry);
}

static void refused_files_harm_nobody(void **state)
{
    (void)state;
    write_as("a.so", "text", 4);
    link_as("good", "z.so");
    core_buffer paths = {0};
    core_buffer_format(&paths, "/nowhere/at/all:%s", folder);
    core_registry *registry = registry_of(paths.data);
    assert_int_equal(find(registry, "adder")->score, 100);
    expect_missing(registry, "addr", "no functions plugin 'addr' (did you mean 'adder'?); 2 files were refused");
    expect_missing(registry, "addr", "there are: adder; looked in /nowhere/at/all, /tmp/");
    const core_plugin_file *file = NULL;
    assert_int_equal(core_registry_find(registry, MORE_KIND_VISION, "adder", &file, NULL), MORE_ERROR_NOT_FOUND);
    core_registry_destroy(registry);
    core_registry_destroy(NULL);
    core_buffer_free(&paths);
}

/* ---- Descriptors, without a file -------------------------------------------------------------------------------- */

static int32_t one(void)
{
    return 1;
}

static const void *nothing(const char *id)
{
    (void)id;
    return NULL;
}

static more_plugin stranger(void)
{
    more_plugin plugin = {.struct_size = MORE_STRUCT_SIZE(more_plugin, get_interface),
                          .abi_version = MORE_ABI_VERSION,
                          .kind = "org.example.kind",
                          .id = "org.example.merge2x2",
                          .version = "1",
                          .license = "MIT",
                          .description = "A stranger.",
                          .score = one,
                          .get_interface = nothing};
    return plugin;
}

static void refuse(const more_plugin *plugin, more_status status, const char *part)
{
    more_error error = {{0}};
    assert_int_equal(core_plugin_check(plugin, &error), status);
    if (!strstr(error.message, part))
        fail_msg("'%s' is not in '%s'", part, error.message);
}

static void descriptors_are_checked(void **state)
{
    (void)state;
    more_plugin plugin = stranger();
    refuse(&plugin, MORE_OK, "");
    plugin.struct_size += 8;
    refuse(&plugin, MORE_OK, "");
    plugin.struct_size = 8;
    refuse(&plugin, MORE_ERROR_CORRUPT, "its descriptor says a size of 8 bytes");
    plugin = stranger();
    plugin.struct_size -= 8;
    refuse(&plugin, MORE_ERROR_CORRUPT, "at least");
    const char *const ids[] = {"", "Clip", "9a", ".a", "a.", "a..b", "a b", "a/b", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        plugin = stranger();
        plugin.id = ids[i];
        refuse(&plugin, MORE_ERROR_CORRUPT, "its id is '");
    }
    plugin = stranger();
    plugin.kind = NULL;
    refuse(&plugin, MORE_ERROR_CORRUPT, "its kind is NULL");
    plugin = stranger();
    plugin.description = "two\nlines";
    refuse(&plugin, MORE_ERROR_CORRUPT, "its description is not one line");
    plugin = stranger();
    plugin.license = NULL;
    refuse(&plugin, MORE_ERROR_CORRUPT, "its license is NULL");
    plugin = stranger();
    plugin.score = NULL;
    refuse(&plugin, MORE_ERROR_CORRUPT, "its score is NULL");
    plugin = stranger();
    plugin.option_count = 3;
    refuse(&plugin, MORE_ERROR_CORRUPT, "option table of 3 rows at NULL");
    const more_option layer = {"layer", MORE_STRING, "", 0, 0, NULL, "The core's."};
    plugin = stranger();
    plugin.kind = MORE_KIND_VISION;
    refuse(&plugin, MORE_ERROR_CORRUPT, "it does not offer llavamore.vision/1");
    plugin.options = &layer;
    plugin.option_count = 1;
    refuse(&plugin, MORE_ERROR_CORRUPT, "its option 'layer' has the name of a key of the core");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_folder, drop_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_good_plugin_is_found_and_called),
        TEST(the_best_score_wins),
        TEST(paths_are_searched_in_order),
        TEST(subfolders_are_searched),
        TEST(files_that_are_no_plugins_are_refused),
        TEST(damaged_files_are_refused),
        TEST(wrong_plugins_are_refused),
        TEST(refused_files_harm_nobody),
        cmocka_unit_test(descriptors_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
