/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore-bench perplexity: how well a model predicts a text, or the answers to questions about pictures, and how far
 * its distribution of the next token is from that of a reference.
 */
#include "perplexity.h"

#include "base/json.h"
#include "base/memory.h"
#include "bench.h"

#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const char help_text[] =
    "Usage: llavamore-bench perplexity MODEL --text FILE [OPTION]...\n"
    "       llavamore-bench perplexity MODEL --questions FILE [OPTION]...\n"
    "\n"
    "How well the language model of MODEL (an INI file, or the name of a preset) predicts a text, or its\n"
    "answers to questions about pictures. exp(mean of -ln p(token)) over the tokens that count, with its\n"
    "standard error. Of a text those are the second halves of windows that follow one another, each beginning\n"
    "with the BOS where the tokenizer has one (as ggml's perplexity tool counts); of a conversation the answer's, up "
    "to and\n"
    "with the one that ends it.\n"
    "\n"
    "      --text FILE         a text in UTF-8; '-' is standard input\n"
    "      --questions FILE    lines of {\"image\", \"question\", \"answer\"}; images relative to FILE\n"
    "      --context N         tokens of a window of text (default: 512)\n"
    "      --limit N           at most N windows or questions (default: all)\n"
    "  -s, --set SEC.KEY=VALUE override one key of MODEL; may be repeated\n"
    "      --reference FILE    also the KL divergence from the distribution of this model (INI file or preset), or\n"
    "                          from logits that were saved\n"
    "      --reference-set SEC.KEY=VALUE  override one key of the reference's INI file; alone: of MODEL's\n"
    "      --save-logits FILE  save the logits: 4 bytes times the vocabulary for each token that counts\n"
    "      --json              print JSON\n"
    "  -h, --help              print this text\n";

enum {
    OPTION_JSON = 256,
    OPTION_TEXT,
    OPTION_QUESTIONS,
    OPTION_CONTEXT,
    OPTION_LIMIT,
    OPTION_REFERENCE,
    OPTION_REFERENCE_SET,
    OPTION_SAVE
};

static const struct option long_options[] = {
    {"text", required_argument, NULL, OPTION_TEXT},
    {"questions", required_argument, NULL, OPTION_QUESTIONS},
    {"context", required_argument, NULL, OPTION_CONTEXT},
    {"limit", required_argument, NULL, OPTION_LIMIT},
    {"set", required_argument, NULL, 's'},
    {"reference", required_argument, NULL, OPTION_REFERENCE},
    {"reference-set", required_argument, NULL, OPTION_REFERENCE_SET},
    {"save-logits", required_argument, NULL, OPTION_SAVE},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

#define LOGIT_BYTES ((int64_t)128 << 20) /* of one model at a time */
#define LONGEST 1073741824

typedef struct perplexity_options {
    subject_config model, reference;
    const char *text, *questions, *reference_name, *save;
    int64_t context, limit;
    bool as_json;
} perplexity_options;

/* One run: everything but the first two is owned by it. */
typedef struct measurement {
    interrupt *watcher;
    const perplexity_options *options;
    subject model, other;  /* the reference, where it is a model */
    saved_logits from, to; /* the reference, where it is a file; what is saved */
    passages passages;
    float *logits, *reference; /* [step, vocabulary]; reference is NULL without one */
    int64_t step, vocabulary;
    token_score *scores; /* [passages.counted] */
    int64_t done;
} measurement;

static bool has_reference(const measurement *m)
{
    return m->other.assembly || m->from.file;
}

/* ---- Measuring --------------------------------------------------------------------------------------------------- */

static more_status read_passages(const perplexity_options *options, const subject *model, passages *list,
                                 more_error *error)
{
    return options->text ? passages_of_text(model, options->text, options->context, options->limit, list, error)
                         : passages_of_questions(model, options->questions, options->limit, list, error);
}

/* The reference must read the same ids into a vocabulary of the same size. */
static more_status open_reference(measurement *m, more_error *error)
{
    const perplexity_options *options = m->options;
    const char *name = options->reference_name;
    int64_t vocabulary;
    uint64_t digest = passages_digest(&m->passages), other;
    if (name && saved_logits_recognise(name)) {
        more_status status = saved_logits_open(name, &m->from, error);
        if (status != MORE_OK)
            return status;
        vocabulary = m->from.vocabulary;
        other = m->from.digest;
    } else {
        passages same = {0};
        more_status status = subject_open(&options->reference, m->watcher, &m->other, error);
        if (status == MORE_OK)
            status = read_passages(options, &m->other, &same, error);
        other = passages_digest(&same);
        passages_free(&same);
        if (status != MORE_OK)
            return status;
        vocabulary = m->other.assembly->language_info.vocabulary;
        name = options->reference.ini;
    }
    if (vocabulary != m->vocabulary)
        return more_fail(error, MORE_ERROR_ARGUMENT, "%s: its vocabulary is %lld, that of %s %lld: no reference for it",
                         name, (long long)vocabulary, options->model.ini, (long long)m->vocabulary);
    if (other != digest)
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "%s: its tokens are not those of %s: another text, another --context or --limit, or another "
                         "tokenizer",
                         name, options->model.ini);
    if (m->from.file && m->from.rows != m->passages.counted)
        return more_fail(error, MORE_ERROR_CORRUPT,
                         "%s: it has %lld rows of logits, but of its tokens %lld count: save it again", name,
                         (long long)m->from.rows, (long long)m->passages.counted);
    return MORE_OK;
}

