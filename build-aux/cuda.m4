# SPDX-License-Identifier: Apache-2.0
# Whose CUDA kernels the plugins link: nvcc's, those that tests/cudaemu runs on the CPU, or none.

# LM_CUDA: sets KERNELS to cuda, emulated or none, and for cuda NVCC, NVCC_ARCHS, CUDA_ARCHS and CUDART_LIBS. After
# LT_INIT, and after SANITIZER_CFLAGS and SHARED_LDFLAGS.
AC_DEFUN([LM_CUDA], [
AC_ARG_WITH([cuda], [AS_HELP_STRING([--with-cuda=auto|yes|no|emulated],
    [kernels for NVIDIA devices in every plugin (auto: where nvcc works); emulated: run by tests/cudaemu])],
    [], [with_cuda=auto])
AC_ARG_WITH([cuda-archs], [AS_HELP_STRING([--with-cuda-archs=LIST],
    [what they are compiled for: "80 90", with ptx80 for portable code; all; default: this machine's cards, without any
     "90 ptx80"])], [], [with_cuda_archs=auto])
AC_ARG_VAR([NVCC], [CUDA compiler])
AC_ARG_VAR([NVCCFLAGS], [CUDA compiler flags])
test -n "$NVCCFLAGS" || NVCCFLAGS=-O3

# Host code without exceptions, run-time types and guarded statics needs no C++ library; the last are in how CUDA 13 launches.
AM_NVCCFLAGS="-std=c++17 -D__NV_LEGACY_LAUNCH"
AM_NVCCFLAGS="$AM_NVCCFLAGS --compiler-options=-fPIC,-fvisibility=hidden,-fno-exceptions,-fno-rtti,-D__NV_LEGACY_LAUNCH"
AS_IF([test "$enable_werror" = yes], [AM_NVCCFLAGS="$AM_NVCCFLAGS -Werror=all-warnings --compiler-options=-Wall,-Werror"])

KERNELS=none
AS_CASE([$with_cuda],
    [no], [],
    [emulated], [KERNELS=emulated],
    [yes | auto],
        [AS_IF([test $with_cuda = auto && test -n "$SANITIZER_CFLAGS"], [lm_why=sanitizers],
            [LM_CUDA_FIND([KERNELS=cuda])])
         AS_IF([test $KERNELS = cuda], [],
            [test $with_cuda = yes], [AC_MSG_ERROR([--with-cuda=yes: $lm_why])],
            [AC_MSG_NOTICE([no CUDA kernels: $lm_why])])],
    [AC_MSG_ERROR([--with-cuda=$with_cuda: it is auto, yes, no or emulated])])
AC_SUBST([KERNELS])
AC_SUBST([AM_NVCCFLAGS])
AC_SUBST([NVCC_ARCHS])
AC_SUBST([CUDA_ARCHS])
AC_SUBST([CUDART_LIBS])
AM_CONDITIONAL([CUDA], [test $KERNELS = cuda])
AM_CONDITIONAL([CUDA_EMULATED], [test $KERNELS = emulated])
])

# LM_CUDA_FIND(IF-FOUND): else lm_why says what is missing.
AC_DEFUN([LM_CUDA_FIND], [
AC_PATH_PROG([NVCC], [nvcc], [], [$PATH$PATH_SEPARATOR$CUDA_HOME/bin$PATH_SEPARATOR/usr/local/cuda/bin])
LM_CUDA_ARCHS
AC_MSG_CHECKING([for CUDA kernels that compile and link])
lm_found=no
AS_IF([test -z "$NVCC"], [lm_why="nvcc is neither in PATH nor in \$CUDA_HOME/bin nor in /usr/local/cuda/bin"],
    [LM_CUDA_TRY([lm_found="$CUDA_ARCHS"])])
AC_MSG_RESULT([$lm_found])
AS_IF([test "$lm_found" != no], [$1])
])

# LM_CUDA_ARCHS: NVCC_ARCHS, the options that compile for $with_cuda_archs, and CUDA_ARCHS, their names. Kernels need 8.0.
AC_DEFUN([LM_CUDA_ARCHS], [
AS_CASE([$with_cuda_archs],
    [all], [with_cuda_archs="80 90 100 ptx100"],
    [auto | yes | no | ''],
        [with_cuda_archs=`nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null |
            sed -n 's/^\(@<:@89@:>@\|@<:@1-9@:>@@<:@0-9@:>@\)\.\(@<:@0-9@:>@\)$/\1\2/p' | sort -un`
         test -n "$with_cuda_archs" || with_cuda_archs="90 ptx80"])
NVCC_ARCHS=
CUDA_ARCHS=
for lm_arch in $with_cuda_archs
do
    AS_CASE([$lm_arch], [ptx*], [lm_code=compute; lm_arch=`expr $lm_arch : 'ptx\(.*\)'`], [lm_code=sm])
    NVCC_ARCHS="$NVCC_ARCHS -gencode arch=compute_$lm_arch,code=${lm_code}_$lm_arch"
    CUDA_ARCHS="$CUDA_ARCHS${CUDA_ARCHS:+, }${lm_code}_$lm_arch"
done
])

# LM_CUDA_TRY(IF-IT-WORKS): a kernel compiles, and links without a C++ library; sets CUDART_LIBS.
AC_DEFUN([LM_CUDA_TRY], [
cat >conftest.cu <<'END'
#include <cuda_bf16.h>
static __global__ void kernel(float *x) { *x = 1; }
extern "C" int launch(float *x) { kernel<<<1, 1>>>(x); return cudaGetLastError(); }
END
# Where nvcc can (12.8), code is packed to a fifth; drivers unpack it from 550 on.
AS_IF([$NVCC --compress-mode=size --dryrun conftest.cu >/dev/null 2>&1],
    [AM_NVCCFLAGS="$AM_NVCCFLAGS --compress-mode=size"])
lm_why="$NVCC can not compile a kernel for $CUDA_ARCHS (it needs g++ too), see config.log"
lm_compile="$NVCC $AM_NVCCFLAGS $NVCC_ARCHS $NVCCFLAGS -c -o conftest.$OBJEXT conftest.cu"
AS_ECHO(["$as_me: $lm_compile"]) >&AS_MESSAGE_LOG_FD
AS_IF([$lm_compile >&AS_MESSAGE_LOG_FD 2>&1],
    [lm_why="libcudart_static.a is not among the libraries of $NVCC"
     for lm_folder in `$NVCC --dryrun conftest.cu 2>&1 | tr ' ' '\n' | sed -n 's/^"*-L\(@<:@^"@:>@*\)"*$/\1/p'` \
        /usr/lib/`$CC -print-multiarch 2>/dev/null` /usr/lib64
     do
        test -f "$lm_folder/libcudart_static.a" || continue
        CUDART_LIBS="-L$lm_folder -lcudart_static -lrt -ldl -lpthread"
        lm_why="a kernel does not link with $lm_folder/libcudart_static.a, see config.log"
        AS_IF([$CC -shared -Wl,-z,defs -o conftest.so conftest.$OBJEXT $CUDART_LIBS >&AS_MESSAGE_LOG_FD 2>&1], [$1])
        break
     done])
rm -f conftest*
])
