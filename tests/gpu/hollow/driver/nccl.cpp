// NCCL: every collective is over at once and has changed nothing; it never fails.
#include "state.h"
#include "no_half.h"

#include <nccl.h>

#include <cstring>

namespace {
struct Communicator {
  int size, rank;
};
ncclResult_t create(ncclComm_t* made, int size, int rank) {
  *made = reinterpret_cast<ncclComm_t>(new Communicator{size, rank});
  return ncclSuccess;
}
Communicator* of(ncclComm_t one) { return reinterpret_cast<Communicator*>(one); }
ncclResult_t collective(const char* name) {
  hollow_count_launch(name);
  return ncclSuccess;
}
}  // namespace

API ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}
API ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  std::memset(id, 7, sizeof *id);
  return ncclSuccess;
}
API ncclResult_t ncclCommInitRank(ncclComm_t* made, int size, ncclUniqueId, int rank) {
  return create(made, size, rank);
}
API ncclResult_t ncclCommInitRankConfig(ncclComm_t* made, int size, ncclUniqueId, int rank,
                                        ncclConfig_t*) {
  return create(made, size, rank);
}
API ncclResult_t ncclCommInitRankScalable(ncclComm_t* made, int size, int rank, int, ncclUniqueId*,
                                          ncclConfig_t*) {
  return create(made, size, rank);
}
API ncclResult_t ncclCommSplit(ncclComm_t one, int, int, ncclComm_t* made, ncclConfig_t*) {
  return create(made, of(one)->size, of(one)->rank);
}
API ncclResult_t ncclCommCount(const ncclComm_t one, int* size) {
  *size = of(one)->size;
  return ncclSuccess;
}
API ncclResult_t ncclCommUserRank(const ncclComm_t one, int* rank) {
  *rank = of(one)->rank;
  return ncclSuccess;
}
API ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* error) {
  *error = ncclSuccess;
  return ncclSuccess;
}
API const char* ncclGetErrorString(ncclResult_t) { return "an error of the hollow NCCL"; }
API const char* ncclGetLastError(ncclComm_t) { return ""; }
API ncclResult_t ncclAllReduce(const void*, void*, size_t, ncclDataType_t, ncclRedOp_t, ncclComm_t,
                               cudaStream_t) {
  return collective("ncclAllReduce");
}
API ncclResult_t ncclBroadcast(const void*, void*, size_t, ncclDataType_t, int, ncclComm_t,
                               cudaStream_t) {
  return collective("ncclBroadcast");
}
API ncclResult_t ncclAllGather(const void*, void*, size_t, ncclDataType_t, ncclComm_t,
                               cudaStream_t) {
  return collective("ncclAllGather");
}
API ncclResult_t ncclReduceScatter(const void*, void*, size_t, ncclDataType_t, ncclRedOp_t,
                                   ncclComm_t, cudaStream_t) {
  return collective("ncclReduceScatter");
}
