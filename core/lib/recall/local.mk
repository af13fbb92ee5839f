# SPDX-License-Identifier: Apache-2.0
# What keeps pictures from being encoded twice.
core_lib_libllavamore_la_SOURCES += \
	core/lib/recall/folder.c core/lib/recall/folder.h \
	core/lib/recall/recall.c core/lib/recall/recall.h \
	core/lib/recall/settings.c core/lib/recall/settings.h \
	core/lib/recall/trim.c core/lib/recall/trim.h \
	core/lib/recall/visual_memory.c core/lib/recall/visual_memory.h
