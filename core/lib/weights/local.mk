# SPDX-License-Identifier: Apache-2.0
# Checkpoints: files, views, layouts.
core_lib_libllavamore_la_SOURCES += \
	core/lib/weights/checkpoint.c core/lib/weights/checkpoint.h \
	core/lib/weights/convert.c core/lib/weights/convert.h \
	core/lib/weights/layout.c core/lib/weights/layout.h \
	core/lib/weights/locate.c core/lib/weights/locate.h \
	core/lib/weights/metadata.c \
	core/lib/weights/safetensors.c core/lib/weights/safetensors.h \
	core/lib/weights/source.c core/lib/weights/source.h \
	core/lib/weights/synthetic.c core/lib/weights/synthetic.h \
	core/lib/weights/tensors.c core/lib/weights/view.h
