/* SPDX-License-Identifier: Apache-2.0
 *
 * sdk/nn: the kernel toolkit that plugins link statically. A small set of eager operators, each behind one table of
 * kernels that is chosen once by instruction set, and weights packed at load for the kernel that reads them.
 *
 * Conventions. Activations are f32, row-major, contiguous unless a stride is named: [rows, width]. B = batch, T = rows
 * (tokens), C = channels, H = query heads, G = key-value heads, D = head dimension. Every operator accumulates in f32,
 * accepts 0 rows, and gives bit-identical results for a row whatever else is in the call and however many threads run
 * (on one machine: another kernel variant sums in vectors of another width; nn_arithmetic names one exception).
 * Output may be the input's buffer where "in place" is said. All are [any-thread] for different outputs.
 */
#ifndef LLAVAMORE_NN_H
#define LLAVAMORE_NN_H

#include <llavamore/backbone.h>

/* ---- Context ---------------------------------------------------------------------------------------------------- */

/* The host's services looked up once, the kernel table of this CPU, and reusable scratch memory. One a device of an
 * instance. */
typedef struct nn_context nn_context;
typedef struct nn_arena nn_arena; /* see nn_arena_begin */

/* MORE_ERROR_UNSUPPORTED names the service that the host lacks. LLAVAMORE_CPU=baseline|avx2|avx512|avx512vnni|
 * avx512bf16|amx (the instruction set to use) overrides the choice; an unknown value or one the CPU lacks is
 * MORE_ERROR_ARGUMENT. The choice is logged. */
more_status nn_context_create(const more_host *host, nn_context **context, more_error *error);
/* Every matrix, vector, cache and arena of it must be freed before; NULL is allowed. */
void nn_context_destroy(nn_context *context);
/* The name of its kernel table, one of those above. */
const char *nn_context_kernels(const nn_context *context);

/* The arithmetic of nn_linear. */
typedef enum nn_arithmetic {
    NN_ARITHMETIC_AUTO,  /* f32 for float weights; for quantised ones activations become 8-bit numbers, int8 products */
    NN_ARITHMETIC_EXACT, /* f32 always, quantised weights widened to what they stand for */
    NN_ARITHMETIC_FAST,  /* float weights too in 16-bit products where the CPU has them, else as AUTO */
} nn_arithmetic;
/* "auto", "exact" or "fast". */
const char *nn_arithmetic_name(nn_arithmetic arithmetic);
/* False when no arithmetic has that name. */
bool nn_arithmetic_named(const char *name, nn_arithmetic *arithmetic);
/* AUTO at first. Before the context is shared between threads. Logs what it means here.
 *
 * 16-bit products round each factor to bf16, to nearest even: by at most 2^-8 of itself, so that sum_i x_i w_i is off
 * by at most (2^-7 + 2^-16) sum_i |x_i w_i|, and sums are f32. The rounding is the same for one row, few and many, and
 * so are a row's bits. Kernels: the bf16 dot product (CPUs of AMD; Intel's is slower than f32 and not chosen) and the
 * bf16 tiles of AMX. Without memory for the rounded activations a call is answered as by AUTO.
 *
 * The exceptions to bit-identical rows: on a CUDA device, calls of more than 8 rows round activations to the type of
 * 16-bit weights, for tensor cores, in AUTO and FAST alike, where fewer rows are taken as f32; EXACT is f32 by one
 * kernel there. And with AMX, calls of 32 rows and more go through 16-bit products with quantised weights also in AUTO
 * (which is closer to the weights than int8 products are), calls of fewer rows through int8. */
void nn_context_set_arithmetic(nn_context *context, nn_arithmetic arithmetic);

void nn_log(nn_context *context, more_log_level level, const char *component, const char *format, ...)
    MORE_PRINTF(4, 5);
void nn_progress(nn_context *context, const char *stage, int64_t done, int64_t total);
bool nn_cancelled(nn_context *context);
/* The host's parallel_for. */
void nn_parallel(nn_context *context, int64_t items, int64_t grain, more_range_function body, void *argument);

