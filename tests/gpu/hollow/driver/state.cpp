// Settings from the environment, and the counts with their report.
#include "state.h"

#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <vector>

Counts counts;

namespace {
// Objects that live as long as the process: libraries still call us while it ends.
std::recursive_mutex& mutex() {
  static auto* one = new std::recursive_mutex;
  return *one;
}
std::map<std::string, long>& launched() {
  static auto* one = new std::map<std::string, long>;
  return *one;
}
std::map<std::string, double>& operations() {
  static auto* one = new std::map<std::string, double>;
  return *one;
}
size_t used[64] = {};
void (*wait_callback)(const char*) = nullptr;

// The GPU on the bus that a part of CUDA_VISIBLE_DEVICES names, or -1. bin/nvidia-smi and NVML
// write UUIDs as GPU-0000000N-..., N from 1.
int named_gpu(const std::string& part) {
  if (part.rfind("GPU-0000000", 0) == 0) return part[11] - '1';
  bool number = !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
  return number ? std::atoi(part.c_str()) : -1;
}

std::vector<int> read_visible() {
  std::vector<int> found;
  int gpus = hollow_gpus();
  const char* text = std::getenv("CUDA_VISIBLE_DEVICES");
  if (!text) {
    for (int gpu = 0; gpu < gpus; ++gpu) found.push_back(gpu);
    return found;
  }
  std::string rest(text);
  while (true) {
    size_t comma = rest.find(',');
    int gpu = named_gpu(rest.substr(0, comma));
    if (gpu < 0 || gpu >= gpus) return found;  // ends the list, as the driver has it
    found.push_back(gpu);
    if (comma == std::string::npos) return found;
    rest = rest.substr(comma + 1);
  }
}

const std::vector<int>& visible() {
  static const auto* found = new std::vector<int>(read_visible());
  return *found;
}

std::string quoted(const std::string& name) {
  std::string text = "\"";
  for (char letter : name) {
    if (letter == '"' || letter == '\\') text += '\\';
    text += letter;
  }
  return text + "\"";
}
}  // namespace

void lock_state() { mutex().lock(); }
void unlock_state() { mutex().unlock(); }
size_t& used_bytes(int device) { return used[device]; }

API long hollow_setting(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  return text && *text ? std::atol(text) : otherwise;
}
API int hollow_gpus() { return static_cast<int>(hollow_setting("HOLLOW_GPUS", 1)); }
API int hollow_visible_gpus() { return static_cast<int>(visible().size()); }
API int hollow_gpu_on_bus(int device) { return visible().at(device); }
API int hollow_cuda_version() { return CUDART_VERSION; }
API size_t hollow_memory() {
  static const auto bytes = static_cast<size_t>(hollow_setting("HOLLOW_MEMORY_MIB", 143771)) << 20;
  return bytes;
}
API size_t hollow_context() {
  static const auto bytes = static_cast<size_t>(hollow_setting("HOLLOW_CONTEXT_MIB", 600)) << 20;
  return bytes;
}
API const char* hollow_gpu_name() {
  const char* name = std::getenv("HOLLOW_NAME");
  return name ? name : "NVIDIA H200";
}

API void hollow_count_launch(const char* kernel) {
  Lock lock;
  if (hollow_add_to_graph(kernel)) return;
  ++counts.launches;
  ++launched()[kernel];
}

API void hollow_count_product(const char* types, double m, double n, double k, double batch) {
  Lock lock;
  char name[200];
  std::snprintf(name, sizeof name, "gemm %s m=%.0f n=%.0f k=%.0f%s", types, m, n, k,
                batch > 1 ? " batched" : "");
  hollow_count_launch(name);
  operations()[types] += 2 * m * n * k * batch;
}

API bool hollow_count_wait(const char* why) {
  if (hollow_captured_graph()) return false;
  ++counts.waits;
  if (wait_callback) wait_callback(why);
  return true;
}

API void hollow_count_memset() {
  Lock lock;
  if (!hollow_add_to_graph("memset")) ++counts.memsets;
}

API void hollow_count_prefetch() { ++counts.prefetches; }

API void hollow_on_wait(void (*callback)(const char*)) { wait_callback = callback; }

API void hollow_reset() {
  Lock lock;
  counts = Counts();
  launched().clear();
  operations().clear();
}

API const char* hollow_report() {
  static std::string text;
  Lock lock;
  const std::pair<const char*, long> numbers[] = {
      {"launches", counts.launches},     {"graph_launches", counts.graph_launches},
      {"waits", counts.waits},           {"memsets", counts.memsets},
      {"prefetches", counts.prefetches}, {"h2d", counts.h2d},
      {"d2h", counts.d2h},               {"d2d", counts.d2d},
      {"h2d_bytes", counts.h2d_bytes},   {"d2h_bytes", counts.d2h_bytes},
      {"d2d_bytes", counts.d2d_bytes},   {"mallocs", counts.mallocs},
      {"frees", counts.frees},           {"managed_bytes", counts.managed_bytes},
      {"used", static_cast<long>(used[0])},
  };
  text = "{";
  for (auto& [name, number] : numbers) text += quoted(name) + ": " + std::to_string(number) + ", ";
  text += "\"flops\": {";
  const char* comma = "";
  for (auto& [types, number] : operations()) {
    text += comma + quoted(types) + ": " + std::to_string(number);
    comma = ", ";
  }
  text += "}, \"kernels\": {";
  comma = "";
  for (auto& [kernel, number] : launched()) {
    text += comma + quoted(kernel) + ": " + std::to_string(number);
    comma = ", ";
  }
  text += "}}";
  return text.c_str();
}
