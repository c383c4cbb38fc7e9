// Streams, events and graphs. All work is done by the time that anyone asks for it; what would have
// made the host wait is counted.
#include "state.h"

#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdlib>
#include <string>

cudaError_t remember(cudaError_t error);

namespace {
struct Graph {
  long kernels = 0;
  unsigned long long number = 0;
};
// A thread that captures a stream launches into it alone, which holds for torch.cuda.graph.
thread_local Graph* capturing = nullptr;
thread_local cudaStream_t captured_stream = nullptr;

cudaError_t wait(const char* why) {
  return hollow_count_wait(why) ? cudaSuccess : remember(cudaErrorStreamCaptureUnsupported);
}

double milliseconds() {
  auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::milli>(now).count();
}

template <typename Handle>
cudaError_t create(Handle* handle) {
  *handle = static_cast<Handle>(std::calloc(1, sizeof(double)));
  return cudaSuccess;
}

cudaStreamCaptureStatus status_of(cudaStream_t stream) {
  bool active = capturing && stream == captured_stream;
  return active ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
}
}  // namespace

API void* hollow_captured_graph() { return capturing; }
API bool hollow_add_to_graph(const char*) {
  if (capturing) ++capturing->kernels;
  return capturing;
}

// --- Streams.
API cudaError_t cudaStreamCreate(cudaStream_t* stream) { return create(stream); }
API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) { return create(stream); }
API cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  return create(stream);
}
API cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  std::free(stream);
  return cudaSuccess;
}
API cudaError_t cudaStreamSynchronize(cudaStream_t) { return wait("cudaStreamSynchronize"); }
API cudaError_t cudaDeviceSynchronize() { return wait("cudaDeviceSynchronize"); }
API cudaError_t cudaStreamGetPriority(cudaStream_t, int* priority) {
  *priority = 0;
  return cudaSuccess;
}
API cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

// --- Events.
API cudaError_t cudaEventCreate(cudaEvent_t* event) { return create(event); }
API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { return create(event); }
API cudaError_t cudaEventDestroy(cudaEvent_t event) {
  std::free(event);
  return cudaSuccess;
}
API cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  *reinterpret_cast<double*>(event) = milliseconds();
  return cudaSuccess;
}
API cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  return cudaEventRecord(event, stream);
}
API cudaError_t cudaEventSynchronize(cudaEvent_t) { return wait("cudaEventSynchronize"); }
API cudaError_t cudaEventElapsedTime(float* found, cudaEvent_t from, cudaEvent_t to) {
  *found = static_cast<float>(*reinterpret_cast<double*>(to) - *reinterpret_cast<double*>(from));
  return cudaSuccess;
}

// --- Graphs: their kernels are counted at capture, and a launch of the graph is one launch.
API cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  static unsigned long long number = 0;
  if (capturing) return remember(cudaErrorStreamCaptureUnsupported);
  capturing = new Graph{0, ++number};
  captured_stream = stream;
  return cudaSuccess;
}
API cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  *graph = reinterpret_cast<cudaGraph_t>(capturing);
  capturing = nullptr;
  captured_stream = nullptr;
  return cudaSuccess;
}
API cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = status_of(stream);
  return cudaSuccess;
}
namespace {
cudaError_t capture_info(cudaStream_t stream, cudaStreamCaptureStatus* status,
                         unsigned long long* number, cudaGraph_t* graph,
                         const cudaGraphNode_t** nodes, size_t* count) {
  *status = status_of(stream);
  bool active = *status == cudaStreamCaptureStatusActive;
  if (number) *number = active ? capturing->number : 0;
  if (graph) *graph = active ? reinterpret_cast<cudaGraph_t>(capturing) : nullptr;
  if (nodes) *nodes = nullptr;
  if (count) *count = 0;
  return cudaSuccess;
}
}  // namespace
#if CUDART_VERSION >= 13000
API cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status,
                                         unsigned long long* number, cudaGraph_t* graph,
                                         const cudaGraphNode_t** nodes,
                                         const cudaGraphEdgeData** edges, size_t* count) {
  if (edges) *edges = nullptr;
  return capture_info(stream, status, number, graph, nodes, count);
}
#else
API cudaError_t cudaStreamGetCaptureInfo_v2(cudaStream_t stream, cudaStreamCaptureStatus* status,
                                            unsigned long long* number, cudaGraph_t* graph,
                                            const cudaGraphNode_t** nodes, size_t* count) {
  return capture_info(stream, status, number, graph, nodes, count);
}
#endif
API cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph,
                                              unsigned long long) {
  *executable = reinterpret_cast<cudaGraphExec_t>(graph);
  return cudaSuccess;
}
API cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
  long kernels = reinterpret_cast<Graph*>(executable)->kernels;
  ++counts.graph_launches;
  hollow_count_launch(("graph of " + std::to_string(kernels) + " kernels").c_str());
  return cudaSuccess;
}
