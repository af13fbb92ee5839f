/* SPDX-License-Identifier: Apache-2.0
 *
 * A picture at the terminal, small: two pixels a character, the upper one as the colour of a half block, the lower one
 * as the colour behind it.
 */
#include "image/decode.h"
#include "image/resize.h"
#include "inspect.h"

#define COLUMNS 48

static void print_rows(FILE *file, const more_image *image)
{
    const unsigned char *pixels = image->data;
    int64_t line = 3 * image->width;
    for (int64_t y = 0; y + 1 < image->height; y += 2) {
        for (int64_t x = 0; x < image->width; x++) {
            const unsigned char *top = pixels + y * line + 3 * x, *bottom = top + line;
            fprintf(file, "\033[38;2;%d;%d;%dm\033[48;2;%d;%d;%dm\u2580", top[0], top[1], top[2], bottom[0], bottom[1],
                    bottom[2]);
        }
        fputs("\033[0m\n", file);
    }
}

static more_status print_small(output *out, const more_image *image, more_error *error)
{
    char *page = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&page, &size);
    if (!file)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for the preview");
    print_rows(file, image);
    bool whole = fclose(file) == 0;
    if (whole)
        output_write(out, page, size);
    free(page);
    return whole ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "out of memory for the preview");
}

more_status preview_image(const char *path, output *out, more_error *error)
{
    core_image image, small;
    core_image_init(&image, 0);
    core_image_init(&small, 0);
    more_status status = core_image_load(path, NULL, &image, error);
    if (status == MORE_OK) {
        int64_t columns = image.abi.width < COLUMNS ? image.abi.width : COLUMNS;
        int64_t rows = (image.abi.height * columns / image.abi.width + 1) / 2 * 2;
        rows = rows < 2 ? 2 : rows > 2 * COLUMNS ? 2 * COLUMNS : rows;
        status = core_resize(&image.abi, &small.abi, columns, rows, CORE_FILTER_BICUBIC, error);
    }
    if (status == MORE_OK)
        status = print_small(out, &small.abi, error);
    core_image_free(&small);
    core_image_free(&image);
    return status;
}
