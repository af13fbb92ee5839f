# SPDX-License-Identifier: Apache-2.0
# How checkpoint folders split into parts.
dist_layouts_DATA += share/layouts/gguf-clip-swapped.ini share/layouts/gguf-clip.ini share/layouts/gguf-gemma2.ini \
	share/layouts/gguf-llama.ini share/layouts/gguf-phi3.ini share/layouts/gguf-tokenizers.json share/layouts/gguf-write.json \
	share/layouts/connector.ini share/layouts/language.ini \
	share/layouts/llava-hf.ini share/layouts/llava-more.ini \
	share/layouts/projector.ini share/layouts/vision.ini
