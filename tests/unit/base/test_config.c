/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "config/config.h"
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- Help ------------------------------------------------------------------------------------------------------- */

static core_config *create(void)
{
    core_config *config = NULL;
    assert_int_equal(core_config_create(&config, NULL), MORE_OK);
    return config;
}

static core_config *parsed(const char *text)
{
    core_config *config = create();
    more_error error = {{0}};
    if (core_config_parse(config, text, strlen(text), "run.ini", NULL, &error) != MORE_OK)
        fail_msg("%s", error.message);
    return config;
}

static void refuse_bytes(const char *text, size_t size, more_status status, const char *message)
{
    core_config *config = create();
    more_error error = {{0}};
    assert_int_equal(core_config_parse(config, text, size, "run.ini", NULL, &error), status);
    if (strncmp(error.message, message, strlen(message)))
        fail_msg("'%s' does not begin '%s'", error.message, message);
    assert_null(strchr(error.message, '\n'));
    core_config_destroy(config);
}

static void refuse(const char *text, more_status status, const char *message)
{
    refuse_bytes(text, strlen(text), status, message);
}

static char folder[] = "/tmp/test_config.XXXXXX";

static void write_file(const char *name, const char *text)
{
    char *path = core_path_join(folder, name);
    assert_int_equal(core_file_write(path, text, strlen(text), NULL), MORE_OK);
    free(path);
}

