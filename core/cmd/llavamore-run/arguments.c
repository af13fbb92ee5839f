/* SPDX-License-Identifier: Apache-2.0 */
#include "arguments.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char help_text[] =
    "Usage: llavamore-run -c PRESET [--image FILE]... QUESTION\n"
    "       llavamore-run -c PRESET --image FILE --question TEXT --question TEXT...\n"
    "       llavamore-run -c PRESET --chat\n"
    "       llavamore-run -c PRESET --dry-run\n"
    "       llavamore-run --list-plugins | --list-presets\n"
    "\n"
    "Asks a multimodal language model, assembled from plugins by an INI file.\n"
    "\n"
    "  -c, --config PRESET     an INI file, or the name of a preset (see --list-presets)\n"
    "  -i, --image FILE        a picture (JPEG, PNG, BMP, GIF, PNM); '-' is standard input; may be repeated\n"
    "  -q, --question TEXT     a question about these pictures; may be repeated: each is answered by itself\n"
    "      --questions FILE    the same, one question a line\n"
    "  -s, --set SEC.KEY=VALUE override one key of the INI file; may be repeated\n"
    "      --chat              a conversation at the terminal (/help lists its commands)\n"
    "      --json              print one JSON object instead of text\n"
    "      --dry-run           check everything and print the assembly, load no weights\n"
    "      --dump DIR          write what flowed through the model to DIR as .npy files\n"
    "      --dump-layers       with --dump: also the hidden states of every layer\n"
    "      --feature-cache DIR keep what the encoder makes of pictures in DIR, for later runs\n"
    "      --list-plugins      print the plugins found, and the files refused with the reason\n"
    "      --list-presets      print the presets found\n"
    "  -v, --verbose           print what is going on and how long each stage took\n"
    "  -h, --help              print this text\n"
    "      --version           print the version\n"
    "\n"
    "QUESTION may hold '<image>' where a picture belongs; '-' reads it from standard input.\n"
    "Exit codes: 0 done, 1 internal error, 2 command line, 3 a wrong value, 4 not found, 5 corrupt file,\n"
    "6 unsupported, 7 out of memory or over a cap, 8 read or write refused, 9 plugin of another ABI,\n"
    "10 context full, 130 interrupted, 141 output closed. See llavamore-run(1) and llavamore.ini(5).\n";

enum {
    OPTION_CHAT = 256,
    OPTION_JSON,
    OPTION_DRY_RUN,
    OPTION_DUMP,
    OPTION_DUMP_LAYERS,
    OPTION_FEATURE_CACHE,
    OPTION_LIST_PLUGINS,
    OPTION_LIST_PRESETS,
    OPTION_QUESTIONS,
    OPTION_VERSION
};

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"image", required_argument, NULL, 'i'},
    {"question", required_argument, NULL, 'q'},
    {"questions", required_argument, NULL, OPTION_QUESTIONS},
    {"feature-cache", required_argument, NULL, OPTION_FEATURE_CACHE},
    {"set", required_argument, NULL, 's'},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"chat", no_argument, NULL, OPTION_CHAT},
    {"json", no_argument, NULL, OPTION_JSON},
    {"dry-run", no_argument, NULL, OPTION_DRY_RUN},
    {"dump", required_argument, NULL, OPTION_DUMP},
    {"dump-layers", no_argument, NULL, OPTION_DUMP_LAYERS},
    {"list-plugins", no_argument, NULL, OPTION_LIST_PLUGINS},
    {"list-presets", no_argument, NULL, OPTION_LIST_PRESETS},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

static bool set_action(arguments *args, action wanted, int *code)
{
    if (args->action != ACTION_ASK && args->action != wanted) {
        *code = fail(PROGRAM, EXIT_USAGE, "only one of --chat, --dry-run, --list-plugins and --list-presets at a time");
        return false;
    }
    args->action = wanted;
    return true;
}

