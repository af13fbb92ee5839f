/* SPDX-License-Identifier: Apache-2.0
 *
 * Panels from the rows of a checkpoint, and rows back.
 */
#include <string.h>

#include "half.h"
#include "pack.h"
#include "quantise.h"

float nn_stored_value(nn_storage storage, const void *values, int64_t index)
{
    const char *at = (const char *)values + index * nn_storage_bytes(storage);
    uint16_t half;
    float value;
    if (storage == NN_F32) {
        memcpy(&value, at, sizeof value); /* a file's tensors need not be aligned */
        return value;
    }
    memcpy(&half, at, sizeof half);
    return storage == NN_F16 ? nn_f16_to_f32(half) : nn_bf16_to_f32(half);
}

void nn_store_value(nn_storage storage, void *values, int64_t index, float value)
{
    if (storage == NN_F32)
        ((float *)values)[index] = value;
    else
        ((uint16_t *)values)[index] = storage == NN_F16 ? nn_f32_to_f16(value) : nn_f32_to_bf16(value);
}

/* ---- Rows of a checkpoint --------------------------------------------------------------------------------------- */

enum {
    Q4_K_COLUMNS = 256, /* of a block: 8 sub-blocks of 32 */
    Q4_K_BYTES = 144,   /* two f16 that multiply the scales and the minima; 12 bytes of those; the numbers */
    Q4_K_SCALES = 4,
    Q4_K_NUMBERS = 16,
    BLOCK_MOST = 34 /* bytes of the largest block of 32 */
};

static nn_blocks row_blocks(nn_row_format format)
{
    return format == NN_ROW_Q8_0 ? NN_BLOCKS_Q8_0 : format == NN_ROW_Q4_0 ? NN_BLOCKS_Q4_0 : NN_BLOCKS_Q4_1;
}

static nn_blocks storage_blocks(nn_storage storage)
{
    return storage == NN_Q8 ? NN_BLOCKS_Q8_0 : storage == NN_Q4 ? NN_BLOCKS_Q4_0 : NN_BLOCKS_Q4_1;
}

int64_t nn_row_bytes(nn_row_format format, int64_t columns)
{
    if (format <= NN_ROW_BF16)
        return columns * nn_storage_bytes((nn_storage)format);
    if (format == NN_ROW_Q4_K)
        return nn_ceil_divide(columns, Q4_K_COLUMNS) * Q4_K_BYTES;
    return nn_blocks_bytes(row_blocks(format), columns);
}

/* Sub-block `sub` of a Q4_K block as a block of Q4_1, its scale and minimum rounded to f16. Scales and minima have 6
 * bits: those of the first four sub-blocks in the low bits of bytes 0 to 3 and 4 to 7, the others' low halves in bytes
 * 8 to 11 and their upper bits in the upper bits of the first eight. */
static void q4_1_of_q4_k(const uint8_t *block, int64_t sub, uint8_t *q4_1)
{
    const uint8_t *s = block + Q4_K_SCALES, *numbers = block + Q4_K_NUMBERS + sub / 2 * NN_BLOCK;
    int scale = s[sub % 4] & 63, minimum = s[4 + sub % 4] & 63, shift = sub % 2 ? 4 : 0;
    if (sub >= 4) {
        scale = (s[4 + sub] & 15) | (s[sub - 4] >> 6 << 4);
        minimum = s[4 + sub] >> 4 | (s[sub] >> 6 << 4);
    }
    uint16_t halves[2] = {nn_f32_to_f16(nn_f16_at(block) * (float)scale),
                          nn_f32_to_f16(-nn_f16_at(block + 2) * (float)minimum)};
    memcpy(q4_1, halves, sizeof halves);
    for (int i = 0; i < NN_BLOCK / 2; i++)
        q4_1[4 + i] = (uint8_t)((numbers[i] >> shift & 15) | (numbers[NN_BLOCK / 2 + i] >> shift & 15) << 4);
}

/* Elements [k, k + count) of a row as f32; k and count within one step. */
static void row_values(const void *row, nn_row_format format, int64_t k, int64_t count, float *values)
{
    if (!row) {
        memset(values, 0, (size_t)count * sizeof(float));
    } else if (format <= NN_ROW_BF16) {
        for (int64_t i = 0; i < count; i++)
            values[i] = nn_stored_value((nn_storage)format, row, k + i);
    } else if (format == NN_ROW_Q4_K) {
        for (int64_t i = 0; i < count; i += NN_BLOCK) {
            uint8_t block[BLOCK_MOST];
            q4_1_of_q4_k((const uint8_t *)row + (k + i) / Q4_K_COLUMNS * Q4_K_BYTES, (k + i) / NN_BLOCK % 8, block);
            nn_dequantise(NN_BLOCKS_Q4_1, block, nn_min(NN_BLOCK, count - i), values + i);
        }
    } else {
        nn_blocks blocks = row_blocks(format);
        nn_dequantise(blocks, (const uint8_t *)row + nn_blocks_bytes(blocks, k), count, values);
    }
}

