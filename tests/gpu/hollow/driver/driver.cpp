// libcuda: what Triton, torch's compiler and torch's expandable segments ask of the driver itself.
#include "state.h"

#include <cuda.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

extern "C" int cudaDeviceGetAttribute(int* value, int attribute, int gpu);

namespace {
int context;  // its address stands for the context of any device

bool possible(unsigned grid_x, unsigned grid_y, unsigned grid_z) {
  return grid_x && grid_y && grid_z && grid_y <= 65535 && grid_z <= 65535;
}
// A function is its name (cuModuleGetFunction).
CUresult launch(CUfunction function) {
  hollow_count_launch(reinterpret_cast<const char*>(function));
  return CUDA_SUCCESS;
}
}  // namespace

API CUresult cuInit(unsigned) { return hollow_visible_gpus() ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE; }
API CUresult cuDriverGetVersion(int* version) {
  *version = hollow_cuda_version();
  return CUDA_SUCCESS;
}
API CUresult cuGetErrorString(CUresult error, const char** text) {
  *text = error == CUDA_ERROR_INVALID_VALUE ? "invalid argument" : "an error of the hollow driver";
  return CUDA_SUCCESS;
}
API CUresult cuGetErrorName(CUresult, const char** text) {
  *text = "CUDA_ERROR";
  return CUDA_SUCCESS;
}
#undef cuGetProcAddress
API CUresult cuGetProcAddress_v2(const char* name, void** function, int, cuuint64_t,
                                 CUdriverProcAddressQueryResult* found) {
  *function = dlsym(RTLD_DEFAULT, name);
  if (found)
    *found = *function ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

// --- Devices and contexts.
API CUresult cuDeviceGetCount(int* count) {
  *count = hollow_visible_gpus();
  return CUDA_SUCCESS;
}
API CUresult cuDeviceGet(CUdevice* gpu, int number) {
  *gpu = number;
  return CUDA_SUCCESS;
}
API CUresult cuDeviceGetName(char* text, int length, CUdevice) {
  std::snprintf(text, length, "%s", hollow_gpu_name());
  return CUDA_SUCCESS;
}
API CUresult cuDeviceTotalMem(size_t* bytes, CUdevice) {
  *bytes = hollow_memory();
  return CUDA_SUCCESS;
}
API CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice gpu) {
  return static_cast<CUresult>(cudaDeviceGetAttribute(value, attribute, gpu));
}
API CUresult cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice gpu) {
  std::memset(uuid, 0, sizeof *uuid);
  uuid->bytes[0] = static_cast<char>(hollow_gpu_on_bus(gpu) + 1);
  return CUDA_SUCCESS;
}
API CUresult cuCtxGetCurrent(CUcontext* found) {
  *found = reinterpret_cast<CUcontext>(&context);
  return CUDA_SUCCESS;
}
API CUresult cuCtxPopCurrent(CUcontext* found) { return cuCtxGetCurrent(found); }
API CUresult cuDevicePrimaryCtxRetain(CUcontext* found, CUdevice) { return cuCtxGetCurrent(found); }
API CUresult cuDevicePrimaryCtxGetState(CUdevice, unsigned* flags, int* active) {
  *flags = 0;
  *active = 1;
  return CUDA_SUCCESS;
}
API CUresult cuCtxGetDevice(CUdevice* gpu) {
  *gpu = hollow_current_device();
  return CUDA_SUCCESS;
}
API CUresult cuCtxGetLimit(size_t* value, CUlimit) {
  *value = 1 << 20;
  return CUDA_SUCCESS;
}

