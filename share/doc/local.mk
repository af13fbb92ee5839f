# SPDX-License-Identifier: Apache-2.0
# Texts about the data, installed beside the README.
dist_doc_DATA = share/doc/prompts.md share/doc/full-size.md share/doc/fast.md share/doc/formats.md share/doc/gpu.md \
	share/doc/gpu-report.md share/doc/reuse.md
