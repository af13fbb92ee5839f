# SPDX-License-Identifier: Apache-2.0
core_lib_libllavamore_la_SOURCES += \
	core/lib/plugin/call.c core/lib/plugin/call.h \
	core/lib/plugin/descriptor.c core/lib/plugin/descriptor.h \
	core/lib/plugin/functions.c core/lib/plugin/functions.h \
	core/lib/plugin/loader.c core/lib/plugin/loader.h \
	core/lib/plugin/options.c core/lib/plugin/options.h \
	core/lib/plugin/shared_object.c core/lib/plugin/shared_object.h \
	core/lib/plugin/signature.c core/lib/plugin/signature.h \
	core/lib/plugin/value.c core/lib/plugin/value.h
