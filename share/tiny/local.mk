# SPDX-License-Identifier: Apache-2.0
# The embedded model, in the official file formats, and the recipe that trained it (not installed).

tinyclipdir = $(pkgdatadir)/tiny/clip
dist_tinyclip_DATA = share/tiny/clip/config.json share/tiny/clip/model.safetensors \
	share/tiny/clip/preprocessor_config.json
tinyllavadir = $(pkgdatadir)/tiny/llava
dist_tinyllava_DATA = \
	share/tiny/llava/config.json \
	share/tiny/llava/generation_config.json \
	share/tiny/llava/model-00001-of-00002.safetensors \
	share/tiny/llava/model-00002-of-00002.safetensors \
	share/tiny/llava/model.safetensors.index.json \
	share/tiny/llava/special_tokens_map.json \
	share/tiny/llava/tokenizer.json \
	share/tiny/llava/tokenizer_config.json
EXTRA_DIST += share/tiny/recipe share/tiny/reference.json
