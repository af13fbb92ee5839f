/* SPDX-License-Identifier: Apache-2.0 */
#include "arguments.h"

#include "synthetic.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char help_text[] =
    "Usage: llavamore-bench [OPTION]... CONFIG\n"
    "       llavamore-bench [OPTION]... --synthetic NAME[:FORMAT]\n"
    "       llavamore-bench [OPTION]... gemm | decode | threads | limits\n"
    "\n"
    "Measures how fast a model runs, each figure beside what this machine could do, measured in the same round.\n"
    "\n"
    "CONFIG      an INI file or a preset, as llavamore-run takes them: loading, memory, prefill, decode, image,\n"
    "            first token\n"
    "--synthetic the same for random weights of a named shape (--list-shapes), stored as FORMAT: f32, f16, bf16,\n"
    "            q8, q4 or q4_1 (default: f16)\n"
    "gemm        matrix products of the models' shapes, against the multiply-add instruction that they use, on\n"
    "            registers alone and fed from the level-2 cache\n"
    "decode      one token at a time through layers of an 8B model's shapes, against reading memory\n"
    "threads     what an empty parallel loop costs\n"
    "limits      the machine alone: every kind of multiply-add, and reading memory\n"
    "\n"
    "  -p, --prompt N       tokens of a prefill (default: 512)\n"
    "  -g, --generate N     tokens of a decode (default: 32)\n"
    "  -i, --image FILE     the picture (default: a made one of 640 x 480)\n"
    "  -s, --set SEC.KEY=VALUE override one key of the config; may be repeated\n"
    "      --device D       where it runs: auto, cpu, cuda or cuda:N; figures stand beside what that gives (default:\n"
    "                       as the config says; gemm, decode and limits: cpu)\n"
    "  -w, --weights TYPE   gemm, decode: f32, f16, bf16, q8, q4 or q4_1 (default: f16; gemm on the CPU f32)\n"
    "  -a, --arithmetic A   auto, exact or fast (default: auto, or as the config says)\n"
    "  -t, --threads N      threads (default: as the config says, else all cores)\n"
    "  -r, --rounds N       rounds of which the median is taken, odd (default: 7)\n"
    "      --only TEXT      only rows with TEXT in their names\n"
    "      --profile        also the time by operator\n"
    "      --read-mib N     memory that the rate of reading is measured on (default: 1024)\n"
    "      --json           print JSON\n"
    "      --compare FILE   also the change from an earlier run's --json\n"
    "      --list-shapes    print the names that --synthetic takes\n"
    "  -h, --help           print this text\n"
    "      --version        print the version\n"
    "\n"
    "The machine should be idle. LLAVAMORE_CPU chooses the kernels. Exit codes are those of llavamore-run.\n";

enum {
    OPTION_JSON = 256,
    OPTION_VERSION,
    OPTION_SYNTHETIC,
    OPTION_ONLY,
    OPTION_PROFILE,
    OPTION_READ,
    OPTION_COMPARE,
    OPTION_DEVICE,
    OPTION_LIST
};

