# SPDX-License-Identifier: Apache-2.0
# Every backbone is a shared object of its own; adding one adds a line here.
include plugins/vision/clip/local.mk
include plugins/projector/mlp/local.mk
include plugins/llm/llama/local.mk
