// What the parts of the hollow GPU share: its settings, its counts, its memory blocks.
#pragma once
#include <cstddef>

#define API extern "C" __attribute__((visibility("default")))

// --- Settings, from the environment.
API int hollow_gpus();            // GPUs of the machine: HOLLOW_GPUS, 1 by default
API int hollow_visible_gpus();    // those that CUDA_VISIBLE_DEVICES lets this process see
API int hollow_gpu_on_bus(int device);  // number on the bus of a visible GPU
API size_t hollow_memory();       // bytes of one GPU: HOLLOW_MEMORY_MIB
API size_t hollow_context();      // bytes that a CUDA context takes: HOLLOW_CONTEXT_MIB
API int hollow_cuda_version();    // 13000, as the runtime's headers say
API const char* hollow_gpu_name();
API long hollow_setting(const char* name, long otherwise);

// --- Counts.
API void hollow_count_launch(const char* kernel);
API void hollow_count_product(const char* types, double m, double n, double k, double batch);
// Returns false, and counts nothing, if this thread captures a graph: CUDA forbids waiting there.
API bool hollow_count_wait(const char* why);
API void hollow_count_memset();
API void hollow_count_prefetch();

// --- The device of this thread.
API int hollow_current_device();

// --- Memory. Kinds as cudaMemoryType numbers them; a reserved range is device memory whose bytes
// are counted when they are created (expandable segments).
enum Kind { unknown = 0, host = 1, device = 2, managed = 3, reserved = 4 };
API Kind hollow_kind(const void* pointer, int* device);
API int hollow_reserve(void** pointer, size_t bytes);
API int hollow_unreserve(void* pointer, size_t bytes);
API int hollow_create(int device, size_t bytes);
API int hollow_release(int device, size_t bytes);

// --- Graphs: the one that this thread captures.
API void* hollow_captured_graph();
API bool hollow_add_to_graph(const char* kernel);

// --- The report: for tests, which call these three through ctypes.
API const char* hollow_report();  // JSON; the text is valid until the next call
API void hollow_reset();
API void hollow_on_wait(void (*callback)(const char* why));

// Internal to the runtime library.
struct Counts {
  long launches = 0, graph_launches = 0, waits = 0, memsets = 0, prefetches = 0;
  long h2d = 0, d2h = 0, d2d = 0, h2d_bytes = 0, d2h_bytes = 0, d2d_bytes = 0;
  long mallocs = 0, frees = 0, managed_bytes = 0;
};
extern Counts counts;
size_t& used_bytes(int device);  // of device memory, without contexts
void lock_state();
void unlock_state();
struct Lock {
  Lock() { lock_state(); }
  ~Lock() { unlock_state(); }
};
