# SPDX-License-Identifier: Apache-2.0
# The test programs, one fragment a folder. Each prints its cases as cmocka does; tests/count counts them.

EXTRA_DIST += tests/peers/make_gguf.py tests/peers/run tests/peers/table.py
EXTRA_DIST += tests/count tests/installed/headers tests/installed/run
include tests/accuracy/local.mk
include tests/cli/local.mk
include tests/cuda/local.mk
include tests/gguf/local.mk
include tests/parity/local.mk
include tests/presets/local.mk
include tests/tree/local.mk
include tests/unit/base/local.mk
include tests/unit/device/local.mk
include tests/unit/image/local.mk
include tests/unit/nn/local.mk
include tests/unit/plugins/local.mk
include tests/unit/recall/local.mk
include tests/unit/text/local.mk
include tests/unit/weights/local.mk

# Everything under ASan and UBSan.
check-sanitizers:
	$(MKDIR_P) sanitizers
	cd sanitizers && { test -f config.status || '$(abs_srcdir)'/configure --quiet --enable-sanitizers CC='$(CC)'; } \
		&& $(MAKE) check