static int make_folder(void **state)
{
    (void)state;
    char *path = mkdtemp(folder) ? core_path_join(folder, "sub") : NULL;
    int failed = !path || mkdir(path, 0777);
    free(path);
    return failed;
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

static more_status load(core_config *config, const char *name, more_error *error)
{
    char *path = core_path_join(folder, name);
    more_status status = core_config_load(config, path, error);
    free(path);
    return status;
}

static void expect_path(const core_config *config, const char *section, const char *key, const char *name)
{
    char *path = core_path_join(folder, name);
    assert_string_equal(core_config_string(config, section, key), path);
    free(path);
}

/* ---- Syntax ----------------------------------------------------------------------------------------------------- */

static void tables_are_sound(void **state)
{
    (void)state;
    more_error error;
    const core_section *section;
    size_t count = 0;
    for (; (section = core_section_at(count)); count++) {
        if (core_options_check(section->keys, section->count, &error) != MORE_OK)
            fail_msg("[%s]: %s", section->name, error.message);
        assert_ptr_equal(core_section_find(section->name), section);
        if (section->plugin_kind)
            assert_ptr_equal(core_section_of_kind(section->plugin_kind), section);
    }
    assert_int_equal(count, 6);
}

static void an_empty_config_has_defaults(void **state)
{
    (void)state;
    core_config *config = parsed("");
    assert_int_equal(core_config_int64(config, "generate", "max_new_tokens"), 128);
    assert_true(core_config_double(config, "generate", "top_p") == 1.0);
    assert_string_equal(core_config_string(config, "vision", "layer"), "auto");
    assert_false(core_config_bool(config, "preprocess", "exif"));
    assert_int_equal(core_config_int64(config, "preprocess", "max_pixels"), 89478485);
    assert_null(core_config_find(config, "vision", "layer"));
    assert_int_equal(core_config_value(config, "vision", "nothing").type, 0);
    core_config_destroy(config);
    core_config_destroy(NULL);
}

static void values_and_comments(void **state)
{
    (void)state;
    core_config *config = parsed("\xef\xbb\xbf# a comment\r\n; another\r\n"
                                 "[llm]   ; the language model\r\n"
                                 "system = \"Say \\\"a ; b\\\" # no comment\" # a comment\r\n"
                                 "template: llama_3_1;x#y\r\n"
                                 "context = 0x100\t; hex\r\n"
                                 "\r\n[generate]\r\ntemperature=1/4\r\nstop =\r\n"
                                 "sampler = greedy(),\r\n\r\n   # in between\r\n\ttop_k(4),\r\n  top_p(0.5)\r\n"
                                 "[llm]\nweights = \"org/na me\"");
    assert_string_equal(core_config_string(config, "llm", "system"), "Say \"a ; b\" # no comment");
    assert_string_equal(core_config_string(config, "llm", "template"), "llama_3_1;x#y");
    assert_int_equal(core_config_int64(config, "llm", "context"), 256);
    assert_true(core_config_double(config, "generate", "temperature") == 0.25);
    assert_string_equal(core_config_string(config, "generate", "stop"), "");
    assert_string_equal(core_config_string(config, "generate", "sampler"), "greedy(),\ntop_k(4),\ntop_p(0.5)");
    assert_string_equal(core_config_string(config, "llm", "weights"), "org/na me");
    assert_string_equal(core_config_find(config, "generate", "stop")->where, "run.ini:10");
    assert_string_equal(core_config_find(config, "generate", "sampler")->where, "run.ini:11");
    assert_string_equal(core_config_find(config, "llm", "weights")->where, "run.ini:17");
    core_config_destroy(config);
}

/* inih's line is 200 bytes: values of every length around its multiples, with what it would strip at each place. */
static void long_values_stay_whole(void **state)
{
    (void)state;
    for (size_t length = 150; length < 1300; length++) {
        core_buffer value = {0}, text = {0};
        for (size_t i = 0; i < length; i++)
            core_buffer_append(&value, &"ab ;#\t= :[]\xc3\xa9"[(i * i + length) % 13], 1);
        core_buffer_text(&value, "!");
        core_buffer_format(&text, "[llm]\nsystem = \"%s\" ; comment\ntemplate = after\n", value.data);
        core_config *config = parsed(text.data);
        assert_string_equal(core_config_string(config, "llm", "system"), value.data);
        assert_string_equal(core_config_find(config, "llm", "template")->where, "run.ini:3");
        core_config_destroy(config);
        core_buffer_free(&value);
        core_buffer_free(&text);
    }
}

static void long_runs_of_blanks_stay_whole(void **state)
{
    (void)state;
    core_buffer text = {0};
    core_buffer_format(&text, "[llm]\nsystem = \"%700s\"\ntemplate = %500s\n  %300s\n", "x", "y", "z");
    core_config *config = parsed(text.data);
    assert_int_equal(strlen(core_config_string(config, "llm", "system")), 700);
    assert_string_equal(core_config_string(config, "llm", "template"), "y\nz");
    core_config_destroy(config);
    core_buffer_free(&text);
}

static void wrong_lines_are_refused(void **state)
{
    (void)state;
    refuse("[llm]\nwords\n", MORE_ERROR_CORRUPT, "run.ini:2: expected 'key = value'");
    refuse("[llm]\n\nseed", MORE_ERROR_CORRUPT, "run.ini:3: expected 'key = value'");
    refuse("[llm\n", MORE_ERROR_CORRUPT, "run.ini:1: expected '[section]'");
    refuse("[llm] x = 1\n", MORE_ERROR_CORRUPT, "run.ini:1: expected '[section]'");
    refuse("[]\n", MORE_ERROR_CORRUPT, "run.ini:1: a section's name");
    refuse("[aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\n", MORE_ERROR_CORRUPT,
           "run.ini:1: a section's");
    refuse("[llm]\n= 1\n", MORE_ERROR_CORRUPT, "run.ini:2: a key's name");
    refuse("[llm]\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa = 1\n", MORE_ERROR_CORRUPT,
           "run.ini:2: a key's name");
    refuse("[llm]\nsystem = a\x01\n", MORE_ERROR_CORRUPT, "run.ini:2: a control byte");
    refuse("[llm]\rsystem = a\n", MORE_ERROR_CORRUPT, "run.ini:1: a control byte");
    refuse_bytes("[llm]\nsystem = a\0b\n", 19, MORE_ERROR_CORRUPT, "run.ini:2: a NUL byte");
    refuse("context = 1\n", MORE_ERROR_ARGUMENT, "run.ini:1: key 'context' stands before any [section]");
    refuse("include = x.ini\n", MORE_ERROR_ARGUMENT, "run.ini:1: include is not possible here");
    core_buffer text = {0};
    core_buffer_format(&text, "[llm]\nweights%300s 1\n", "=");
    refuse(text.data, MORE_ERROR_CORRUPT, "run.ini:2: expected 'key = value'");
    core_buffer_clear(&text);
    core_buffer_format(&text, "[llm]\nsystem = %*s", (int)CORE_CONFIG_LIMIT, "x");
    refuse(text.data, MORE_ERROR_MEMORY, "run.ini: 1048591 bytes; an INI file may have 1048576");
    core_buffer_free(&text);
}

static void wrong_keys_are_refused(void **state)
{
    (void)state;
    refuse("\n[visoin]\n", MORE_ERROR_NOT_FOUND,
           "run.ini:2: unknown section [visoin] (did you mean 'vision'?); there are [vision] [preprocess] [projector] "
           "[llm] [generate] [runtime]");
    refuse("[generate]\ntemprature = 1\n", MORE_ERROR_NOT_FOUND,
           "run.ini:2: [generate] has no key 'temprature' (did you mean 'temperature'?); there are: max_new_tokens, ");
    refuse("[generate]\nseed = 1\nseed = 2\n", MORE_ERROR_ARGUMENT,
           "run.ini:3: [generate] seed is given already in line 2; remove one");
    refuse("[generate]\nseed = 1\n[llm]\n[generate]\nseed = 2\n", MORE_ERROR_ARGUMENT,
           "run.ini:5: [generate] seed is given already in line 2");
    refuse("[generate]\nseed = one\n", MORE_ERROR_ARGUMENT,
           "run.ini:2: [generate] seed must be a whole number (int64), not 'one'");
    refuse("[generate]\nseed = 1\n  top_k = 2\n", MORE_ERROR_ARGUMENT,
           "run.ini:2: [generate] seed must be a whole number (int64), not '1\\ntop_k = 2'");
    refuse("[generate]\ntop_p = 1.5\n", MORE_ERROR_ARGUMENT, "run.ini:2: [generate] top_p must be 0 to 1, not 1.5");
    refuse("[preprocess]\npad = squre\n", MORE_ERROR_ARGUMENT,
           "run.ini:2: [preprocess] pad must be one of auto|none|square, not 'squre'");
    refuse("[llm]\nWeights = x\n", MORE_ERROR_NOT_FOUND,
           "run.ini:2: [llm] has no key 'Weights' (did you mean 'weights'?)");
    refuse("[llm]\nsystem = \"x\n", MORE_ERROR_ARGUMENT, "run.ini:2: [llm] system lacks its closing double quote");
}

/* ---- Files ------------------------------------------------------------------------------------------------------ */

static void includes_stand_where_they_are(void **state)
{
    (void)state;
    core_config *config = create();
    more_error error = {{0}};
    write_file("main.ini", "[generate]\nseed = 1\ntop_k = 1\ninclude = sub/base.ini\ntop_k2 = 3\n");
    assert_int_equal(load(config, "main.ini", &error), MORE_ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "main.ini:4: include: there is no file '"));
    core_config_destroy(config);
    config = create();
    write_file("main.ini",
               "include = \"sub/base.ini\"\n[generate]\nseed = 1\n[llm]\ntokenizer = tok\ntemplate = t.ini\n");
    write_file("sub/base.ini", "include=more.ini\n[generate]\nseed = 2\ntop_k = 2\n[llm]\nweights = ../w\n"
                               "lora = org/x:more.ini:gone\n[runtime]\nplugin_path = p:/abs:q/r.so\n");
    write_file("sub/more.ini", "[generate]\nseed = 3\ntop_k = 3\nmax_new_tokens = 3\n");
    assert_int_equal(load(config, "main.ini", &error), MORE_OK);
    assert_int_equal(core_config_int64(config, "generate", "seed"), 1);
    assert_int_equal(core_config_int64(config, "generate", "top_k"), 2);
    assert_int_equal(core_config_int64(config, "generate", "max_new_tokens"), 3);
    expect_path(config, "llm", "tokenizer", "tok");
    expect_path(config, "llm", "template", "t.ini");
    const core_config_entry *weights = core_config_find(config, "llm", "weights");
    assert_string_equal(weights->value, "../w");
    assert_string_equal(weights->folder + strlen(folder), "/sub");
    core_buffer path = {0};
    core_buffer_format(&path, "%s/sub/p:/abs:%s/sub/q/r.so", folder, folder);
    assert_string_equal(core_config_string(config, "runtime", "plugin_path"), path.data);
    /* A dump may lie anywhere: what of a list is there gets its whole path. */
    core_buffer dump = {0};
    core_config_dump(config, &dump);
    core_buffer_clear(&path);
    core_buffer_format(&path, "\nlora = org/x:%s/sub/more.ini:gone  #", folder);
    assert_non_null(strstr(dump.data, path.data));
    core_buffer_free(&dump);
    core_buffer_free(&path);
    core_config_destroy(config);
}

