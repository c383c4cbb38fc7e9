// Memory of the hollow GPU is host memory that is real and limited: allocations fail when a GPU
// of HOLLOW_MEMORY_MIB would be full, and copies copy.
#include "state.h"

#include <cuda_runtime_api.h>
#include <sys/mman.h>

#include <cstring>
#include <map>

cudaError_t remember(cudaError_t error);  // device.cpp: for cudaGetLastError

namespace {
struct Block {
  size_t bytes;
  Kind kind;
  int gpu;
};
std::map<const char*, Block>& blocks() {
  static auto* one = new std::map<const char*, Block>;
  return *one;
}

// A copy between two places of a GPU that is larger than this is only counted: it would take time
// that a GPU does not need, and what it copies are zeros as a rule.
constexpr size_t largest_device_copy = 65536;
// CUDA copies this much from pageable memory without waiting.
constexpr size_t staged_copy = 65536;

void* map_memory(size_t bytes) {
  void* found = mmap(nullptr, bytes ? bytes : 1, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return found == MAP_FAILED ? nullptr : found;
}

const std::pair<const char* const, Block>* find(const void* pointer) {
  auto after = blocks().upper_bound(static_cast<const char*>(pointer));
  if (after == blocks().begin()) return nullptr;
  --after;
  bool inside = static_cast<const char*>(pointer) < after->first + after->second.bytes;
  return inside ? &*after : nullptr;
}

cudaError_t allocate(void** pointer, size_t bytes, Kind kind) {
  Lock lock;
  int gpu = hollow_current_device();
  if (kind == device && hollow_create(gpu, bytes)) return remember(cudaErrorMemoryAllocation);
  void* found = map_memory(bytes);
  if (!found) return remember(cudaErrorMemoryAllocation);
  blocks()[static_cast<char*>(found)] = {bytes ? bytes : 1, kind, gpu};
  if (kind == managed) counts.managed_bytes += static_cast<long>(bytes);
  *pointer = found;
  return cudaSuccess;
}

cudaError_t give_back(void* pointer) {
  if (!pointer) return cudaSuccess;
  Lock lock;
  auto at = blocks().find(static_cast<char*>(pointer));
  if (at == blocks().end()) return remember(cudaErrorInvalidValue);
  Block block = at->second;
  if (block.kind == device) hollow_release(block.gpu, block.bytes);
  munmap(pointer, block.bytes);
  blocks().erase(at);
  return cudaSuccess;
}

bool on_gpu(const void* pointer) { return hollow_kind(pointer, nullptr) == device; }
bool pinned(const void* pointer) { return hollow_kind(pointer, nullptr) == host; }

cudaError_t copy(void* to, const void* from, size_t bytes, bool blocking) {
  Lock lock;
  bool out = on_gpu(from), in = on_gpu(to), waits = false;
  if (hollow_captured_graph()) {
    hollow_add_to_graph("memcpy");
  } else if (out && in) {
    ++counts.d2d;
    counts.d2d_bytes += static_cast<long>(bytes);
  } else if (out) {
    ++counts.d2h;
    counts.d2h_bytes += static_cast<long>(bytes);
    waits = blocking || !pinned(to);
  } else if (in) {
    ++counts.h2d;
    counts.h2d_bytes += static_cast<long>(bytes);
    waits = blocking || (!pinned(from) && bytes > staged_copy);
  }
  if (waits) hollow_count_wait(out ? "copy to the host" : "copy to the device");
  if (!(out && in) || bytes <= largest_device_copy) std::memmove(to, from, bytes);
  return cudaSuccess;
}

cudaError_t fill(void* pointer, int value, size_t bytes) {
  hollow_count_memset();
  if (value || bytes <= (1u << 20)) std::memset(pointer, value, bytes);  // larger ones are 0 anyway
  return cudaSuccess;
}
}  // namespace

API Kind hollow_kind(const void* pointer, int* gpu) {
  Lock lock;
  auto* block = find(pointer);
  if (gpu) *gpu = block ? block->second.gpu : -1;
  if (!block) return unknown;
  return block->second.kind == reserved ? device : block->second.kind;
}

// --- Virtual memory, which torch's expandable segments use through the driver (driver.cpp).
API int hollow_reserve(void** pointer, size_t bytes) {
  Lock lock;
  *pointer = map_memory(bytes);
  if (!*pointer) return 1;
  blocks()[static_cast<char*>(*pointer)] = {bytes, reserved, hollow_current_device()};
  return 0;
}
API int hollow_unreserve(void* pointer, size_t bytes) {
  Lock lock;
  blocks().erase(static_cast<char*>(pointer));
  return munmap(pointer, bytes);
}
API int hollow_create(int gpu, size_t bytes) {
  Lock lock;
  if (used_bytes(gpu) + bytes + hollow_context() > hollow_memory()) return 1;
  used_bytes(gpu) += bytes;
  ++counts.mallocs;
  return 0;
}
API int hollow_release(int gpu, size_t bytes) {
  Lock lock;
  used_bytes(gpu) -= bytes;
  ++counts.frees;
  return 0;
}

// --- The runtime's functions.
API cudaError_t cudaMalloc(void** p, size_t n) { return allocate(p, n, device); }
API cudaError_t cudaMallocAsync(void** p, size_t n, cudaStream_t) { return allocate(p, n, device); }
API cudaError_t cudaMallocManaged(void** p, size_t n, unsigned) { return allocate(p, n, managed); }
API cudaError_t cudaHostAlloc(void** p, size_t n, unsigned) { return allocate(p, n, host); }
API cudaError_t cudaMallocHost(void** p, size_t n) { return allocate(p, n, host); }
API cudaError_t cudaFree(void* p) { return give_back(p); }
API cudaError_t cudaFreeAsync(void* p, cudaStream_t) { return give_back(p); }
API cudaError_t cudaFreeHost(void* p) { return give_back(p); }
API cudaError_t cudaHostRegister(void* p, size_t n, unsigned) {
  Lock lock;
  blocks()[static_cast<char*>(p)] = {n, host, hollow_current_device()};
  return cudaSuccess;
}
API cudaError_t cudaHostUnregister(void* p) {
  Lock lock;
  blocks().erase(static_cast<char*>(p));
  return cudaSuccess;
}
API cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = hollow_memory();
  *free = hollow_memory() - hollow_context() - used_bytes(hollow_current_device());
  return cudaSuccess;
}
API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* found, const void* pointer) {
  std::memset(found, 0, sizeof *found);
  Kind kind = hollow_kind(pointer, &found->device);
  found->type = static_cast<cudaMemoryType>(kind);
  if (kind == device || kind == managed) found->devicePointer = const_cast<void*>(pointer);
  if (kind == host || kind == managed) found->hostPointer = const_cast<void*>(pointer);
  return cudaSuccess;
}
API cudaError_t cudaMemcpy(void* to, const void* from, size_t n, cudaMemcpyKind) {
  return copy(to, from, n, true);
}
API cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t n, cudaMemcpyKind, cudaStream_t) {
  return copy(to, from, n, false);
}
API cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t n, cudaStream_t) {
  return copy(to, from, n, false);
}
API cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                                  size_t width, size_t height, cudaMemcpyKind, cudaStream_t) {
  for (size_t row = 0; row < height; ++row)
    copy(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch,
         width, false);
  return cudaSuccess;
}
API cudaError_t cudaMemcpyToSymbol(const void*, const void*, size_t, size_t, cudaMemcpyKind) {
  return cudaSuccess;
}
API cudaError_t cudaMemset(void* p, int value, size_t n) { return fill(p, value, n); }
API cudaError_t cudaMemsetAsync(void* p, int value, size_t n, cudaStream_t) {
  return fill(p, value, n);
}
#if CUDART_VERSION >= 13000
API cudaError_t cudaMemPrefetchAsync(const void*, size_t, cudaMemLocation, unsigned, cudaStream_t) {
#else
API cudaError_t cudaMemPrefetchAsync(const void*, size_t, int, cudaStream_t) {
#endif
  hollow_count_prefetch();
  return cudaSuccess;
}
API cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = reinterpret_cast<cudaMemPool_t>(8);  // never read
  return cudaSuccess;
}
API cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr, void* value) {
  *static_cast<long*>(value) = 0;
  return cudaSuccess;
}
