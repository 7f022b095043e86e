# Recast in a container. The PyTorch wheels bring their own CUDA libraries: with the NVIDIA container toolkit and
# `--gpus all` the edit runs on the GPU, without them on the CPU.
FROM python:3.11.13-slim-bookworm@sha256:86adf8dbadc3d6e82ee5dd2c74bec2e1c2467cdad47886280501df722372d2e1

RUN useradd --create-home --uid 1000 recast
WORKDIR /home/recast/app

# Before the code: a change of the code does not install everything again.
COPY requirements.lock requirements.txt requirements-mcp.txt ./
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock
RUN pip install --no-cache-dir -r requirements.txt -r requirements-mcp.txt

COPY app.py ./
COPY editor ./editor
COPY assets ./assets

RUN mkdir /home/recast/data && chown recast:recast /home/recast/data
USER recast
ENV HOME=/home/recast \
    HF_HOME=/home/recast/data/huggingface \
    EDITOR_HOST=0.0.0.0 \
    EDITOR_PORT=7860 \
    EDITOR_DATA=/home/recast/data \
    PYTHONUNBUFFERED=1
VOLUME ["/home/recast/data"]
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/healthz', timeout=8)"]
CMD ["python", "app.py"]
