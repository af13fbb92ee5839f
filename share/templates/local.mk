# SPDX-License-Identifier: Apache-2.0
# Conversation templates; core/lib/text/template.h describes the format.

dist_templates_DATA += \
	share/templates/gemma_2.ini \
	share/templates/llama_3_1.ini \
	share/templates/llama_3_1_reasoning.ini \
	share/templates/phi_4.ini \
	share/templates/plain.ini \
	share/templates/vicuna_v1.ini
