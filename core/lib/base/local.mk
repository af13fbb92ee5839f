# SPDX-License-Identifier: Apache-2.0
core_lib_libllavamore_la_SOURCES += \
	core/lib/base/buffer.c core/lib/base/buffer.h \
	core/lib/base/clock.c core/lib/base/clock.h \
	core/lib/base/digest.c core/lib/base/digest.h \
	core/lib/base/file.c core/lib/base/file.h \
	core/lib/base/host.c core/lib/base/host.h \
	core/lib/base/json.c core/lib/base/json.h \
	core/lib/base/memory.c core/lib/base/memory.h \
	core/lib/base/suggest.c core/lib/base/suggest.h \
	core/lib/base/threads.c core/lib/base/threads.h
