# SPDX-License-Identifier: Apache-2.0
# Configs and tensors of the released models, one file a model, of which llavamore-bench --synthetic makes weights.

shapesdir = $(pkgdatadir)/shapes
dist_shapes_DATA = \
	share/shapes/clip-vit-l-14-336.json \
	share/shapes/dinov2-large.json \
	share/shapes/gemma-2-2b.json \
	share/shapes/gemma-2-9b.json \
	share/shapes/llama-3.1-8b.json \
	share/shapes/llava-1.5-7b.json \
	share/shapes/llava-more-gemma-2-9b-dinov2.json \
	share/shapes/llava-more-gemma-2-9b-siglip2.json \
	share/shapes/llava-more-gemma-2-9b.json \
	share/shapes/llava-more-llama-3.1-8b-s2.json \
	share/shapes/llava-more-llama-3.1-8b-siglip.json \
	share/shapes/llava-more-llama-3.1-8b.json \
	share/shapes/llava-more-phi-4-mini.json \
	share/shapes/pair-gemma-2-2b-clip.json \
	share/shapes/phi-4-mini.json \
	share/shapes/siglip-so400m-14-384.json \
	share/shapes/siglip2-so400m-14-384.json \
	share/shapes/vicuna-7b.json
