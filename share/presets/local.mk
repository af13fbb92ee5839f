# SPDX-License-Identifier: Apache-2.0
# Presets: llava_more-* for released weights, pair-* for the study's other pairs, made of the pieces in parts.

dist_presets_DATA += \
	share/presets/llava_1_5-7b.ini \
	share/presets/llava_more-gemma_2-9b.ini \
	share/presets/llava_more-gemma_2-9b-dinov2.ini \
	share/presets/llava_more-gemma_2-9b-siglip2.ini \
	share/presets/llava_more-llama_3_1-8b.ini \
	share/presets/llava_more-llama_3_1-8b-s2.ini \
	share/presets/llava_more-llama_3_1-8b-s2-siglip.ini \
	share/presets/llava_more-llama_3_1-8b-siglip.ini \
	share/presets/llava_more-phi_4-mini.ini \
	share/presets/llava_more-reasoning-8b.ini \
	share/presets/pair-gemma_2-2b-clip.ini \
	share/presets/pair-gemma_2-2b-dinov2.ini \
	share/presets/pair-gemma_2-2b-s2.ini \
	share/presets/pair-gemma_2-2b-s2-siglip.ini \
	share/presets/pair-gemma_2-2b-siglip.ini \
	share/presets/pair-gemma_2-2b-siglip2.ini \
	share/presets/pair-gemma_2-9b-s2.ini \
	share/presets/pair-gemma_2-9b-s2-siglip.ini \
	share/presets/pair-gemma_2-9b-siglip.ini \
	share/presets/pair-llama_3_1-8b-dinov2.ini \
	share/presets/pair-llama_3_1-8b-siglip2.ini \
	share/presets/pair-phi_4-mini-dinov2.ini \
	share/presets/pair-phi_4-mini-s2.ini \
	share/presets/pair-phi_4-mini-s2-siglip.ini \
	share/presets/pair-phi_4-mini-siglip.ini \
	share/presets/pair-phi_4-mini-siglip2.ini \
	share/presets/pair-reasoning-8b-dinov2.ini \
	share/presets/pair-reasoning-8b-s2.ini \
	share/presets/pair-reasoning-8b-s2-siglip.ini \
	share/presets/pair-reasoning-8b-siglip.ini \
	share/presets/pair-reasoning-8b-siglip2.ini \
	share/presets/tiny.ini \
	share/presets/tiny-clip-gemma2.ini \
	share/presets/tiny-clip-llama.ini \
	share/presets/tiny-clip-phi4.ini \
	share/presets/tiny-dinov2-gemma2.ini \
	share/presets/tiny-dinov2-llama.ini \
	share/presets/tiny-dinov2-phi4.ini \
	share/presets/tiny-siglip-gemma2.ini \
	share/presets/tiny-siglip-llama.ini \
	share/presets/tiny-siglip-phi4.ini \
	share/presets/tiny-siglip2-gemma2.ini \
	share/presets/tiny-siglip2-llama.ini \
	share/presets/tiny-siglip2-phi4.ini

presetpartsdir = $(presetsdir)/parts
dist_presetparts_DATA = \
	share/presets/parts/llm-gemma_2-2b.ini \
	share/presets/parts/llm-gemma_2-9b.ini \
	share/presets/parts/llm-llama_3_1-8b.ini \
	share/presets/parts/llm-phi_4-mini.ini \
	share/presets/parts/llm-reasoning-8b.ini \
	share/presets/parts/llm-vicuna-7b.ini \
	share/presets/parts/tiny-llm-gemma2.ini \
	share/presets/parts/tiny-llm-llama.ini \
	share/presets/parts/tiny-llm-phi4.ini \
	share/presets/parts/tiny-vision-clip.ini \
	share/presets/parts/tiny-vision-dinov2.ini \
	share/presets/parts/tiny-vision-siglip.ini \
	share/presets/parts/tiny-vision-siglip2.ini \
	share/presets/parts/vision-clip.ini \
	share/presets/parts/vision-dinov2.ini \
	share/presets/parts/vision-s2-siglip.ini \
	share/presets/parts/vision-s2.ini \
	share/presets/parts/vision-siglip.ini \
	share/presets/parts/vision-siglip2.ini