/* ---- Where operators work --------------------------------------------------------------------------------------- */

/* A context works on the host, or on one CUDA device: in order, on a stream of its own, while the caller goes on. All
 * pointers that operators are given are to memory of that kind, but for those that say "host". nn_alloc_f32 and arenas
 * give it; loaded matrices, vectors and caches lie in it. On the host it is plain memory and the functions below are
 * memcpy and memset. An operator that fails on the device is told of by nn_settled. */

/* Before anything is loaded: MORE_ERROR_UNSUPPORTED where this build of the plugin (its name, for the message) has no
 * kernels for the device. */
more_status nn_context_set_device(nn_context *context, const char *plugin, DLDevice device, more_error *error);
bool nn_on_host(const nn_context *context);
#define NN_PLACES 8 /* contexts, and so devices, that the layers of one model may be spread over */
/* `count` zeroed floats, 64-byte aligned. NULL when out of memory, or when count is negative or its bytes overflow. */
float *nn_alloc_f32(nn_context *context, int64_t count);
/* Gives back what nn_alloc_f32 or a vector loader gave; NULL is allowed. */
void nn_free(nn_context *context, void *memory);
/* Either side may be the host's too. What goes to the host is there on return; what comes from it was taken. */
void nn_copy(nn_context *context, void *to, const void *from, size_t bytes);
void nn_zero(nn_context *context, void *to, size_t bytes);
/* `count` floats from where one context works to where another does. */
void nn_move_f32(nn_context *from, const float *x, nn_context *to, float *y, int64_t count);
/* The first rows of a tensor on the host, where operators can read them: itself, or a copy in the arena. NULL when out
 * of memory. */
const float *nn_bring(nn_arena *arena, const float *values, int64_t count);
/* A place in the arena for what is to be given to `values` on the host by nn_copy; `values` itself on the host. NULL
 * when out of memory. */
float *nn_stand_in(nn_arena *arena, float *values, int64_t count);
/* Makes the device current in this thread: in every function that a host may call, before its first operator. */
more_status nn_begin(nn_context *context, more_error *error);
/* The status of a function that ran operators: what failed on the device, in its words, also where `status` is only
 * MORE_ERROR_MEMORY; else `status`. Does not wait: what is not copied to the host may fail later. */
more_status nn_settled(nn_context *context, more_status status, more_error *error);

/* ---- Scratch ----------------------------------------------------------------------------------------------------- */

/* A stack of f32 scratch buffers for the length of one forward call: take several, release all at once. Kept and reused
 * by later calls; separate calls in separate threads get separate arenas. */
nn_arena *nn_arena_begin(nn_context *context);           /* NULL when out of memory */
float *nn_arena_f32(nn_arena *arena, int64_t count);     /* 64-byte aligned, uninitialised; NULL when out of memory */
void nn_arena_end(nn_context *context, nn_arena *arena); /* NULL is allowed */

/* ---- Storage ----------------------------------------------------------------------------------------------------- */

/* How a packed matrix stores its elements. The quantised kinds have a scale (and minimum), each f16, for every
 * NN_BLOCK columns of a row: just what GGUF's Q8_0, Q4_0 and Q4_1 hold. */
typedef enum nn_storage {
    NN_F32,
    NN_F16,
    NN_BF16,
    NN_Q8,        /* scale * q, q of 8 bits, signed */
    NN_Q4,        /* scale * (n - 8), n of 4 bits */
    NN_Q4_OFFSET, /* scale * n + minimum */
    NN_STORAGES,
} nn_storage;
#define NN_FLOATS 3 /* the first three are not quantised */
#define NN_BLOCK 32 /* columns that share a scale */

/* "f32", "f16", "bf16", "q8", "q4" or "q4_1". */
const char *nn_storage_name(nn_storage storage);
/* False when no storage has that name. */
bool nn_storage_named(const char *name, nn_storage *storage);

/* ---- Reading config and weights --------------------------------------------------------------------------------- */

