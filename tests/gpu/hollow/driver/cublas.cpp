// cuBLAS: counts products and their operations.
#include "state.h"
#include "no_half.h"

#include <cublas_v2.h>

#include <cstdio>
#include <cstdlib>

namespace {
const char* name_of(cudaDataType type) {
  switch (type) {
    case CUDA_R_16BF: return "bf16";
    case CUDA_R_16F: return "fp16";
    case CUDA_R_32F: return "fp32";
    case CUDA_R_64F: return "fp64";
    case CUDA_R_8I: return "int8";
    default: return "?";
  }
}

cublasStatus_t product(cudaDataType in, cudaDataType out, cublasComputeType_t compute, int m, int n,
                       int k, int batch) {
  char types[64];
  bool tf32 = compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  std::snprintf(types, sizeof types, "%s>%s%s", name_of(in), name_of(out), tf32 ? "(tf32)" : "");
  hollow_count_product(types, m, n, k, batch);
  return CUBLAS_STATUS_SUCCESS;
}
}  // namespace

API cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  *handle = static_cast<cublasHandle_t>(std::calloc(1, 64));
  return CUBLAS_STATUS_SUCCESS;
}
API cublasStatus_t cublasGetMathMode(cublasHandle_t, cublasMath_t* mode) {
  *mode = CUBLAS_DEFAULT_MATH;
  return CUBLAS_STATUS_SUCCESS;
}
API cublasStatus_t cublasGetPointerMode_v2(cublasHandle_t, cublasPointerMode_t* mode) {
  *mode = CUBLAS_POINTER_MODE_HOST;
  return CUBLAS_STATUS_SUCCESS;
}
API cublasStatus_t cublasGemmEx(cublasHandle_t, cublasOperation_t, cublasOperation_t, int m, int n,
                                int k, const void*, const void*, cudaDataType in, int, const void*,
                                cudaDataType, int, const void*, void*, cudaDataType out, int,
                                cublasComputeType_t compute, cublasGemmAlgo_t) {
  return product(in, out, compute, m, n, k, 1);
}
API cublasStatus_t cublasGemmStridedBatchedEx(
    cublasHandle_t, cublasOperation_t, cublasOperation_t, int m, int n, int k, const void*,
    const void*, cudaDataType in, int, long long, const void*, cudaDataType, int, long long,
    const void*, void*, cudaDataType out, int, long long, int batch, cublasComputeType_t compute,
    cublasGemmAlgo_t) {
  return product(in, out, compute, m, n, k, batch);
}
API cublasStatus_t cublasSgemm_v2(cublasHandle_t, cublasOperation_t, cublasOperation_t, int m,
                                  int n, int k, const float*, const float*, int, const float*, int,
                                  const float*, float*, int) {
  return product(CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F, m, n, k, 1);
}
API cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t, cublasOperation_t, cublasOperation_t,
                                             int m, int n, int k, const float*, const float*, int,
                                             long long, const float*, int, long long, const float*,
                                             float*, int, long long, int batch) {
  return product(CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F, m, n, k, batch);
}