static bool take_option(arguments *args, int option, int *code)
{
    char version[64];
    switch (option) {
    case 'c':
        return take_once(PROGRAM, &args->config, optarg, "--config", code);
    case 'i':
        args->images[args->image_count++] = optarg;
        return true;
    case 'q':
        args->questions[args->question_count++] = optarg;
        return true;
    case OPTION_QUESTIONS:
        return take_once(PROGRAM, &args->question_file, optarg, "--questions", code);
    case OPTION_FEATURE_CACHE:
        return take_once(PROGRAM, &args->feature_cache, optarg, "--feature-cache", code);
    case 's':
        args->assignments[args->assignment_count++] = optarg;
        return true;
    case 'v':
        args->verbose = true;
        return true;
    case OPTION_CHAT:
        return set_action(args, ACTION_CHAT, code);
    case OPTION_DRY_RUN:
        return set_action(args, ACTION_DRY_RUN, code);
    case OPTION_LIST_PLUGINS:
        return set_action(args, ACTION_LIST_PLUGINS, code);
    case OPTION_LIST_PRESETS:
        return set_action(args, ACTION_LIST_PRESETS, code);
    case OPTION_JSON:
        args->json = true;
        return true;
    case OPTION_DUMP:
        return take_once(PROGRAM, &args->dump_folder, optarg, "--dump", code);
    case OPTION_DUMP_LAYERS:
        args->dump_layers = true;
        return true;
    case 'h':
        return print_and_leave(PROGRAM, help_text, code);
    case OPTION_VERSION:
        snprintf(version, sizeof version, "llavamore %s\n", llavamore_version());
        return print_and_leave(PROGRAM, version, code);
    default:
        *code = EXIT_USAGE; /* getopt has printed its line */
        return false;
    }
}

static int check_standard_input(const arguments *args)
{
    int readers = args->question_file && !strcmp(args->question_file, "-");
    for (int i = 0; i < args->question_count; i++)
        readers += !strcmp(args->questions[i], "-");
    for (int i = 0; i < args->image_count; i++)
        readers += !strcmp(args->images[i], "-");
    if (readers > 1)
        return fail(PROGRAM, EXIT_USAGE, "'-' is given %d times, but standard input can be read only once", readers);
    return EXIT_SUCCESS;
}

/* The rules that span several options. */
static int check(const arguments *args)
{
    bool lists = args->action == ACTION_LIST_PLUGINS || args->action == ACTION_LIST_PRESETS;
    if (args->action == ACTION_CHAT && args->json)
        return fail(PROGRAM, EXIT_USAGE, "--chat is for a terminal: it can't be combined with --json");
    if (args->action == ACTION_CHAT && args->dump_folder)
        return fail(PROGRAM, EXIT_USAGE, "--dump goes with one question: it can't be combined with --chat");
    if (args->dump_layers && !args->dump_folder)
        return fail(PROGRAM, EXIT_USAGE, "--dump-layers needs --dump DIR");
    bool several = args->question_count > 1 || args->question_file;
    const char *asked = args->question_count ? args->questions[0] : args->question_file;
    if (asked && args->action != ACTION_ASK)
        return fail(PROGRAM, EXIT_USAGE, "no question is taken with --chat, --dry-run and --list-...: '%s'", asked);
    if (several && args->dump_folder)
        return fail(PROGRAM, EXIT_USAGE, "--dump goes with one question, not with several");
    if (args->image_count && args->action != ACTION_ASK)
        return fail(PROGRAM, EXIT_USAGE, "no --image is taken with --chat (use /image FILE), --dry-run and --list-...");
    if (!lists && !args->config && !args->assignment_count)
        return fail(PROGRAM, EXIT_USAGE, "which model? Give -c FILE, or a name of --list-presets (see --help)");
    if (args->action == ACTION_ASK && !asked)
        return fail(PROGRAM, EXIT_USAGE, "no question: give one, '-' to read it from standard input, or --chat");
    return check_standard_input(args);
}

bool arguments_parse(int argc, char **argv, arguments *args, int *code)
{
    static char name[] = PROGRAM;
    *args = (arguments){0};
    *code = EXIT_SUCCESS;
    args->images = calloc((size_t)argc + 1, sizeof *args->images);
    args->assignments = calloc((size_t)argc + 1, sizeof *args->assignments);
    args->questions = calloc((size_t)argc + 1, sizeof *args->questions);
    if (!args->images || !args->assignments || !args->questions) {
        *code = fail(PROGRAM, EXIT_MEMORY, "out of memory for %d arguments", argc);
        return false;
    }
    if (argc > 0)
        argv[0] = name; /* getopt's messages begin with it: the installed name, not libtool's */
    for (int option; (option = getopt_long(argc, argv, "c:i:q:s:vh", long_options, NULL)) != -1;) {
        if (!take_option(args, option, code))
            return false;
    }
    if (argc - optind > 1) {
        *code = fail(PROGRAM, EXIT_USAGE,
                     "more than one question: '%s' and '%s' (put the question in quotes, or --question before each)",
                     argv[optind], argv[optind + 1]);
        return false;
    }
    if (argc - optind == 1)
        args->questions[args->question_count++] = argv[optind];
    *code = check(args);
    return *code == EXIT_SUCCESS;
}

void arguments_clear(arguments *args)
{
    free(args->images);
    free(args->assignments);
    free(args->questions);
    *args = (arguments){0};
}
