/* SPDX-License-Identifier: Apache-2.0
 *
 * The decoders, one a format: each checks the file's structure to its end (stb_image takes truncated files for whole
 * ones), asks the image for memory by the header's size, and only then decodes. Internal to image/.
 */
#ifndef CORE_IMAGE_FORMATS_H
#define CORE_IMAGE_FORMATS_H

#include "image/image.h"

typedef struct core_encoded {
    const unsigned char *bytes;
    size_t size;
    const char *name; /* for messages */
} core_encoded;

/* A TIFF block with EXIF tags inside the file; size 0 = none. */
typedef struct core_exif {
    const unsigned char *bytes;
    size_t size;
} core_exif;

/* All fill `image` with U8 RGB. [any-thread] */
more_status core_decode_jpeg(const core_encoded *file, core_image *image, core_exif *exif, more_error *error);
more_status core_decode_png(const core_encoded *file, core_image *image, core_exif *exif, more_error *error);
more_status core_decode_bmp(const core_encoded *file, core_image *image, more_error *error);
more_status core_decode_gif(const core_encoded *file, core_image *image, more_error *error);
more_status core_decode_pnm(const core_encoded *file, core_image *image, more_error *error);

/* The orientation (1 to 8) of an EXIF block, 1 where it has none or is broken. */
int core_exif_orientation(core_exif exif);
/* Turns and flips an RGB image so that orientation 1 results. */
more_status core_exif_apply(core_image *image, int orientation, more_error *error);

/* stb_image: decodes to `channels` (1, 3 or 4) interleaved bytes, or to 16-bit samples when `wide`; *pixels is freed by
 * core_stb_free. A file that holds another size than width x height is MORE_ERROR_CORRUPT. */
more_status core_stb_decode(const core_encoded *file, int64_t width, int64_t height, int channels, bool wide,
                            void **pixels, more_error *error);
void core_stb_free(void *pixels);

/* "NAME: REASON" */
more_status core_broken_image(const core_encoded *file, const char *reason, more_error *error);

/* Little- and big-endian numbers of a file; the caller has checked that the bytes are there. */
static inline uint32_t core_le16(const unsigned char *p)
{
    return (uint32_t)(p[0] | p[1] << 8);
}
static inline uint32_t core_le32(const unsigned char *p)
{
    return core_le16(p) | core_le16(p + 2) << 16;
}
static inline uint32_t core_be16(const unsigned char *p)
{
    return (uint32_t)(p[0] << 8 | p[1]);
}
static inline uint32_t core_be32(const unsigned char *p)
{
    return core_be16(p) << 16 | core_be16(p + 2);
}

#endif
