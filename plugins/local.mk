# SPDX-License-Identifier: Apache-2.0
# Every backbone is a shared object of its own; adding one adds a line here.
include plugins/vision/clip/local.mk
include plugins/vision/dinov2/local.mk
include plugins/vision/siglip/local.mk
include plugins/vision/siglip2/local.mk
include plugins/projector/identity/local.mk
include plugins/projector/mlp/local.mk
include plugins/projector/pixel_shuffle/local.mk
include plugins/llm/llama/local.mk
include plugins/llm/phi4/local.mk
include plugins/llm/gemma2/local.mk
