# SPDX-License-Identifier: Apache-2.0
# Image files to pixels: decoders, resampling, preprocessing steps.
core_lib_libllavamore_la_SOURCES += \
	core/lib/image/decode.c core/lib/image/decode.h \
	core/lib/image/decode_bmp.c core/lib/image/decode_gif.c core/lib/image/decode_jpeg.c \
	core/lib/image/decode_png.c core/lib/image/decode_pnm.c \
	core/lib/image/exif.c core/lib/image/formats.h \
	core/lib/image/image.c core/lib/image/image.h \
	core/lib/image/preprocess.c core/lib/image/preprocess.h \
	core/lib/image/resize.c core/lib/image/resize.h \
	core/lib/image/stb.c \
	core/lib/image/steps.c core/lib/image/steps.h