/* ---- Quantised panels ------------------------------------------------------------------------------------------- */

/* Columns [k, k + count) of a row as the blocks of one step. */
static void step_blocks(const void *row, nn_row_format from, int64_t k, int64_t count, nn_storage to,
                        uint8_t blocks[2][BLOCK_MOST])
{
    nn_blocks kind = storage_blocks(to);
    int64_t bytes = nn_blocks_bytes(kind, 1);
    memset(blocks, 0, sizeof(uint8_t[2][BLOCK_MOST]));
    for (int64_t i = 0; i < 2 && i * NN_BLOCK < count && row; i++) {
        int64_t at = k + i * NN_BLOCK;
        if (from > NN_ROW_BF16 && from != NN_ROW_Q4_K && row_blocks(from) == kind) {
            memcpy(blocks[i], (const uint8_t *)row + at / NN_BLOCK * bytes, (size_t)bytes);
        } else if (from == NN_ROW_Q4_K && to == NN_Q4_OFFSET) {
            q4_1_of_q4_k((const uint8_t *)row + at / Q4_K_COLUMNS * Q4_K_BYTES, at / NN_BLOCK % 8, blocks[i]);
        } else {
            float values[NN_BLOCK];
            int64_t left = nn_min(NN_BLOCK, count - i * NN_BLOCK);
            row_values(row, from, at, left, values);
            nn_quantise(kind, values, left, blocks[i]);
        }
    }
}

static void write_words(uint8_t *at, const uint32_t *words, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        memcpy(at + i * NN_PANEL * 4, &words[i], 4);
}

static void write_numbers8(const uint8_t *bytes, uint8_t *numbers)
{
    uint32_t words[NN_BLOCK / 4];
    memcpy(words, bytes, sizeof words);
    for (int i = 0; i < NN_BLOCK / 4; i++)
        words[i] ^= 0x80808080u; /* q + 128 */
    write_words(numbers, words, NN_BLOCK / 4);
}

/* A block of 4-bit numbers has number i beside number 16 + i in a byte; the panel column i beside column 4 + i. */
static void write_numbers4(const uint8_t *bytes, uint8_t *numbers)
{
    uint32_t words[NN_BLOCK / 8], low = 0x0f0f0f0fu;
    memcpy(words, bytes, sizeof words);
    uint32_t pairs[NN_BLOCK / 8] = {
        (words[0] & low) | (words[1] & low) << 4,
        (words[2] & low) | (words[3] & low) << 4,
        (words[0] >> 4 & low) | (words[1] & ~low),
        (words[2] >> 4 & low) | (words[3] & ~low),
    };
    write_words(numbers, pairs, NN_BLOCK / 8);
}

static void write_block(const uint8_t *block, nn_storage storage, int64_t lane, int64_t index, uint8_t *step)
{
    uint8_t *numbers = step + nn_step_numbers(storage);
    memcpy(step + (index * NN_PANEL + lane) * 2, block, 2);
    if (storage == NN_Q8) {
        write_numbers8(block + 2, numbers + index * NN_STEP_BYTES8 / 2 + lane * 4);
    } else {
        int64_t scales = storage == NN_Q4_OFFSET ? 4 : 2;
        if (storage == NN_Q4_OFFSET)
            memcpy(step + NN_STEP_SCALES + (index * NN_PANEL + lane) * 2, block + 2, 2);
        write_numbers4(block + scales, numbers + index * NN_STEP_BYTES4 / 2 + lane * 4);
    }
}

static void pack_quantised(const void *const rows[NN_PANEL], const nn_row_format from[NN_PANEL], int64_t columns,
                           nn_storage storage, uint8_t *panel)
{
    uint8_t blocks[2][BLOCK_MOST];
    for (int64_t k = 0; k < columns; k += NN_STEP, panel += nn_step_bytes(storage)) {
        for (int lane = 0; lane < NN_PANEL; lane++) {
            step_blocks(rows[lane], from[lane], k, nn_min(NN_STEP, columns - k), storage, blocks);
            write_block(blocks[0], storage, lane, 0, panel);
            write_block(blocks[1], storage, lane, 1, panel);
        }
    }
}

/* Number of column i (0 to 31) of a block whose numbers of this lane begin at `numbers`, as it is stored. */
static int stored_number(const uint8_t *numbers, nn_storage storage, int i)
{
    if (storage == NN_Q8)
        return numbers[i / 4 * NN_PANEL * 4 + i % 4];
    int pair = numbers[i / 8 * NN_PANEL * 4 + i % 4];
    return i % 8 < 4 ? pair & 15 : pair >> 4;
}