/* The host's weights service bound to one checkpoint; every error names the file and the key or tensor. */
typedef struct nn_source {
    nn_context *context;
    const more_weights_service *weights;
    more_checkpoint *checkpoint;
    bool metadata_only;  /* check shapes, load nothing: loaders below then succeed with NULL results */
    nn_storage quantise; /* a quantised storage: matrices of more bits an element become that; else all stay as they
                            are stored. NN_F32 once opened */
} nn_source;

more_status nn_source_open(nn_context *context, const more_open *arguments, nn_source *source, more_error *error);

/* Required integer within [minimum, maximum], e.g. "hidden_size". */
more_status nn_config_int64(const nn_source *source, const char *key, int64_t minimum, int64_t maximum, int64_t *value,
                            more_error *error);
/* As above, keeping *value when the key is absent. */
more_status nn_config_int64_or(const nn_source *source, const char *key, int64_t minimum, int64_t maximum,
                               int64_t *value, more_error *error);
more_status nn_config_double_or(const nn_source *source, const char *key, double *value, more_error *error);
more_status nn_config_bool_or(const nn_source *source, const char *key, bool *value, more_error *error);
more_status nn_config_string_or(const nn_source *source, const char *key, const char **value, more_error *error);

/* ---- Weights ---------------------------------------------------------------------------------------------------- */

/* A matrix [rows, columns] (out features, in features), packed for the matrix kernels in its own storage: on a device
 * rows, of floats alone; on the host panels of
 * NN_PANEL rows, column by column (quantised: four columns by four), so that one stream of memory serves both one row
 * of activations and many. Read-only once loaded, so that sessions share it. */
#define NN_PANEL 16
typedef struct nn_matrix nn_matrix;

/* The stored formats that matrices and vectors are loaded from, as describe() of a backbone lists them. */
#define NN_WEIGHT_FORMATS "f32 f16 bf16 gguf.q8_0 gguf.q4_0 gguf.q4_1 gguf.q4_K gguf.q5_K gguf.q6_K"

/* Packs tensor `name`, whose shape must be [rows, columns] (further dimensions of the file count into columns, as of a
 * convolution kernel). Runs on all threads, with the matrix's memory and that of some rows a thread; the file's pages
 * are given back (see more_weights_service.drop). Floats keep their type, GGUF's Q8_0, Q4_0 and Q4_1 their numbers;
 * Q4_K becomes NN_Q4_OFFSET, Q5_K and Q6_K become NN_Q8, as does any format of blocks whose numbers come changed (an
 * adapter is merged into them). Then source->quantise, see there. */
more_status nn_matrix_load(const nn_source *source, const char *name, int64_t rows, int64_t columns, nn_matrix **matrix,
                           more_error *error);
/* The rows of several tensors stacked into one matrix (query, key, value; gate, up), so that they share one pass over
 * the activations. Its storage is the smallest that holds them all: parts of different quantised kinds meet in NN_Q8
 * (off by at most 1/254 of a block's largest number, a fraction of their own steps), or in NN_Q4_OFFSET where only
 * source->quantise made one of them NN_Q4; quantised and f16 in NN_F16; other floats in NN_F32. */
more_status nn_matrix_load_stacked(const nn_source *source, int32_t count, const char *const *names,
                                   const int64_t *rows, int64_t columns, nn_matrix **matrix, more_error *error);
/* Checks all that nn_matrix_load_stacked checks before it reads, and says how the matrix would be stored. */
more_status nn_matrix_check(const nn_source *source, int32_t count, const char *const *names, const int64_t *rows,
                            int64_t columns, nn_storage *storage, more_error *error);
/* From f32 values in memory, rounded or quantised (as nn_quantise does) to `storage`; for tests and synthetic weights.
 */
more_status nn_matrix_pack(nn_context *context, const float *values, int64_t rows, int64_t columns, nn_storage storage,
                           nn_matrix **matrix, more_error *error);
/* The packed matrix's rows back as f32 [count, columns]: embedding lookup of ids, which are on the host, and training.
 * Every id must be in [0, rows of the matrix). */
