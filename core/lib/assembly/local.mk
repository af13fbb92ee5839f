# SPDX-License-Identifier: Apache-2.0
# The assembled pipeline, its generation and the public API over them.

core_lib_libllavamore_la_SOURCES += \
	core/lib/api.c \
	core/lib/assembly/assembly.c core/lib/assembly/assembly.h \
	core/lib/assembly/backbone.c core/lib/assembly/backbone.h \
	core/lib/assembly/data.c core/lib/assembly/data.h \
	core/lib/assembly/contradictions.c \
	core/lib/assembly/describe.c \
	core/lib/assembly/preprocessing.c \
	core/lib/assembly/text_parts.c \
	core/lib/assembly/vision_parts.c \
	core/lib/generate/answer.c core/lib/generate/answer.h \
	core/lib/generate/chat.c core/lib/generate/chat.h \
	core/lib/generate/context.c core/lib/generate/context.h \
	core/lib/generate/multiscale.c core/lib/generate/multiscale.h \
	core/lib/generate/drawing.c core/lib/generate/reading.c core/lib/generate/turn.h \
	core/lib/generate/lookup.c core/lib/generate/lookup.h \
	core/lib/generate/npy.c core/lib/generate/npy.h \
	core/lib/generate/scales.c core/lib/generate/scales.h \
	core/lib/generate/visual.c core/lib/generate/visual.h