static void quantised_row(const nn_matrix *m, int64_t row, float *values)
{
    nn_storage storage = m->storage;
    const uint8_t *step = (const uint8_t *)m->data + row / NN_PANEL * nn_panel_bytes(storage, m->columns);
    int64_t lane = row % NN_PANEL, half = (storage == NN_Q8 ? NN_STEP_BYTES8 : NN_STEP_BYTES4) / 2;
    float zero = storage == NN_Q8 ? NN_ZERO_Q8 : storage == NN_Q4 ? NN_ZERO_Q4 : 0;
    for (int64_t k = 0; k < m->columns; k += NN_BLOCK) {
        int64_t index = k / NN_BLOCK % 2, count = nn_min(NN_BLOCK, m->columns - k);
        const uint8_t *scales = step + (index * NN_PANEL + lane) * 2;
        const uint8_t *numbers = step + nn_step_numbers(storage) + index * half + lane * 4;
        float scale = nn_f16_at(scales), minimum = storage == NN_Q4_OFFSET ? nn_f16_at(scales + NN_STEP_SCALES) : 0.0f;
        for (int i = 0; i < count; i++)
            values[k + i] = scale * ((float)stored_number(numbers, storage, i) - zero) + minimum;
        step += index * nn_step_bytes(storage);
    }
}

/* ---- Panels of floats ------------------------------------------------------------------------------------------- */

enum { PACK_COLUMNS = 32 /* that are transposed at a time, in cache */ };

/* Rows of the same stored type, element by element as bits. */
static void pack_words(const void *const rows[NN_PANEL], int64_t columns, uint32_t *panel)
{
    uint32_t block[NN_PANEL][PACK_COLUMNS];
    for (int64_t k = 0; k < columns; k += PACK_COLUMNS) {
        int64_t count = nn_min(PACK_COLUMNS, columns - k);
        for (int r = 0; r < NN_PANEL; r++)
            memcpy(block[r], (const char *)rows[r] + k * 4, (size_t)count * 4);
        for (int64_t i = 0; i < count; i++)
            for (int r = 0; r < NN_PANEL; r++)
                panel[(k + i) * NN_PANEL + r] = block[r][i];
    }
}

static void pack_halves(const void *const rows[NN_PANEL], int64_t columns, uint16_t *panel)
{
    uint16_t block[NN_PANEL][PACK_COLUMNS];
    for (int64_t k = 0; k < columns; k += PACK_COLUMNS) {
        int64_t count = nn_min(PACK_COLUMNS, columns - k);
        for (int r = 0; r < NN_PANEL; r++)
            memcpy(block[r], (const char *)rows[r] + k * 2, (size_t)count * 2);
        for (int64_t i = 0; i < count; i++)
            for (int r = 0; r < NN_PANEL; r++)
                panel[(k + i) * NN_PANEL + r] = block[r][i];
    }
}

static void pack_rounded(const void *row, nn_row_format from, int64_t columns, nn_storage to, void *panel, int lane)
{
    float values[NN_STEP];
    for (int64_t k = 0; k < columns; k += NN_STEP) {
        int64_t count = nn_min(NN_STEP, columns - k);
        row_values(row, from, k, count, values);
        for (int64_t i = 0; i < count; i++)
            nn_store_value(to, panel, (k + i) * NN_PANEL + lane, values[i]);
    }
}

/* ---- Entries ---------------------------------------------------------------------------------------------------- */

void nn_pack_panel(const void *const rows[NN_PANEL], const nn_row_format from[NN_PANEL], nn_matrix *matrix,
                   int64_t panel)
{
    bool plain = true;
    void *data = (char *)matrix->data + panel * nn_panel_bytes(matrix->storage, matrix->columns);
    for (int r = 0; r < NN_PANEL; r++)
        plain = plain && rows[r] && from[r] == (nn_row_format)matrix->storage;
    if (nn_is_quantised(matrix->storage)) {
        pack_quantised(rows, from, matrix->columns, matrix->storage, data);
    } else if (!plain) {
        for (int r = 0; r < NN_PANEL; r++)
            pack_rounded(rows[r], from[r], matrix->columns, matrix->storage, data, r);
    } else if (matrix->storage == NN_F32) {
        pack_words(rows, matrix->columns, data);
    } else {
        pack_halves(rows, matrix->columns, data);
    }
}

void nn_pack_row(const void *row, nn_row_format from, int64_t columns, nn_storage storage, void *to)
{
    if (row && from == (nn_row_format)storage) {
        memcpy(to, row, (size_t)(columns * nn_storage_bytes(storage)));
        return;
    }
    for (int64_t k = 0; k < columns; k += NN_STEP) {
        float values[NN_STEP];
        int64_t count = nn_min(NN_STEP, columns - k);
        row_values(row, from, k, count, values);
        for (int64_t i = 0; i < count; i++)
            nn_store_value(storage, to, k + i, values[i]);
    }
}

void nn_unpack_row(const nn_matrix *matrix, int64_t row, float *values)
{
    if (nn_is_quantised(matrix->storage)) {
        quantised_row(matrix, row, values);
        return;
    }
    int64_t first = row / NN_PANEL * matrix->columns * NN_PANEL + row % NN_PANEL;
    for (int64_t k = 0; k < matrix->columns; k++)
        values[k] = nn_stored_value(matrix->storage, matrix->data, first + k * NN_PANEL);
}