static more_status prepare(measurement *m, more_error *error)
{
    const perplexity_options *options = m->options;
    more_status status = subject_open(&options->model, m->watcher, &m->model, error);
    if (status == MORE_OK)
        status = read_passages(options, &m->model, &m->passages, error);
    if (status != MORE_OK)
        return status;
    m->vocabulary = m->model.assembly->language_info.vocabulary;
    if (options->reference.ini)
        status = open_reference(m, error);
    if (status == MORE_OK && options->save)
        status = saved_logits_create(options->save, m->vocabulary, m->passages.counted, passages_digest(&m->passages),
                                     &m->to, error);
    if (status != MORE_OK)
        return status;
    m->step = LOGIT_BYTES / (m->vocabulary * (int64_t)sizeof(float));
    m->step = m->step < 1 ? 1 : m->step > 512 ? 512 : m->step;
    m->logits = core_floats(m->step, m->vocabulary);
    m->reference = has_reference(m) ? core_floats(m->step, m->vocabulary) : NULL;
    m->scores = calloc((size_t)m->passages.counted, sizeof *m->scores);
    if (!m->logits || !m->scores || (has_reference(m) && !m->reference))
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for the logits of %lld tokens", (long long)m->step);
    return MORE_OK;
}

/* The next `count` tokens of a passage. */
static more_status score_step(measurement *m, reader *model, reader *other, int64_t count, more_error *error)
{
    const int32_t *tokens = model->passage->ids.data + model->next + 1;
    if (interrupt_seen(m->watcher))
        return MORE_ERROR_CANCELLED;
    more_status status = reader_next(model, count, m->logits, error);
    if (status == MORE_OK && other->subject)
        status = reader_next(other, count, m->reference, error);
    if (status == MORE_OK && m->from.file)
        status = saved_logits_read(&m->from, count, m->reference, error);
    if (status == MORE_OK && m->to.file)
        status = saved_logits_write(&m->to, count, m->logits, error);
    for (int64_t i = 0; i < count && status == MORE_OK; i++)
        if (!token_score_make(m->logits + i * m->vocabulary, m->reference ? m->reference + i * m->vocabulary : NULL,
                              m->vocabulary, tokens[i], &m->scores[m->done++]))
            status = more_fail(error, MORE_ERROR_INTERNAL, "a logit is not a number, %lld tokens that count into it",
                               (long long)m->done);
    return status;
}

static more_status score_passage(measurement *m, const passage *one, more_error *error)
{
    reader model = {0}, other = {0};
    int64_t left = (int64_t)(one->ids.count - one->first);
    more_status status = reader_begin(&m->model, one, &model, error);
    if (status == MORE_OK && m->other.assembly)
        status = reader_begin(&m->other, one, &other, error);
    while (status == MORE_OK && left > 0) {
        int64_t count = left < m->step ? left : m->step;
        status = score_step(m, &model, &other, count, error);
        left -= count;
    }
    reader_end(&model);
    reader_end(&other);
    return status;
}

/* How far it is, for someone who waits at a terminal. */
static void show_progress(const measurement *m, size_t done)
{
    if (!isatty(STDERR_FILENO))
        return;
    fprintf(stderr, done < m->passages.count ? "\r%zu of %zu " : "\r\033[K", done, m->passages.count);
    fflush(stderr);
}