static void refuse_file(const char *name, more_status status, const char *part)
{
    core_config *config = create();
    more_error error = {{0}};
    assert_int_equal(load(config, name, &error), status);
    if (!strstr(error.message, part))
        fail_msg("'%s' is not in '%s'", part, error.message);
    core_config_destroy(config);
}

static void circles_and_chains_are_refused(void **state)
{
    (void)state;
    char name[32], text[64];
    write_file("a.ini", "include = b.ini\n");
    write_file("b.ini", "include = sub/../a.ini\n");
    refuse_file("a.ini", MORE_ERROR_ARGUMENT, "includes go in a circle: ");
    refuse_file("a.ini", MORE_ERROR_ARGUMENT, "/b.ini -> ");
    for (int i = 1; i <= CORE_CONFIG_DEPTH + 1; i++) {
        snprintf(name, sizeof name, "c%d.ini", i);
        snprintf(text, sizeof text, i <= CORE_CONFIG_DEPTH ? "include = c%d.ini\n" : "[llm]\n", i + 1);
        write_file(name, text);
    }
    refuse_file("c1.ini", MORE_ERROR_MEMORY, "more than 16 files include one another");
    core_config *config = create();
    assert_int_equal(load(config, "c2.ini", NULL), MORE_OK);
    core_config_destroy(config);
    /* many small files that include one another twice: 2^n reads without a cap */
    for (int i = 1; i < CORE_CONFIG_DEPTH; i++) {
        snprintf(name, sizeof name, "d%d.ini", i);
        snprintf(text, sizeof text, "include = d%d.ini\ninclude = d%d.ini\n", i + 1, i + 1);
        write_file(name, text);
    }
    write_file("d16.ini", "[llm]\n");
    refuse_file("d1.ini", MORE_ERROR_MEMORY, "more than 256 files are included");
}

