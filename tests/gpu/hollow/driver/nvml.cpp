// NVML: how many GPUs there are, which torch asks before it touches CUDA. Its wheel has no headers.
#include "state.h"

#include <cstdio>

API int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = hollow_gpus();
  return 0;
}
API int nvmlDeviceGetCount(unsigned* count) { return nvmlDeviceGetCount_v2(count); }
API int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** handle) {
  *handle = reinterpret_cast<void*>(index + 1ul);
  return 0;
}
API int nvmlDeviceGetHandleByPciBusId_v2(const char*, void** handle) {
  *handle = reinterpret_cast<void*>(1ul);
  return 0;
}
API int nvmlDeviceGetUUID(void* handle, char* text, unsigned length) {
  std::snprintf(text, length, "GPU-0000000%lu-0000-0000-0000-000000000000",
                reinterpret_cast<unsigned long>(handle));
  return 0;
}
API int nvmlDeviceGetNvLinkRemoteDeviceType(void*, unsigned, int* type) {
  *type = 0;
  return 0;
}
API int nvmlDeviceGetNvLinkRemotePciInfo_v2(void*, unsigned, void*) { return 0; }
API int nvmlDeviceGetComputeRunningProcesses(void*, unsigned* count, void*) {
  *count = 0;
  return 0;
}
API int nvmlSystemGetCudaDriverVersion_v2(int* version) {
  *version = hollow_cuda_version();
  return 0;
}
API int nvmlInit() { return 0; }
API int nvmlInit_v2() { return 0; }
API int nvmlShutdown() { return 0; }
