# SPDX-License-Identifier: Apache-2.0
# The emulator: the driver's interface with kernels that run on the CPU.
EXTRA_LTLIBRARIES += tests/cudaemu/libcudaemu.la
tests_cudaemu_libcudaemu_la_SOURCES = tests/cudaemu/cudaemu.h
tests_cudaemu_libcudaemu_la_LDFLAGS = $(AM_LDFLAGS) -avoid-version -shared -rpath $(abs_builddir)/tests/cudaemu/.libs
