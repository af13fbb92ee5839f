# SPDX-License-Identifier: Apache-2.0
# Presets, and runs at full size (by hand: tests/fullsize/run BUILD).

dist_check_SCRIPTS += tests/presets/run
EXTRA_DIST += tests/fullsize/configs tests/fullsize/make_checkpoint.py tests/fullsize/run tests/fullsize/shapes.awk
