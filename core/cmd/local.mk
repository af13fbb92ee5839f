# SPDX-License-Identifier: Apache-2.0
include core/cmd/llavamore-bench/local.mk
include core/cmd/llavamore-inspect/local.mk
include core/cmd/llavamore-quantize/local.mk
include core/cmd/llavamore-run/local.mk