static more_status measure(measurement *m, more_error *error)
{
    more_status status = prepare(m, error);
    for (size_t i = 0; i < m->passages.count && status == MORE_OK; i++) {
        status = score_passage(m, &m->passages.list[i], error);
        show_progress(m, i + 1);
    }
    return status == MORE_OK && m->to.file ? saved_logits_finish(&m->to, error) : status;
}

static void finish(measurement *m)
{
    saved_logits_close(&m->from);
    saved_logits_close(&m->to);
    passages_free(&m->passages);
    free(m->logits);
    free(m->reference);
    free(m->scores);
    subject_close(&m->model);
    subject_close(&m->other);
}

/* ---- The report -------------------------------------------------------------------------------------------------- */

static json_t *estimate_json(estimate of)
{
    return json_pack("{s:f, s:f}", "value", of.value, "error", of.error);
}

static json_t *assignments_json(const subject_config *config)
{
    json_t *list = json_array();
    for (int i = 0; i < config->assignment_count; i++)
        json_array_append_new(list, core_json_text(config->assignments[i]));
    return list;
}

static json_t *report(const measurement *m, const summary *s)
{
    const perplexity_options *options = m->options;
    json_t *all = json_pack(
        "{s:o, s:o, s:s, s:o, s:I, s:I, s:I, s:I, s:o}", "model", core_json_text(options->model.ini), "set",
        assignments_json(&options->model), "of", options->text ? "text" : "questions", "file",
        core_json_text(options->text ? options->text : options->questions), "tokens", (json_int_t)m->passages.tokens,
        "passages", (json_int_t)m->passages.count, "counted", (json_int_t)m->passages.counted, "vocabulary",
        (json_int_t)m->vocabulary, "perplexity", estimate_json(s->perplexity));
    if (all && options->text)
        json_object_set_new(all, "context", json_integer(options->context));
    if (all && has_reference(m))
        json_object_set_new(
            all, "reference",
            json_pack("{s:o, s:o, s:o, s:o, s:o, s:f, s:f, s:f, s:o, s:f}", "model",
                      core_json_text(options->reference_name ? options->reference_name : options->reference.ini), "set",
                      assignments_json(&options->reference), "perplexity", estimate_json(s->reference),
                      "relative_change", estimate_json(s->relative_change), "divergence", estimate_json(s->divergence),
                      "divergence_median", s->divergence_median, "divergence_99", s->divergence_99, "divergence_most",
                      s->divergence_most, "same_top", estimate_json(s->same_top), "probability_change",
                      s->probability_change));
    return all;
}

static double value_at(const json_t *object, const char *key, const char *part)
{
    const json_t *value = json_object_get(object, key);
    return json_real_value(part ? json_object_get(value, part) : value);
}

static void layout(FILE *file, const json_t *json)
{
    const json_t *other = json_object_get(json, "reference");
    fprintf(file, "%lld %s, %lld tokens count\n", (long long)json_integer_value(json_object_get(json, "passages")),
            json_object_get(json, "context") ? "windows" : "questions",
            (long long)json_integer_value(json_object_get(json, "counted")));
    fprintf(file, "perplexity       %.5f +- %.5f\n", value_at(json, "perplexity", "value"),
            value_at(json, "perplexity", "error"));
    if (!other)
        return;
    fprintf(file, "reference        %.5f +- %.5f\n", value_at(other, "perplexity", "value"),
            value_at(other, "perplexity", "error"));
    fprintf(file, "change           %+.4f %% +- %.4f %%\n", 100.0 * value_at(other, "relative_change", "value"),
            100.0 * value_at(other, "relative_change", "error"));
    fprintf(file, "KL divergence    mean %.3g +- %.2g, median %.3g, 99th percentile %.3g, most %.3g\n",
            value_at(other, "divergence", "value"), value_at(other, "divergence", "error"),
            value_at(other, "divergence_median", NULL), value_at(other, "divergence_99", NULL),
            value_at(other, "divergence_most", NULL));
    fprintf(file, "same top token   %.3f %% +- %.3f %%\n", 100.0 * value_at(other, "same_top", "value"),
            100.0 * value_at(other, "same_top", "error"));
    fprintf(file, "p(token) moved   %.4f %% (root mean square)\n", 100.0 * value_at(other, "probability_change", NULL));
}

/* SIGTERM ends a run as Ctrl-C does: with what was begun removed. */
static void pass_on(int number)
{
    (void)number;
    kill(getpid(), SIGINT);
}