// --- Modules, whose image nobody reads, and launches.
API CUresult cuModuleLoadData(CUmodule* module, const void* image) {
  *module = reinterpret_cast<CUmodule>(const_cast<void*>(image));
  return CUDA_SUCCESS;
}
API CUresult cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned, CUjit_option*,
                                void**) {
  return cuModuleLoadData(module, image);
}
API CUresult cuModuleLoad(CUmodule* module, const char* file) {
  *module = reinterpret_cast<CUmodule>(strdup(file));
  return CUDA_SUCCESS;
}
API CUresult cuModuleGetFunction(CUfunction* function, CUmodule, const char* name) {
  *function = reinterpret_cast<CUfunction>(strdup(name));
  return CUDA_SUCCESS;
}
API CUresult cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction) {
  *value = attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024
           : attribute == CU_FUNC_ATTRIBUTE_NUM_REGS            ? 32
                                                                : 0;
  return CUDA_SUCCESS;
}
API CUresult cuOccupancyMaxActiveClusters(int* clusters, CUfunction, const CUlaunchConfig*) {
  *clusters = 1;
  return CUDA_SUCCESS;
}
API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction, int, size_t) {
  *blocks = 2;
  return CUDA_SUCCESS;
}
API CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                            unsigned block_x, unsigned block_y, unsigned block_z, unsigned,
                            CUstream, void**, void**) {
  bool fits = possible(grid_x, grid_y, grid_z) && block_x * block_y * block_z <= 1024;
  return fits ? launch(function) : CUDA_ERROR_INVALID_VALUE;
}
API CUresult cuLaunchKernelEx(const CUlaunchConfig* how, CUfunction function, void**, void**) {
  bool fits = possible(how->gridDimX, how->gridDimY, how->gridDimZ);
  return fits ? launch(function) : CUDA_ERROR_INVALID_VALUE;
}
API CUresult cuLaunchCooperativeKernel(CUfunction function, unsigned, unsigned, unsigned, unsigned,
                                       unsigned, unsigned, unsigned, CUstream, void**) {
  return launch(function);
}
API CUresult cuStreamIsCapturing(CUstream, CUstreamCaptureStatus* status) {
  *status = hollow_captured_graph() ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_NONE;
  return CUDA_SUCCESS;
}

// --- Memory.
API CUresult cuPointerGetAttribute(void* found, CUpointer_attribute attribute, CUdeviceptr pointer) {
  if (attribute != CU_POINTER_ATTRIBUTE_DEVICE_POINTER) {
    *static_cast<long*>(found) = 0;
    return CUDA_SUCCESS;
  }
  // Triton refuses a tensor of the CPU by this error.
  if (hollow_kind(reinterpret_cast<void*>(pointer), nullptr) == unknown)
    return CUDA_ERROR_INVALID_VALUE;
  *static_cast<CUdeviceptr*>(found) = pointer;
  return CUDA_SUCCESS;
}
struct Piece {
  int gpu;
  size_t bytes;
};
API CUresult cuMemGetAllocationGranularity(size_t* bytes, const CUmemAllocationProp*,
                                           CUmemAllocationGranularity_flags) {
  *bytes = 2 << 20;
  return CUDA_SUCCESS;
}
API CUresult cuMemAddressReserve(CUdeviceptr* pointer, size_t bytes, size_t, CUdeviceptr,
                                 unsigned long long) {
  bool failed = hollow_reserve(reinterpret_cast<void**>(pointer), bytes);
  return failed ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}
API CUresult cuMemAddressFree(CUdeviceptr pointer, size_t bytes) {
  hollow_unreserve(reinterpret_cast<void*>(pointer), bytes);
  return CUDA_SUCCESS;
}
API CUresult cuMemCreate(CUmemGenericAllocationHandle* handle, size_t bytes,
                         const CUmemAllocationProp* where, unsigned long long) {
  if (hollow_create(where->location.id, bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  *handle = reinterpret_cast<CUmemGenericAllocationHandle>(new Piece{where->location.id, bytes});
  return CUDA_SUCCESS;
}
API CUresult cuMemRelease(CUmemGenericAllocationHandle handle) {
  auto* piece = reinterpret_cast<Piece*>(handle);
  hollow_release(piece->gpu, piece->bytes);
  delete piece;
  return CUDA_SUCCESS;
}
