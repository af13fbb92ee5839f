# SPDX-License-Identifier: Apache-2.0
# The NVIDIA devices of the machine: llavamore.cuda/1 and [runtime] device.
core_lib_libllavamore_la_SOURCES += \
	core/lib/device/allocator.c \
	core/lib/device/blas.c \
	core/lib/device/choice.c core/lib/device/choice.h \
	core/lib/device/devices.c core/lib/device/devices.h \
	core/lib/device/driver.c core/lib/device/driver.h \
	core/lib/device/service.c \
	core/lib/device/staging.c
