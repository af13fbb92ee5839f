# SPDX-License-Identifier: Apache-2.0
# The sampler.

core_lib_libllavamore_la_SOURCES += \
	core/lib/generate/philox.c core/lib/generate/philox.h \
	core/lib/generate/sampler.c core/lib/generate/sampler.h \
	core/lib/generate/sampler_stages.c core/lib/generate/sampler_stages.h