static int run(const perplexity_options *options, output *out)
{
    more_error error = {{0}};
    summary s;
    measurement m = {.watcher = interrupt_create(), .options = options};
    if (m.watcher)
        signal(SIGTERM, pass_on);
    more_status status = measure(&m, &error);
    if (status == MORE_OK)
        status = scores_summarise(m.scores, (size_t)m.done, has_reference(&m), &s, &error);
    if (status == MORE_OK) {
        json_t *json = report(&m, &s);
        status = print_report(out, json, options->as_json, layout, &error);
        json_decref(json);
    }
    finish(&m);
    signal(SIGTERM, SIG_DFL); /* nothing is left to remove */
    interrupt_destroy(m.watcher);
    return status == MORE_OK ? EXIT_SUCCESS : fail_status(PROGRAM, status, &error);
}

/* ---- The command line -------------------------------------------------------------------------------------------- */

/* False when *code says what to leave with. */
static bool take_option(perplexity_options *options, const char **sets[2], int option, output *out, int *code)
{
    switch (option) {
    case OPTION_TEXT:
        options->text = optarg;
        break;
    case OPTION_QUESTIONS:
        options->questions = optarg;
        break;
    case OPTION_CONTEXT:
        return take_number(PROGRAM, "--context", optarg, 4, LONGEST, &options->context, code);
    case OPTION_LIMIT:
        return take_number(PROGRAM, "--limit", optarg, 1, LONGEST, &options->limit, code);
    case 's':
        sets[0][options->model.assignment_count++] = optarg;
        break;
    case OPTION_REFERENCE:
        options->reference_name = optarg;
        break;
    case OPTION_REFERENCE_SET:
        sets[1][options->reference.assignment_count++] = optarg;
        break;
    case OPTION_SAVE:
        options->save = optarg;
        break;
    case OPTION_JSON:
        options->as_json = true;
        break;
    case 'h':
        output_text(out, help_text);
        *code = EXIT_SUCCESS;
        return false;
    default:
        *code = EXIT_USAGE; /* getopt has printed its line */
    }
    return *code == EXIT_SUCCESS;
}

/* The rules that span several options. */
static int check(perplexity_options *options, int count, char **names)
{
    if (count != 1)
        return fail(PROGRAM, EXIT_USAGE, "perplexity of what? Give one INI file or preset (see perplexity --help)");
    if (!options->text == !options->questions)
        return fail(PROGRAM, EXIT_USAGE, "give one of --text FILE and --questions FILE");
    if (options->questions && options->context)
        return fail(PROGRAM, EXIT_USAGE, "--context goes with --text: a question is a passage of its own");
    if (!options->context)
        options->context = 512;
    options->model.ini = names[0];
    options->model.eyes = options->reference.eyes = options->questions != NULL;
    options->reference.ini = options->reference_name;
    if (!options->reference_name && options->reference.assignment_count)
        options->reference.ini = names[0];
    if (options->reference_name && options->reference.assignment_count &&
        saved_logits_recognise(options->reference_name))
        return fail(PROGRAM, EXIT_USAGE, "%s is a file of saved logits: --reference-set cannot change them",
                    options->reference_name);
    if (!strcmp(options->text ? options->text : options->questions, "-") && options->reference.ini &&
        !saved_logits_recognise(options->reference.ini))
        return fail(PROGRAM, EXIT_USAGE, "two models read the %s, but standard input can be read only once",
                    options->text ? "text" : "questions");
    return EXIT_SUCCESS;
}

int bench_perplexity(int argc, char **argv, output *out)
{
    perplexity_options options = {0};
    int code = EXIT_SUCCESS;
    const char **sets[2] = {calloc((size_t)argc, sizeof(char *)), calloc((size_t)argc, sizeof(char *))};
    bool go = sets[0] && sets[1];
    if (!go)
        code = fail(PROGRAM, EXIT_MEMORY, "out of memory for %d arguments", argc);
    options.model.assignments = sets[0];
    options.reference.assignments = sets[1];
    optind = 0; /* from the beginning: a new list of arguments */
    for (int option; go && (option = getopt_long(argc, argv, "s:h", long_options, NULL)) != -1;)
        go = take_option(&options, sets, option, out, &code);
    if (go)
        code = check(&options, argc - optind, argv + optind);
    if (go && code == EXIT_SUCCESS)
        code = run(&options, out);
    free(sets[0]);
    free(sets[1]);
    return code;
}