void nn_matrix_rows(nn_context *context, const nn_matrix *matrix, const int32_t *ids, int64_t count, float *rows);
void nn_matrix_free(nn_context *context, nn_matrix *matrix); /* NULL is allowed */
/* Bytes of the packed values on the host, padding included. */
int64_t nn_matrix_bytes(int64_t rows, int64_t columns, nn_storage storage);
/* A vector of `count` elements as f32: biases, norms, class tokens, position tables (any rank, flattened). */
more_status nn_vector_load(const nn_source *source, const char *name, int64_t count, float **vector, more_error *error);
/* The same for a tensor that may be absent: *vector = NULL then. */
more_status nn_vector_load_optional(const nn_source *source, const char *name, int64_t count, float **vector,
                                    more_error *error);

/* ---- Linear: the one matrix entry ------------------------------------------------------------------------------- */

typedef enum nn_activation { NN_IDENTITY, NN_GELU_ERF, NN_GELU_TANH, NN_QUICK_GELU, NN_SILU } nn_activation;

/* y[t, o] = activation(sum_i x[t, i] W[o, i] + bias[o]) + residual[t, o]. bias and residual may be NULL; residual may
 * be y. y must not overlap x. Strides in elements; 0 = contiguous. With quantised weights, each block of NN_BLOCK
 * elements of a row of x is first rounded to max|x| / 127 times integers (unless arithmetic is EXACT). */
typedef struct nn_linear_args {
    const float *x; /* [rows, columns of W] */
    int64_t rows;
    int64_t x_stride;
    const nn_matrix *weight;
    const float *bias; /* [rows of W] */
    nn_activation activation;
    const float *residual; /* [rows, rows of W], stride y_stride */
    float *y;              /* [rows, rows of W] */
    int64_t y_stride;
} nn_linear_args;
void nn_linear(nn_context *context, const nn_linear_args *args);

/* ---- Norms, activations, element-wise --------------------------------------------------------------------------- */

/* y = (x - mean) / sqrt(variance + epsilon) * weight + bias, variance over the row, biased. In place allowed. */
void nn_layer_norm(nn_context *context, const float *x, int64_t rows, int64_t width, const float *weight,
                   const float *bias, float epsilon, float *y);
/* y = x / sqrt(mean(x^2) + epsilon) * (offset + weight); offset 0 (LLaMA) or 1 (Gemma). In place allowed. */
void nn_rms_norm(nn_context *context, const float *x, int64_t rows, int64_t width, const float *weight, float offset,
                 float epsilon, float *y);
/* y = activation(x), `count` elements, in place allowed. GELU as torch: erf, or its tanh form; quick = x
 * sigmoid(1.702x). */
void nn_activate(nn_context *context, nn_activation activation, const float *x, int64_t count, float *y);
/* y[t, i] = activation(x[t, i]) * x[t, width + i]: x is [rows, 2 width], gate first; y [rows, width]. */
void nn_glu(nn_context *context, nn_activation activation, const float *x, int64_t rows, int64_t width, float *y);
/* y[t, i] += scale[i] x[t, i]: LayerScale of a branch x [rows, width] */
void nn_add_scaled(nn_context *context, const float *x, const float *scale, int64_t rows, int64_t width, float *y);
/* y += x */
void nn_add(nn_context *context, const float *x, int64_t count, float *y);
/* y *= factor */
void nn_scale(nn_context *context, float factor, int64_t count, float *y);
/* y = cap tanh(y / cap): soft-capped logits, `count` elements, in place. */
void nn_softcap(nn_context *context, float cap, int64_t count, float *y);
/* Row-wise softmax, in place. */
void nn_softmax(nn_context *context, float *x, int64_t rows, int64_t width);

/* ---- Rotary embedding ------------------------------------------------------------------------------------------- */

/* Inverse frequencies 1 / theta^(2i/D), i < dimensions/2. Computed in f32 as the reference does. */
void nn_rotary_frequencies(double theta, int64_t dimensions, float *frequencies);
/* LLaMA-3.1's rule (LLAVA_MORE.md 7; transformers' _compute_llama3_parameters): long wavelengths are divided by
 * `factor`, short ones kept, those between are blended. In place. */
