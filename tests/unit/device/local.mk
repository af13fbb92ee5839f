# SPDX-License-Identifier: Apache-2.0
# The driver that the test loads. -rpath makes libtool build it shared.
check_LTLIBRARIES += tests/unit/device/late_driver.la
tests_unit_device_late_driver_la_SOURCES = tests/unit/device/late_driver.c tests/unit/device/late_driver.h
tests_unit_device_late_driver_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -rpath /nowhere

check_PROGRAMS += tests/unit/device/test_allocator tests/unit/device/test_choice tests/unit/device/test_device
tests_unit_device_test_allocator_SOURCES = tests/unit/device/drivers.c tests/unit/device/drivers.h \
	tests/unit/device/late_driver.h tests/unit/device/test_allocator.c
tests_unit_device_test_allocator_LDADD = $(TEST_LIBS)
tests_unit_device_test_choice_SOURCES = tests/unit/device/drivers.c tests/unit/device/drivers.h \
	tests/unit/device/late_driver.h tests/unit/device/test_choice.c
tests_unit_device_test_choice_LDADD = $(TEST_LIBS)
tests_unit_device_test_device_SOURCES = tests/unit/device/drivers.c tests/unit/device/drivers.h \
	tests/unit/device/late_driver.h tests/unit/device/test_device.c
tests_unit_device_test_device_LDADD = $(TEST_LIBS)
