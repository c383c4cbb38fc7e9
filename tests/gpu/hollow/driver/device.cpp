// The devices, an H200 each by default, and the last error.
#include "state.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstring>

namespace {
thread_local int current = 0;
thread_local cudaError_t last = cudaSuccess;

int nothing() { return 0; }

const char* text_of(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    default: return "an error of the hollow GPU";
  }
}
}  // namespace

cudaError_t remember(cudaError_t error) { return last = error; }
API int hollow_current_device() { return current; }

API cudaError_t cudaGetDeviceCount(int* count) {
  *count = hollow_visible_gpus();
  return *count ? cudaSuccess : remember(cudaErrorNoDevice);
}
API cudaError_t cudaGetDevice(int* gpu) {
  if (!hollow_visible_gpus()) return remember(cudaErrorNoDevice);
  *gpu = current;
  return cudaSuccess;
}
API cudaError_t cudaSetDevice(int gpu) {
  if (gpu < 0 || gpu >= hollow_visible_gpus()) return remember(cudaErrorInvalidDevice);
  current = gpu;
  return cudaSuccess;
}
// CUDA 12's header calls this function cudaGetDeviceProperties_v2.
API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* found, int gpu) {
  if (gpu < 0 || gpu >= hollow_visible_gpus()) return remember(cudaErrorInvalidDevice);
  std::memset(found, 0, sizeof *found);
  std::snprintf(found->name, sizeof found->name, "%s", hollow_gpu_name());
  found->uuid.bytes[0] = static_cast<char>(hollow_gpu_on_bus(gpu) + 1);
  found->pciBusID = hollow_gpu_on_bus(gpu) + 1;
  found->totalGlobalMem = hollow_memory();
  long capability = hollow_setting("HOLLOW_CAPABILITY", 90);
  found->major = static_cast<int>(capability / 10);
  found->minor = static_cast<int>(capability % 10);
  found->multiProcessorCount = static_cast<int>(hollow_setting("HOLLOW_SMS", 132));
  found->warpSize = 32;
  found->maxThreadsPerBlock = 1024;
  found->maxThreadsPerMultiProcessor = 2048;
  found->maxThreadsDim[0] = found->maxThreadsDim[1] = 1024;
  found->maxThreadsDim[2] = 64;
  found->maxGridSize[0] = 2147483647;
  found->maxGridSize[1] = found->maxGridSize[2] = 65535;
  found->maxBlocksPerMultiProcessor = 32;
  found->regsPerBlock = found->regsPerMultiprocessor = 65536;
  found->sharedMemPerBlock = 49152;
  found->sharedMemPerBlockOptin = 232448;
  found->sharedMemPerMultiprocessor = 233472;
  found->reservedSharedMemPerBlock = 1024;
  found->l2CacheSize = 62914560;
  found->totalConstMem = 65536;
  found->memoryBusWidth = 6144;
  found->textureAlignment = 512;
  found->memPitch = 2147483647;
  found->asyncEngineCount = 3;
  found->unifiedAddressing = found->managedMemory = found->concurrentManagedAccess = 1;
  found->cooperativeLaunch = found->concurrentKernels = found->canMapHostMemory = 1;
  return cudaSuccess;
}
API cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int gpu) {
  cudaDeviceProp gpu_properties;
  if (cudaError_t error = cudaGetDeviceProperties(&gpu_properties, gpu)) return error;
  const cudaDeviceProp& p = gpu_properties;
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
    case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = p.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = static_cast<int>(p.sharedMemPerBlock); break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(p.sharedMemPerBlockOptin);
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(p.sharedMemPerMultiprocessor);
      break;
    case cudaDevAttrWarpSize: *value = p.warpSize; break;
    case cudaDevAttrMaxGridDimX: *value = p.maxGridSize[0]; break;
    case cudaDevAttrMaxGridDimY: *value = p.maxGridSize[1]; break;
    case cudaDevAttrMaxGridDimZ: *value = p.maxGridSize[2]; break;
    case cudaDevAttrL2CacheSize: *value = p.l2CacheSize; break;
    case cudaDevAttrMaxRegistersPerBlock: *value = p.regsPerBlock; break;
    case cudaDevAttrMaxRegistersPerMultiprocessor: *value = p.regsPerMultiprocessor; break;
    case cudaDevAttrConcurrentManagedAccess:
    case cudaDevAttrManagedMemory:
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrCooperativeLaunch: *value = 1; break;
    default: *value = 0;
  }
  return cudaSuccess;
}
API cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = 1;
  return cudaSuccess;
}
API cudaError_t cudaDeviceGetPCIBusId(char* text, int length, int gpu) {
  std::snprintf(text, length, "0000:%02d:00.0", hollow_gpu_on_bus(gpu) + 1);
  return cudaSuccess;
}
API cudaError_t cudaDriverGetVersion(int* version) {
  *version = hollow_cuda_version();
  return cudaSuccess;
}
API cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = hollow_cuda_version();
  return cudaSuccess;
}
API cudaError_t cudaGetLastError() {
  cudaError_t error = last;
  last = cudaSuccess;
  return error;
}
API cudaError_t cudaPeekAtLastError() { return last; }
API const char* cudaGetErrorString(cudaError_t error) { return text_of(error); }
API const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaError";
}

// torch asks for functions of the driver by name; for one that is not written here it gets one
// that does nothing and succeeds.
namespace {
void find_in_driver(const char* name, void** function, cudaDriverEntryPointQueryResult* found) {
  *function = dlsym(RTLD_DEFAULT, name);
  if (!*function) {
    if (hollow_setting("HOLLOW_TRACE", 0)) std::fprintf(stderr, "hollow GPU: no %s\n", name);
    *function = reinterpret_cast<void*>(nothing);
  }
  if (found) *found = cudaDriverEntryPointSuccess;
}
}  // namespace
API cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned,
                                                 unsigned long long,
                                                 cudaDriverEntryPointQueryResult* found) {
  find_in_driver(name, function, found);
  return cudaSuccess;
}
#if CUDART_VERSION < 13000
#undef cudaGetDriverEntryPoint
API cudaError_t cudaGetDriverEntryPoint(const char* name, void** function, unsigned long long,
                                        cudaDriverEntryPointQueryResult* found) {
  find_in_driver(name, function, found);
  return cudaSuccess;
}
#endif