void nn_rotary_scale_llama3(float *frequencies, int64_t count, double factor, double low_factor, double high_factor,
                            double original_context);
/* LongRoPE's rule (transformers' _compute_longrope_parameters): every frequency of nn_rotary_frequencies divided by a
 * factor of its own, 1 / (factors[i] theta^(2i/D)), i < dimensions/2. A model has two such lists, of which the length
 * of the sequence picks one. */
void nn_rotary_frequencies_long(double theta, int64_t dimensions, const float *factors, float *frequencies);
/* LongRoPE's factor on cos and sin for a model trained at `original` rows and stretched to `context`: sqrt(1 +
 * ln(context / original) / ln(original)); 1 where nothing is stretched. `original` is above 1. */
double nn_rotary_attention_factor(double context, double original);
/* Rotates the first `dimensions` of each head of x [rows, heads, head_dimension] (row stride x_stride elements), half-
 * split pairs (i, i + dimensions/2), by positions[row] * frequencies; cos and sin times `attention_factor`. In place.
 */
void nn_rotary(nn_context *context, float *x, int64_t rows, int64_t x_stride, int64_t heads, int64_t head_dimension,
               int64_t dimensions, const float *frequencies, const int64_t *positions, float attention_factor);

/* ---- Attention -------------------------------------------------------------------------------------------------- */

/* Bidirectional attention of a vision encoder: for each of `batch` images, y = softmax(scale q k^T) v a head. q, k and
 * v are [batch * rows, heads * head_dimension] with a common row stride (they may lie in one fused buffer); y is [batch
 * * rows, heads * head_dimension] contiguous. counts, on the host (NULL = rows): keys of each image that exist. */
void nn_attention_full(nn_context *context, const float *query, const float *key, const float *value, int64_t stride,
                       int64_t batch, int64_t rows, const int64_t *counts, int64_t heads, int64_t head_dimension,
                       float scale, float *y);

/* A key-value cache: one sequence, all layers, in pages of NN_PAGE rows that forks share until one of them writes. The
 * layers of a sliding window have pages of their own, which are let go once no row to come can see them. */
#define NN_PAGE 32
#define NN_HEAD_DIMENSION 512 /* channels of the largest head, here and in nn_attention_full */
typedef struct nn_cache nn_cache;

typedef struct nn_cache_config {
    int64_t layers;
    int64_t key_value_heads;
    int64_t head_dimension; /* 1 to NN_HEAD_DIMENSION */
    nn_storage storage;     /* NN_F32, NN_F16, NN_BF16; or NN_Q8: a scale for each row's every NN_BLOCK channels */
    int64_t window;         /* rows that a query of a windowed layer sees, its own included; 0 = no layer has one */
    const bool *windowed;   /* [layers], owned by the caller, outlives every cache; NULL = with window > 0, all are */
    /* Where layers lie: index of a layer's context in `places`, both owned by the caller, outliving every cache; NULL =
     * all in the context given to nn_cache_create, and of the host for nn_cache_bytes. */
    nn_context *const *places;
    const int32_t *layer_places; /* [layers], below NN_PLACES; NULL = all in the first */
} nn_cache_config;

more_status nn_cache_create(nn_context *context, const nn_cache_config *config, nn_cache **cache, more_error *error);
void nn_cache_destroy(nn_cache *cache); /* NULL is allowed */
/* Shares every page (reference counts are atomic: forks live in different threads). The copy is of the table of pages
 * alone: some microseconds. Rows reserved or written, but not committed, stay behind. */
more_status nn_cache_fork(const nn_cache *cache, nn_cache **fork, more_error *error);
/* The context whose memory a layer lies in. */
nn_context *nn_cache_place(const nn_cache *cache, int64_t layer);
int64_t nn_cache_length(const nn_cache *cache);
/* The least length that it may be truncated to: 0, or what the windows that were let go allow, which is at least the
 * last NN_PAGE rows back. */
int64_t nn_cache_floor(const nn_cache *cache);
/* Drops rows from `length` on. Nothing happens below the floor or past the end. */
void nn_cache_truncate(nn_cache *cache, int64_t length);
/* Makes room for `rows` more and copies a shared last page, before the first layer of a forward pass; on failure the
 * cache is as before. The rows count only after nn_cache_commit. */
