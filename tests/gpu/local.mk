# SPDX-License-Identifier: Apache-2.0
# What concerns a real card: its tests, the bundle that is carried to one, and what is known of the kernels without one.

EXTRA_DIST += tests/gpu/bundle tests/gpu/report tests/gpu/roofline.py tests/gpu/run tests/gpu/tools

# ---- make cuda-report: share/doc/gpu-report.md ----
REPORT_OBJECTS = $(CUDA_FILES:.cu=.report.o)
REPORT_ARCHS = -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90 \
	-gencode arch=compute_100,code=sm_100
%.report.o: %.cu
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)$(NVCC) $(CUDA_CPPFLAGS) -DNN_CUDA_COMPILED='""' $(AM_NVCCFLAGS) $(REPORT_ARCHS) $(NVCCFLAGS) \
		-Xptxas -v -MD -MP -MF $(@:.o=.d) -MT $@ -c -o $@ $< 2>$(@:.o=.txt) || { cat $(@:.o=.txt); exit 1; }

EXTRA_PROGRAMS += tests/gpu/launches
tests_gpu_launches_SOURCES = tests/gpu/launches.c
tests_gpu_launches_CPPFLAGS = $(NN_CPPFLAGS)
tests_gpu_launches_LDADD = $(REPORT_OBJECTS)

cuda-report: $(REPORT_OBJECTS) tests/gpu/launches
	tests/gpu/launches >tests/gpu/launches.txt
	tools=`$(srcdir)/tests/gpu/tools cuda-tools` && python3 -B $(srcdir)/tests/gpu/report "$$tools" $(srcdir)/share/shapes \
		tests/gpu/launches.txt $(REPORT_OBJECTS) >tests/gpu/report.md
	cp tests/gpu/report.md $(srcdir)/share/doc/gpu-report.md
CUDA_DEPS += $(REPORT_OBJECTS:.o=.d)
CLEANFILES += $(REPORT_OBJECTS) $(REPORT_OBJECTS:.o=.txt) $(REPORT_OBJECTS:.o=.d) tests/gpu/launches.txt tests/gpu/report.md

# ---- make gpu-bundle: what runs on another machine; make check-gpu: the same on this one ----
# The old kind of RPATH also serves the libraries of libraries.
BUNDLE_LINK = $(AM_LDFLAGS) -Wl,--disable-new-dtags -Wl,-rpath,'$$ORIGIN/../lib'
BUNDLE_TEST_LIBS = sdk/nn/libnn.la sdk/nn/cuda/libnn_cuda.la $(CMOCKA_LIBS) $(SYSTEM_LIBS) -lm
BUNDLED = tests/gpu/llavamore-bench tests/gpu/llavamore-run tests/gpu/test_gpu_attention tests/gpu/test_gpu_e2e \
	tests/gpu/test_gpu_elements tests/gpu/test_gpu_linear tests/gpu/test_gpu_rows
EXTRA_PROGRAMS += $(BUNDLED)
tests_gpu_llavamore_bench_SOURCES = $(core_cmd_llavamore_bench_llavamore_bench_SOURCES)
tests_gpu_llavamore_bench_LDFLAGS = $(BUNDLE_LINK)
tests_gpu_llavamore_bench_LDADD = $(core_cmd_llavamore_bench_llavamore_bench_LDADD)
tests_gpu_llavamore_run_SOURCES = $(core_cmd_llavamore_run_llavamore_run_SOURCES)
tests_gpu_llavamore_run_CPPFLAGS = $(AM_CPPFLAGS) $(EDIT_CFLAGS)
tests_gpu_llavamore_run_LDFLAGS = $(BUNDLE_LINK)
tests_gpu_llavamore_run_LDADD = core/lib/libllavamore-internal.la $(CORE_LIBS) $(EDIT_LIBS)
tests_gpu_test_gpu_attention_SOURCES = $(tests_cuda_test_cuda_attention_SOURCES)
tests_gpu_test_gpu_attention_CPPFLAGS = $(CUDA_TEST_CPPFLAGS)
tests_gpu_test_gpu_attention_LDFLAGS = $(BUNDLE_LINK)
tests_gpu_test_gpu_attention_LDADD = $(BUNDLE_TEST_LIBS)
tests_gpu_test_gpu_elements_SOURCES = $(tests_cuda_test_cuda_elements_SOURCES)
tests_gpu_test_gpu_elements_CPPFLAGS = $(CUDA_TEST_CPPFLAGS)
tests_gpu_test_gpu_elements_LDFLAGS = $(BUNDLE_LINK)
tests_gpu_test_gpu_elements_LDADD = $(BUNDLE_TEST_LIBS)
tests_gpu_test_gpu_linear_SOURCES = $(tests_cuda_test_cuda_linear_SOURCES)
tests_gpu_test_gpu_linear_CPPFLAGS = $(CUDA_TEST_CPPFLAGS)
tests_gpu_test_gpu_linear_LDFLAGS = $(BUNDLE_LINK)
tests_gpu_test_gpu_linear_LDADD = $(BUNDLE_TEST_LIBS)
tests_gpu_test_gpu_rows_SOURCES = $(tests_cuda_test_cuda_rows_SOURCES)
tests_gpu_test_gpu_rows_CPPFLAGS = $(CUDA_TEST_CPPFLAGS)
tests_gpu_test_gpu_rows_LDFLAGS = $(BUNDLE_LINK)
tests_gpu_test_gpu_rows_LDADD = $(BUNDLE_TEST_LIBS)
tests_gpu_test_gpu_e2e_SOURCES = $(tests_cuda_test_cuda_e2e_SOURCES)
tests_gpu_test_gpu_e2e_LDFLAGS = $(BUNDLE_LINK)
tests_gpu_test_gpu_e2e_LDADD = core/lib/libllavamore-internal.la $(CORE_LIBS) $(CMOCKA_LIBS)

gpu-bundle:
	@test $(KERNELS) = cuda || { echo "this build has no CUDA kernels: configure --with-cuda=yes" >&2; exit 1; }
	$(MAKE) $(AM_MAKEFLAGS) all-am $(BUNDLED)
	$(srcdir)/tests/gpu/bundle $(srcdir) gpu-bundle '$(CUDA_ARCHS)' plugins/*/*/.libs/*.so
check-gpu: gpu-bundle
	gpu-bundle/run gpu-report.txt
clean-local:
	-rm -rf gpu-bundle gpu-bundle.tar.xz
