# anima-exp for machines with an NVIDIA GPU. The host needs only the driver and NVIDIA's container
# toolkit: torch's wheels bring CUDA, and bitsandbytes its kernels.
#
#   docker build -t anima-exp:gpu .
#   docker run --rm --gpus all -v $PWD/runs:/data/runs -v $HOME/.cache:/data/cache \
#       anima-exp:gpu train model=qwen3_8b data=alpaca
#
# This file has not been built yet: no machine with Docker was available. It was checked by reading.
FROM python:3.12-slim

# Triton compiles small launchers with gcc when a kernel runs for the first time. git gives the
# record its commit.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev git \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/anima-exp
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
COPY conf ./conf
COPY sweeps ./sweeps
RUN pip install --no-cache-dir '.[gpu,judge,optuna]'

# Runs are written into the mounted folder. Several processes need more shared memory than Docker's
# 64 MB: add --ipc=host with trainer.num_gpus=2 or more.
WORKDIR /data
# Models, data sets and token ids are cached in the mounted folder too.
ENV PYTHONUNBUFFERED=1 XDG_CACHE_HOME=/data/cache
ENTRYPOINT ["anima-exp"]
CMD ["train", "--help"]