more_status nn_cache_reserve(nn_cache *cache, int64_t rows, more_error *error);
/* Writes `rows` keys and values [rows, key_value_heads, head_dimension] (row stride in elements) of one layer behind
 * the committed rows. */
void nn_cache_write(nn_cache *cache, int64_t layer, int64_t rows, const float *key, const float *value, int64_t stride);
/* The rows written count from here on; what then lies before every window is let go. */
void nn_cache_commit(nn_cache *cache, int64_t rows);
/* Most bytes that a cache holds on its way to `rows` rows, none reserved: whole pages, of all layers. INT64_MAX for a
 * config that cannot be had. */
int64_t nn_cache_bytes(const nn_cache_config *config, int64_t rows);
/* The same of the layers in one place, while up to `chunk` rows are reserved in one call, which windowed layers hold
 * beside their windows. */
int64_t nn_cache_bytes_at_work(const nn_cache_config *config, int32_t place, int64_t rows, int64_t chunk);

/* Causal attention of `rows` queries [rows, heads, head_dimension] (row stride in elements), which are the last
 * written, not yet committed rows of the cache, over everything before and including each that the layer's window lets
 * it see. Grouped-query: head h reads key-value head h / (heads / key_value_heads). */
typedef struct nn_attention_args {
    const nn_cache *cache;
    int64_t layer;
    const float *query;
    int64_t rows;
    int64_t stride;
    int64_t heads;
    float scale;
    float softcap; /* 0 = none; else scores = softcap * tanh(scores / softcap) before the mask */
    float *y;      /* [rows, heads * head_dimension], contiguous */
} nn_attention_args;
void nn_attention_causal(nn_context *context, const nn_attention_args *args);

/* ---- Vision ----------------------------------------------------------------------------------------------------- */

/* Cuts pixels f32 [3, height, width] into patches of `patch` pixels, row-major, each as [3, patch, patch] flattened:
 * patches [grid_height * grid_width, 3 * patch * patch]. Pixels right of and below the last whole patch are dropped.
 * The patch convolution is then nn_linear with the kernel as a matrix. */
void nn_patches(nn_context *context, const float *pixels, int64_t height, int64_t width, int64_t patch, float *patches);

/* How nn_resize_table weighs its input. Half-pixel centres (align_corners = False): output position i lies at
 * (i + 0.5) in/out - 0.5 of the input. The antialiased filters widen by in/out where the table shrinks and are divided
 * by their sum over the table; the plain one repeats the table's ends. */
typedef enum nn_resize_filter {
    NN_RESIZE_BICUBIC,            /* Keys' cubic, a = -0.75, 4 positions an axis whatever the scale (DINOv2) */
    NN_RESIZE_BICUBIC_ANTIALIAS,  /* Keys' cubic, a = -0.5 as Pillow's (DINOv2 with registers) */
    NN_RESIZE_BILINEAR_ANTIALIAS, /* triangle (SigLIP2) */
} nn_resize_filter;

/* Resizes a table of positions [rows_in, columns_in, width] to resized [rows_out, columns_out, width], each channel by
 * itself, as torch.nn.functional.interpolate(mode, size = (rows_out, columns_out), antialias, align_corners = False)
 * resizes [1, width, rows_in, columns_in] in f32 (formulas: ATen's UpSample.h and UpSampleKernel.cpp, torch 2.9),
 * coefficients rounded alike: within 3e-7 of the largest magnitude. Only where the result is one column wide and the
 * number of rows changes is torch's antialiased result another: there it gives every row the same value, a fault of its
 * kernel that is not repeated here. A planar image [3, rows, columns] is resized plane by plane with width = 1.
 * `resized` must not overlap `table`; both are at least 1 x 1. */
void nn_resize_table(nn_context *context, const float *table, int64_t rows_in, int64_t columns_in, int64_t width,
                     int64_t rows_out, int64_t columns_out, nn_resize_filter filter, float *resized);

#endif
