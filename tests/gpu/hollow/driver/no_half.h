// Include this before a header of cuBLAS or NCCL. They want CUDA's headers of 16 and 8 bit numbers, which
// need files that no wheel brings; only the names of the types are needed here.
#pragma once
#define __CUDA_FP16_H__
#define __CUDA_BF16_H__
#define __CUDA_FP8_H__
struct __half;
struct __half2;
struct __nv_bfloat16;
