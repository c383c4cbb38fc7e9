// cuBLASLt: products that torch fuses with a bias, and those of int8.
#include "state.h"
#include "no_half.h"

#include <cublasLt.h>

#include <cstdio>
#include <cstring>

namespace {
struct Layout {
  int type;
  unsigned long rows, columns;
  int batch;
};
struct Description {
  int transposed_a = 0;
};

const char* name_of(int type) {
  switch (type) {
    case CUDA_R_16BF: return "bf16";
    case CUDA_R_16F: return "fp16";
    case CUDA_R_32F: return "fp32";
    case CUDA_R_8I: return "int8";
    case CUDA_R_32I: return "int32";
    default: return "?";
  }
}
constexpr auto ok = CUBLAS_STATUS_SUCCESS;
}  // namespace

API size_t cublasLtGetVersion() { return CUBLAS_VERSION; }
API cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                              uint64_t rows, uint64_t columns, int64_t) {
  *layout = reinterpret_cast<cublasLtMatrixLayout_t>(new Layout{type, rows, columns, 1});
  return ok;
}
API cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete reinterpret_cast<Layout*>(layout);
  return ok;
}
API cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                    cublasLtMatrixLayoutAttribute_t attribute,
                                                    const void* value, size_t) {
  if (attribute == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT)
    reinterpret_cast<Layout*>(layout)->batch = *static_cast<const int*>(value);
  return ok;
}
API cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* description, cublasComputeType_t,
                                            cudaDataType_t) {
  *description = reinterpret_cast<cublasLtMatmulDesc_t>(new Description);
  return ok;
}
API cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t description) {
  delete reinterpret_cast<Description*>(description);
  return ok;
}
API cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t description,
                                                  cublasLtMatmulDescAttributes_t attribute,
                                                  const void* value, size_t) {
  if (attribute == CUBLASLT_MATMUL_DESC_TRANSA)
    reinterpret_cast<Description*>(description)->transposed_a = *static_cast<const int*>(value);
  return ok;
}
API cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = nullptr;
  return ok;
}
API cublasStatus_t cublasLtMatmulAlgoGetHeuristic(
    cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
    cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatmulPreference_t, int,
    cublasLtMatmulHeuristicResult_t found[], int* count) {
  std::memset(found, 0, sizeof *found);
  *count = 1;
  return ok;
}
API cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t description, const void*,
                                  const void*, cublasLtMatrixLayout_t a, const void*,
                                  cublasLtMatrixLayout_t, const void*, const void*,
                                  cublasLtMatrixLayout_t, void*, cublasLtMatrixLayout_t out,
                                  const cublasLtMatmulAlgo_t*, void*, size_t, cudaStream_t) {
  auto* left = reinterpret_cast<const Layout*>(a);
  auto* result = reinterpret_cast<const Layout*>(out);
  bool transposed = reinterpret_cast<const Description*>(description)->transposed_a;
  char types[64];
  std::snprintf(types, sizeof types, "lt %s>%s", name_of(left->type), name_of(result->type));
  hollow_count_product(types, result->rows, result->columns,
                       transposed ? left->rows : left->columns, result->batch);
  return ok;
}
