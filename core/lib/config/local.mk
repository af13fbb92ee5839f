# SPDX-License-Identifier: Apache-2.0
core_lib_libllavamore_la_SOURCES += \
	core/lib/config/config.c core/lib/config/config.h \
	core/lib/config/entries.c core/lib/config/entries.h \
	core/lib/config/ini.c core/lib/config/ini.h \
	core/lib/config/keys.c core/lib/config/keys.h
