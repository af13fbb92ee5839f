# SPDX-License-Identifier: Apache-2.0
# The embedded models, in the official file formats, and the recipe that trained them (not installed).

tinydir = $(pkgdatadir)/tiny
tinyclipdir = $(tinydir)/clip
dist_tinyclip_DATA = share/tiny/clip/config.json share/tiny/clip/model.safetensors \
	share/tiny/clip/preprocessor_config.json
tinysiglipdir = $(tinydir)/siglip
dist_tinysiglip_DATA = share/tiny/siglip/config.json share/tiny/siglip/model.safetensors \
	share/tiny/siglip/preprocessor_config.json
tinysiglip2dir = $(tinydir)/siglip2
dist_tinysiglip2_DATA = share/tiny/siglip2/config.json share/tiny/siglip2/model.safetensors \
	share/tiny/siglip2/preprocessor_config.json
tinydinov2dir = $(tinydir)/dinov2
dist_tinydinov2_DATA = share/tiny/dinov2/config.json share/tiny/dinov2/model.safetensors \
	share/tiny/dinov2/preprocessor_config.json
tinyllavadir = $(tinydir)/llava
dist_tinyllava_DATA = \
	share/tiny/llava/config.json \
	share/tiny/llava/generation_config.json \
	share/tiny/llava/model-00001-of-00002.safetensors \
	share/tiny/llava/model-00002-of-00002.safetensors \
	share/tiny/llava/model.safetensors.index.json \
	share/tiny/llava/special_tokens_map.json \
	share/tiny/llava/tokenizer.json \
	share/tiny/llava/tokenizer_config.json
tinyllavagemma2dir = $(tinydir)/llava-gemma2
dist_tinyllavagemma2_DATA = \
	share/tiny/llava-gemma2/config.json \
	share/tiny/llava-gemma2/generation_config.json \
	share/tiny/llava-gemma2/model-00001-of-00002.safetensors \
	share/tiny/llava-gemma2/model-00002-of-00002.safetensors \
	share/tiny/llava-gemma2/model.safetensors.index.json \
	share/tiny/llava-gemma2/special_tokens_map.json \
	share/tiny/llava-gemma2/tokenizer.json \
	share/tiny/llava-gemma2/tokenizer_config.json
tinyllavaphi4dir = $(tinydir)/llava-phi4
dist_tinyllavaphi4_DATA = \
	share/tiny/llava-phi4/config.json \
	share/tiny/llava-phi4/generation_config.json \
	share/tiny/llava-phi4/model-00001-of-00002.safetensors \
	share/tiny/llava-phi4/model-00002-of-00002.safetensors \
	share/tiny/llava-phi4/model.safetensors.index.json \
	share/tiny/llava-phi4/special_tokens_map.json \
	share/tiny/llava-phi4/tokenizer.json \
	share/tiny/llava-phi4/tokenizer_config.json
tinyprojectorsiglipllamadir = $(tinydir)/projectors/siglip-llama
dist_tinyprojectorsiglipllama_DATA = share/tiny/projectors/siglip-llama/config.json \
	share/tiny/projectors/siglip-llama/model.safetensors
tinyprojectorsiglip2llamadir = $(tinydir)/projectors/siglip2-llama
dist_tinyprojectorsiglip2llama_DATA = share/tiny/projectors/siglip2-llama/config.json \
	share/tiny/projectors/siglip2-llama/model.safetensors
tinyprojectordinov2llamadir = $(tinydir)/projectors/dinov2-llama
dist_tinyprojectordinov2llama_DATA = share/tiny/projectors/dinov2-llama/config.json \
	share/tiny/projectors/dinov2-llama/model.safetensors
tinyprojectorsiglipgemma2dir = $(tinydir)/projectors/siglip-gemma2
dist_tinyprojectorsiglipgemma2_DATA = share/tiny/projectors/siglip-gemma2/config.json \
	share/tiny/projectors/siglip-gemma2/model.safetensors
tinyprojectorsiglip2gemma2dir = $(tinydir)/projectors/siglip2-gemma2
dist_tinyprojectorsiglip2gemma2_DATA = share/tiny/projectors/siglip2-gemma2/config.json \
	share/tiny/projectors/siglip2-gemma2/model.safetensors
tinyprojectordinov2gemma2dir = $(tinydir)/projectors/dinov2-gemma2
dist_tinyprojectordinov2gemma2_DATA = share/tiny/projectors/dinov2-gemma2/config.json \
	share/tiny/projectors/dinov2-gemma2/model.safetensors
tinyprojectorsiglipphi4dir = $(tinydir)/projectors/siglip-phi4
dist_tinyprojectorsiglipphi4_DATA = share/tiny/projectors/siglip-phi4/config.json \
	share/tiny/projectors/siglip-phi4/model.safetensors
tinyprojectorsiglip2phi4dir = $(tinydir)/projectors/siglip2-phi4
dist_tinyprojectorsiglip2phi4_DATA = share/tiny/projectors/siglip2-phi4/config.json \
	share/tiny/projectors/siglip2-phi4/model.safetensors
tinyprojectordinov2phi4dir = $(tinydir)/projectors/dinov2-phi4
dist_tinyprojectordinov2phi4_DATA = share/tiny/projectors/dinov2-phi4/config.json \
	share/tiny/projectors/dinov2-phi4/model.safetensors
EXTRA_DIST += share/tiny/recipe share/tiny/reference.json