static void wrong_files_are_refused(void **state)
{
    (void)state;
    refuse_file("absent.ini", MORE_ERROR_NOT_FOUND, "absent.ini: cannot open");
    refuse_file("sub", MORE_ERROR_IO, "sub: cannot read");
    core_buffer text = {0};
    core_buffer_format(&text, "[llm]\n%*s", (int)CORE_CONFIG_LIMIT, "");
    write_file("big.ini", text.data);
    refuse_file("big.ini", MORE_ERROR_MEMORY, "big.ini: is larger than the 1048576 bytes");
    core_buffer_clear(&text);
    core_buffer_text(&text, "[llm]\n");
    for (int i = 0; i <= CORE_CONFIG_KEYS; i++)
        core_buffer_format(&text, "k%d = 1\n", i);
    write_file("keys.ini", text.data);
    refuse_file("keys.ini", MORE_ERROR_MEMORY, "more than 1024 keys");
    core_buffer_free(&text);
    write_file("inner.ini", "[llm]\nnonsense\n");
    write_file("outer.ini", "include = inner.ini\n");
    refuse_file("outer.ini", MORE_ERROR_CORRUPT, "inner.ini:2: expected");
}

static void shipped_presets_are_read(void **state)
{
    (void)state;
    const char *source = getenv("srcdir");
    core_buffer pattern = {0};
    more_error error;
    glob_t found;
    core_buffer_format(&pattern, "%s/share/presets/*.ini", source ? source : ".");
    assert_int_equal(glob(pattern.data, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        core_config *config = create();
        if (core_config_load(config, found.gl_pathv[i], &error) != MORE_OK)
            fail_msg("%s", error.message);
        assert_non_null(core_config_find(config, "llm", "weights"));
        core_config_destroy(config);
    }
    globfree(&found);
    core_buffer_free(&pattern);
}

/* ---- Ranks ------------------------------------------------------------------------------------------------------ */

static void the_command_line_wins_over_files_and_they_over_checkpoints(void **state)
{
    (void)state;
    more_error error = {{0}};
    core_config *config = create();
    assert_int_equal(core_config_set(config, " llm.template = mine ", &error), MORE_OK);
    assert_int_equal(core_config_parse(config, "[llm]\ntemplate=theirs\nsystem=s\n", 30, "run.ini", NULL, &error),
                     MORE_OK);
    assert_int_equal(core_config_settings(config, "llm", "template = a\nsystem = b\ncontext = 77\nown_key = c\n",
                                          "recognised", &error),
                     MORE_OK);
    assert_string_equal(core_config_string(config, "llm", "template"), "mine");
    assert_string_equal(core_config_find(config, "llm", "template")->where, "--set");
    assert_string_equal(core_config_string(config, "llm", "system"), "s");
    assert_int_equal(core_config_int64(config, "llm", "context"), 77);
    assert_string_equal(core_config_find(config, "llm", "context")->where, "recognised");
    assert_string_equal(core_config_find(config, "llm", "own_key")->value, "c");
    assert_int_equal(core_config_settings(config, "llm", "[vision]\n", "recognised", &error), MORE_ERROR_ARGUMENT);
    assert_int_equal(core_config_settings(config, "llm", "include = x\n", "recognised", &error), MORE_ERROR_ARGUMENT);
    assert_int_equal(core_config_settings(config, "llm", "", "recognised", &error), MORE_OK);
    core_config_destroy(config);
}

static void refuse_set(const char *assignment, more_status status, const char *message)
{
    core_config *config = create();
    more_error error = {{0}};
    assert_int_equal(core_config_set(config, assignment, &error), status);
    if (strncmp(error.message, message, strlen(message)))
        fail_msg("'%s' does not begin '%s'", error.message, message);
    core_config_destroy(config);
}

static void wrong_assignments_are_refused(void **state)
{
    (void)state;
    refuse_set("seed=1", MORE_ERROR_ARGUMENT, "--set seed=1: expected section.key=value");
    refuse_set("generate.seed", MORE_ERROR_ARGUMENT, "--set generate.seed: expected section.key=value");
    refuse_set("generate=a.b", MORE_ERROR_ARGUMENT, "--set generate=a.b: expected section.key=value");
    refuse_set("", MORE_ERROR_ARGUMENT, "--set : expected section.key=value");
    refuse_set("llm.system=a\x01", MORE_ERROR_ARGUMENT, "--set llm.system=a\\x01: expected");
    refuse_set("genrate.seed=1", MORE_ERROR_NOT_FOUND, "--set: unknown section [genrate] (did you mean 'generate'?)");
    refuse_set("generate.sede=1", MORE_ERROR_NOT_FOUND, "--set: [generate] has no key 'sede' (did you mean 'seed'?)");
    refuse_set("generate.seed=x", MORE_ERROR_ARGUMENT, "--set: [generate] seed must be a whole number");
    refuse_set("llm.include=x", MORE_ERROR_ARGUMENT, "--set: include is possible in INI files only");
}

static void plugin_options_are_checked_later(void **state)
{
    (void)state;
    static const more_option table[] = {{"dtype", MORE_STRING, "auto", 0, 0, "auto|f32", "A type."},
                                        {"tiles", MORE_INT64, "1", 1, 9, NULL, "Tiles."}};
    const more_plugin plugin = {.options = table, .option_count = 2};
    more_error error = {{0}};
    core_options options = {0};
    core_config *config = parsed("[vision]\nweights = /x\ntiles = 4\nlayer = -2\n");
    assert_int_equal(core_config_plugin_options(config, "vision", &plugin, &options, &error), MORE_OK);
    assert_string_equal(options.values[0].as.s, "auto");
    assert_int_equal(options.values[1].as.i, 4);
    core_options_free(&options);
    core_config_destroy(config);
    config = parsed("[vision]\nlayr = -2\n");
    assert_int_equal(core_config_plugin_options(config, "vision", &plugin, &options, &error), MORE_ERROR_NOT_FOUND);
    assert_string_equal(error.message,
                        "run.ini:2: [vision] has no key 'layr' (did you mean 'layer'?); its plugin's keys "
                        "are: dtype, tiles");
    core_config_destroy(config);
}

static void home_is_expanded(void **state)
{
    (void)state;
    const char *old = getenv("HOME");
    char *saved = old ? strdup(old) : NULL;
    setenv("HOME", "/home/nobody", 1);
    core_config *config = parsed("[llm]\ntokenizer = ~/tok\ntemplate = ~x\n");
    assert_string_equal(core_config_string(config, "llm", "tokenizer"), "/home/nobody/tok");
    assert_string_equal(core_config_string(config, "llm", "template"), "~x");
    core_config_destroy(config);
    if (saved)
        setenv("HOME", saved, 1);
    free(saved);
}

static void a_dump_parses_to_the_same(void **state)
{
    (void)state;
    core_buffer first = {0}, second = {0};
    core_config *config =
        parsed("[vision]\ntiles = 3\nlayer = -2, -5\n[llm]\nsystem = \"a ; b\\n \"\nweights = ~/w\n"
               "[preprocess]\nsteps = a(1, \"x # y\"),\n  b()\n[generate]\nstop = \"\"\ntemperature = 1/3\n");
    assert_int_equal(core_config_set(config, "runtime.plugin_path=/a #b:/c", NULL), MORE_OK);
    core_config_dump(config, &first);
    core_config *again = parsed(first.data);
    const char *const keys[][2] = {{"vision", "tiles"},         {"vision", "layer"},       {"llm", "system"},
                                   {"llm", "weights"},          {"preprocess", "steps"},   {"generate", "stop"},
                                   {"generate", "temperature"}, {"runtime", "plugin_path"}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_string_equal(core_config_find(again, keys[i][0], keys[i][1])->value,
                            core_config_find(config, keys[i][0], keys[i][1])->value);
    assert_non_null(strstr(first.data, "# --set\n"));
    assert_non_null(strstr(first.data, "\n# seed = 0\n"));
    assert_null(core_config_find(again, "generate", "seed"));
    core_config_dump(again, &second);
    assert_true(first.size > 0 && !first.failed && !second.failed);
    core_config_destroy(config);
    core_config_destroy(again);
    core_buffer_free(&first);
    core_buffer_free(&second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_sound),
        cmocka_unit_test(an_empty_config_has_defaults),
        cmocka_unit_test(values_and_comments),
        cmocka_unit_test(long_values_stay_whole),
        cmocka_unit_test(long_runs_of_blanks_stay_whole),
        cmocka_unit_test(wrong_lines_are_refused),
        cmocka_unit_test(wrong_keys_are_refused),
        cmocka_unit_test(includes_stand_where_they_are),
        cmocka_unit_test(circles_and_chains_are_refused),
        cmocka_unit_test(wrong_files_are_refused),
        cmocka_unit_test(shipped_presets_are_read),
        cmocka_unit_test(the_command_line_wins_over_files_and_they_over_checkpoints),
        cmocka_unit_test(wrong_assignments_are_refused),
        cmocka_unit_test(plugin_options_are_checked_later),
        cmocka_unit_test(home_is_expanded),
        cmocka_unit_test(a_dump_parses_to_the_same),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
