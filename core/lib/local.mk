# SPDX-License-Identifier: Apache-2.0
# libllavamore: what programs link. The -internal archive holds the same objects for the tests.

lib_LTLIBRARIES += core/lib/libllavamore.la
noinst_LTLIBRARIES += core/lib/libllavamore-internal.la
core_lib_libllavamore_la_SOURCES =
core_lib_libllavamore_la_LDFLAGS = $(AM_LDFLAGS) $(SHARED_LDFLAGS) -version-info 0:0:0
core_lib_libllavamore_la_LIBADD = $(CORE_LIBS)
core_lib_libllavamore_internal_la_SOURCES = $(core_lib_libllavamore_la_SOURCES)

pkgconfig_DATA += core/lib/llavamore.pc
include_HEADERS = core/include/llavamore.h

include core/lib/base/local.mk
include core/lib/plugin/local.mk
include core/lib/config/local.mk
include core/lib/device/local.mk
include core/lib/weights/local.mk
include core/lib/image/local.mk
include core/lib/text/local.mk
include core/lib/generate/local.mk
include core/lib/recall/local.mk
include core/lib/assembly/local.mk
