# SPDX-License-Identifier: Apache-2.0
# Checkpoints: files, views, layouts.
core_lib_libllavamore_la_SOURCES += \
	core/lib/weights/adapter/adapter.c core/lib/weights/adapter/adapter.h \
	core/lib/weights/adapter/delta.c core/lib/weights/adapter/delta.h \
	core/lib/weights/checkpoint.c core/lib/weights/checkpoint.h \
	core/lib/weights/convert.c core/lib/weights/convert.h \
	core/lib/weights/gguf/export.c core/lib/weights/gguf/export.h \
	core/lib/weights/gguf/export_data.c core/lib/weights/gguf/export_plan.h \
	core/lib/weights/gguf/export_tensors.c \
	core/lib/weights/gguf/export_values.c core/lib/weights/gguf/export_values.h \
	core/lib/weights/gguf/gguf.c core/lib/weights/gguf/gguf.h \
	core/lib/weights/gguf/quantised.c core/lib/weights/gguf/quantised.h \
	core/lib/weights/gguf/values.c core/lib/weights/gguf/values.h \
	core/lib/weights/gguf/write.c core/lib/weights/gguf/write.h \
	core/lib/weights/identity.c core/lib/weights/identity.h \
	core/lib/weights/layout.c core/lib/weights/layout.h \
	core/lib/weights/layout_values.c core/lib/weights/layout_values.h \
	core/lib/weights/locate.c core/lib/weights/locate.h \
	core/lib/weights/metadata.c \
	core/lib/weights/safetensors.c core/lib/weights/safetensors.h \
	core/lib/weights/source.c core/lib/weights/source.h \
	core/lib/weights/synthetic.c core/lib/weights/synthetic.h \
	core/lib/weights/tensor_file.c core/lib/weights/tensor_file.h \
	core/lib/weights/tensor_table.c core/lib/weights/tensor_table.h \
	core/lib/weights/torch/pickle.c core/lib/weights/torch/pickle.h \
	core/lib/weights/torch/torch.c core/lib/weights/torch/torch.h \
	core/lib/weights/torch/zip.c core/lib/weights/torch/zip.h \
	core/lib/weights/tensors.c core/lib/weights/view.h
