// Kernels: registered by name, checked when they are launched, never run.
#include "state.h"

#include <cuda_runtime_api.h>

#include <cstdlib>
#include <string>
#include <unordered_map>

cudaError_t remember(cudaError_t error);

namespace {
std::unordered_map<const void*, std::string>& kernels() {
  static auto* one = new std::unordered_map<const void*, std::string>;
  return *one;
}

// The limits of compute capability 9.0.
bool possible(dim3 grid, dim3 block, size_t shared) {
  bool empty = !grid.x || !grid.y || !grid.z || !block.x || !block.y || !block.z;
  bool large = grid.y > 65535 || grid.z > 65535 || grid.x > 2147483647u;
  long threads = static_cast<long>(block.x) * block.y * block.z;
  return !empty && !large && threads <= 1024 && shared <= 232448;
}

cudaError_t launch(const void* kernel, dim3 grid, dim3 block, size_t shared) {
  if (!possible(grid, block, shared)) return remember(cudaErrorInvalidConfiguration);
  Lock lock;
  auto at = kernels().find(kernel);
  hollow_count_launch(at == kernels().end() ? "?" : at->second.c_str());
  return cudaSuccess;
}

// kernel<<<grid, block, shared, stream>>>(...) pushes these, and the kernel's stub pops them.
struct Configuration {
  dim3 grid, block;
  size_t shared;
  void* stream;
};
thread_local Configuration pushed[64];
thread_local int depth = 0;
}  // namespace

// --- What nvcc's code calls when a library is loaded.
API void** __cudaRegisterFatBinary(void*) {
  static void* handles[4096];
  static int count = 0;
  return &handles[count++ % 4096];
}
API void __cudaRegisterFatBinaryEnd(void**) {}
API void __cudaUnregisterFatBinary(void**) {}
API char __cudaInitModule(void**) { return 1; }
API void __cudaRegisterFunction(void**, const char* function, char*, const char* name, int, void*,
                                void*, void*, void*, int*) {
  Lock lock;
  kernels()[function] = name;
}
API void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
API cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}
API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared,
                                         struct CUstream_st* stream) {
  pushed[depth++ % 64] = {grid, block, shared, stream};
  return 0;
}
API cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  Configuration& found = pushed[--depth % 64];
  *grid = found.grid;
  *block = found.block;
  *shared = found.shared;
  *static_cast<void**>(stream) = found.stream;
  return cudaSuccess;
}

// --- Launches.
API cudaError_t cudaLaunchKernel(const void* kernel, dim3 grid, dim3 block, void**, size_t shared,
                                 cudaStream_t) {
  return launch(kernel, grid, block, shared);
}
API cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void**,
                                   size_t shared, cudaStream_t) {
  return launch(reinterpret_cast<const void*>(kernel), grid, block, shared);
}
API cudaError_t cudaLaunchCooperativeKernel(const void* kernel, dim3 grid, dim3 block, void**,
                                            size_t shared, cudaStream_t) {
  return launch(kernel, grid, block, shared);
}
API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* how, const void* kernel, void**) {
  return launch(kernel, how->gridDim, how->blockDim, how->dynamicSmemBytes);
}
API cudaError_t cudaLaunchHostFunc(cudaStream_t, cudaHostFn_t function, void* data) {
  function(data);
  return cudaSuccess;
}
API cudaError_t cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t callback,
                                      void* data, unsigned) {
  callback(stream, cudaSuccess, data);
  return cudaSuccess;
}
API cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* found, const void*) {
  *found = {};
  found->maxThreadsPerBlock = 1024;
  found->numRegs = 32;
  found->maxDynamicSharedSizeBytes = 232448;
  found->binaryVersion = found->ptxVersion = 90;
  return cudaSuccess;
}
API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int,
                                                              size_t) {
  *blocks = 2;
  return cudaSuccess;
}
API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*,
                                                                       int, size_t, unsigned) {
  *blocks = 2;
  return cudaSuccess;
}
API cudaError_t cudaGetSymbolAddress(void** address, const void*) {
  static void* zeros = std::calloc(1, 1 << 20);
  *address = zeros;
  return cudaSuccess;
}
