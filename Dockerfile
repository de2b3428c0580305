# The suite with everything it needs. CPU:
#     docker build -t dbbench --build-arg TORCH_INDEX=ADDRESS .
#     docker run --rm -v "$PWD/results:/dbbench/results" -v "$PWD/paper_figures:/dbbench/paper_figures" dbbench --cores 8 all
# where ADDRESS is the package index of PyTorch's CPU builds, which PyTorch's page on installation names; without it, pip takes what it
# finds, which may be several gigabytes of CUDA. One GPU: the index of the CUDA build for the driver at hand, and
#     docker run --rm --gpus 1 ... dbbench --profile profiles/gpu all
# Pods of profiles/kubernetes run the same image; they install Snakemake's plugin for S3, at the version pinned here.
FROM python:3.11-slim
ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
WORKDIR /dbbench
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY dbbench dbbench
COPY snakemake_logger_plugin_dbbench snakemake_logger_plugin_dbbench
RUN pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch==' constraints.txt)" && pip install -c constraints.txt -e .
COPY . .
ENV PIP_CONSTRAINT=/dbbench/constraints.txt
ENTRYPOINT ["snakemake"]
CMD ["--cores", "all", "all"]
