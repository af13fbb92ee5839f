# SPDX-License-Identifier: Apache-2.0
# How checkpoint folders split into parts.
dist_layouts_DATA += share/layouts/language.ini share/layouts/llava-hf.ini share/layouts/llava-more.ini \
	share/layouts/projector.ini share/layouts/vision.ini
