# The suite with everything it needs. CPU:
#     docker build -t dbbench .
#     docker run --rm -v "$PWD/results:/dbbench/results" -v "$PWD/paper_figures:/dbbench/paper_figures" dbbench --cores 8 all
# One GPU: PyTorch's CUDA build of the pinned version, from the index that PyTorch names for the driver at hand:
#     docker build -t dbbench:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
#     docker run --rm --gpus 1 ... dbbench:cuda --profile profiles/gpu all
FROM python:3.11-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
WORKDIR /dbbench
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY dbbench dbbench
RUN pip install --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)" && pip install -c constraints.txt -e .
COPY . .
ENTRYPOINT ["snakemake"]
CMD ["--cores", "all", "all"]