static const struct option long_options[] = {
    {"synthetic", required_argument, NULL, OPTION_SYNTHETIC},
    {"prompt", required_argument, NULL, 'p'},
    {"generate", required_argument, NULL, 'g'},
    {"image", required_argument, NULL, 'i'},
    {"set", required_argument, NULL, 's'},
    {"device", required_argument, NULL, OPTION_DEVICE},
    {"weights", required_argument, NULL, 'w'},
    {"arithmetic", required_argument, NULL, 'a'},
    {"threads", required_argument, NULL, 't'},
    {"rounds", required_argument, NULL, 'r'},
    {"only", required_argument, NULL, OPTION_ONLY},
    {"profile", no_argument, NULL, OPTION_PROFILE},
    {"read-mib", required_argument, NULL, OPTION_READ},
    {"json", no_argument, NULL, OPTION_JSON},
    {"compare", required_argument, NULL, OPTION_COMPARE},
    {"list-shapes", no_argument, NULL, OPTION_LIST},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

static bool take_rounds(bench_options *options, int *code)
{
    if (!take_number(PROGRAM, "--rounds", optarg, 1, MOST_ROUNDS, &options->rounds, code))
        return false;
    if (options->rounds % 2 == 0)
        *code =
            fail(PROGRAM, EXIT_USAGE, "--rounds is '%s'; give an odd number, so that one round is the median", optarg);
    return *code == EXIT_SUCCESS;
}

static bool take_weights(bench_options *options, int *code)
{
    options->weights_given = nn_storage_named(optarg, &options->weights);
    if (!options->weights_given)
        *code = fail(PROGRAM, EXIT_USAGE, "--weights is '%s'; give f32, f16, bf16, q8, q4 or q4_1", optarg);
    return options->weights_given;
}

static bool take_arithmetic(bench_options *options, int *code)
{
    if (nn_arithmetic_named(optarg, &options->arithmetic)) {
        options->arithmetic_name = nn_arithmetic_name(options->arithmetic);
        return true;
    }
    *code = fail(PROGRAM, EXIT_USAGE, "--arithmetic is '%s'; give auto, exact or fast", optarg);
    return false;
}

static bool list_shapes(output *out, int *code)
{
    char *list = synthetic_list();
    if (!list)
        *code = fail(PROGRAM, EXIT_MEMORY, "out of memory for the list of shapes");
    output_text(out, list ? list : "");
    free(list);
    return false;
}

/* Which options only a model has; the last one given stands in the message. */
static const char *model_option(int option)
{
    switch (option) {
    case 'p':
        return "--prompt";
    case 'g':
        return "--generate";
    case 'i':
        return "--image";
    case 's':
        return "--set";
    case OPTION_PROFILE:
        return "--profile";
    default:
        return NULL;
    }
}

/* An option that does nothing for what is measured would let its figures pass for others. */
static int check_use(const bench_options *options, const char *of_models)
{
    const char *what = options->what ? options->what : "";
    bool products = !strcmp(what, "gemm") || !strcmp(what, "decode");
    bool machine = !strcmp(what, "threads") || !strcmp(what, "limits");
    if (options->weights_given && machine)
        return fail(PROGRAM, EXIT_USAGE, "'%s' has no weights: --weights goes with gemm and decode", what);
    if (options->weights_given && !products)
        return fail(PROGRAM, EXIT_USAGE,
                    "--weights goes with gemm and decode; give a model's with --set llm.quantize=TYPE, or with "
                    "--synthetic NAME:FORMAT");
    if (options->device && !strcmp(what, "threads"))
        return fail(PROGRAM, EXIT_USAGE,
                    "'threads' is of the CPU alone: --device goes with a model, gemm, decode and limits");
    if (of_models && (products || machine))
        return fail(PROGRAM, EXIT_USAGE,
                    "%s goes with a model, not with '%s': give an INI file, a preset or --synthetic NAME", of_models,
                    what);
    return EXIT_SUCCESS;
}

/* False where nothing is left to do: --help was printed, or *code says what is wrong. */
static bool take_option(bench_options *options, int option, output *out, int *code)
{
    switch (option) {
    case OPTION_SYNTHETIC:
        options->synthetic = optarg;
        return true;
    case 'p':
        return take_number(PROGRAM, "--prompt", optarg, 1, 1 << 20, &options->prompt, code);
    case 'g':
        return take_number(PROGRAM, "--generate", optarg, 1, 1 << 20, &options->generate, code);
    case 'i':
        options->image = optarg;
        return true;
    case 's':
        options->assignments[options->assignment_count++] = optarg;
        return true;
    case OPTION_DEVICE:
        options->device = optarg;
        return true;
    case 'w':
        return take_weights(options, code);
    case 'a':
        return take_arithmetic(options, code);
    case 't':
        return take_number(PROGRAM, "--threads", optarg, 0, 1024, &options->threads, code);
    case 'r':
        return take_rounds(options, code);
    case OPTION_ONLY:
        options->only = optarg;
        return true;
    case OPTION_PROFILE:
        options->profile = true;
        return true;
    case OPTION_READ:
        return take_number(PROGRAM, "--read-mib", optarg, 1, 1 << 20, &options->read_mib, code);
    case OPTION_JSON:
        options->as_json = true;
        return true;
    case OPTION_COMPARE:
        options->compare = optarg;
        return true;
    case OPTION_LIST:
        return list_shapes(out, code);
    case 'h':
        output_text(out, help_text);
        return false;
    case OPTION_VERSION:
        output_text(out, "llavamore " LLAVAMORE_VERSION "\n");
        return false;
    default:
        *code = EXIT_USAGE; /* getopt has printed its line */
        return false;
    }
}

static nn_storage default_weights(const bench_options *options)
{
    bool on_cpu = !options->device || !strcmp(options->device, "cpu");
    return on_cpu && options->what && !strcmp(options->what, "gemm") ? NN_F32 : NN_F16;
}

bool arguments_parse(int argc, char **argv, output *out, bench_options *options, int *code)
{
    static char name[] = PROGRAM;
    const char *of_models = NULL; /* an option that only a model has */
    *options = (bench_options){.rounds = 7, .prompt = 512, .generate = 32, .read_mib = 1024};
    *code = EXIT_SUCCESS;
    options->assignments = calloc((size_t)argc + 1, sizeof *options->assignments);
    if (!options->assignments) {
        *code = fail(PROGRAM, EXIT_MEMORY, "out of memory for %d arguments", argc);
        return false;
    }
    if (argc > 0)
        argv[0] = name; /* getopt's messages begin with it: the installed name, not libtool's */
    for (int option; (option = getopt_long(argc, argv, "p:g:i:s:w:a:t:r:h", long_options, NULL)) != -1;) {
        of_models = model_option(option) ? model_option(option) : of_models;
        if (!take_option(options, option, out, code))
            return false;
    }
    if (argc - optind > 1)
        *code = fail(PROGRAM, EXIT_USAGE, "one thing at a time: '%s' and '%s'", argv[optind], argv[optind + 1]);
    else if (argc - optind == 1 && options->synthetic)
        *code =
            fail(PROGRAM, EXIT_USAGE, "'%s' and --synthetic %s: give one of them", argv[optind], options->synthetic);
    else if (argc - optind == 0 && !options->synthetic)
        *code = fail(PROGRAM, EXIT_USAGE,
                     "what? Give an INI file, a preset, --synthetic NAME, gemm, decode, threads or limits");
    options->what = argc - optind == 1 ? argv[optind] : NULL;
    if (*code == EXIT_SUCCESS)
        *code = check_use(options, of_models);
    if (!options->weights_given)
        options->weights = default_weights(options);
    return *code == EXIT_SUCCESS;
}

void arguments_clear(bench_options *options)
{
    free(options->assignments);
    options->assignments = NULL;
}
