# The suite with everything it needs, at the pinned versions. Without a GPU:
#     docker build -t dbbench --build-arg CPU_INDEX=URL .     (URL: PyTorch's index of wheels for the CPU)
# For NVIDIA GPUs (the builds of PyPI bring CUDA's libraries; the host needs the driver and NVIDIA's container toolkit):
#     docker build -t dbbench:cuda --build-arg TORCH=cuda .
# How to run them, also with Apptainer and on a cluster: docs/containers.md.
ARG TORCH=cpu

FROM python:3.11-slim AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
WORKDIR /dbbench
COPY constraints.txt ./

FROM base AS torch-cpu
# PyTorch's index of wheels for the CPU, as its installation page names it
ARG CPU_INDEX
RUN pip install --no-deps --index-url "${CPU_INDEX:?--build-arg CPU_INDEX=... names the index of CPU wheels}" $(grep -E '^torch(vision)?==' constraints.txt)

FROM base AS torch-cuda
RUN pip install -c constraints.txt $(grep -E '^torch(vision)?==' constraints.txt)

FROM torch-${TORCH}
COPY pyproject.toml README.md LICENSE ./
COPY dbbench dbbench
COPY snakemake_logger_plugin_dbbench snakemake_logger_plugin_dbbench
RUN pip install -c constraints.txt -e .
COPY . .
# a pod of profiles/kubernetes installs Snakemake's plugin for S3 when it starts
ENV PIP_CONSTRAINT=/dbbench/constraints.txt
ENTRYPOINT ["snakemake"]
CMD ["--cores", "all", "all"]
