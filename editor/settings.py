"""Settings of the installation, from `EDITOR_*` environment variables. No torch here.

`Settings.from_env()` reads them once, at the start of a program; nothing else reads the environment.
"""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from editor.events import EditError

ROOT = Path(__file__).resolve().parent.parent
LOAN = "120"
"""Longest edit, in seconds, that a visitor's share of a Space's lent GPUs is asked for."""
PRIVATE = "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7"
"""Networks that no visitor comes from."""


def setting(default: Any, help: str, choices: tuple[str, ...] = ()) -> Any:  # noqa: ANN401
    """A field that knows its explanation and its allowed values."""
    return field(default=default, metadata={"help": help, "choices": choices})


@dataclass(frozen=True)
class Settings:
    """How this installation runs. Field `x` is set by the environment variable `EDITOR_X`."""

    host: str = setting("127.0.0.1", "Address the page is served at.")
    port: int = setting(7860, "Port the page is served at.")
    data: Path = setting(ROOT / "data", "Folder for the job store and caches.")
    share: bool = setting(False, "Open a Gradio share link.")
    model: str = setting("demo", "Model selected by default.")
    models: tuple[str, ...] = setting(("demo",), "Models the page offers, comma-separated.")
    captioner: str = setting(
        "", "Image-to-text model of the Hub that suggests what a clip shows, for models other than the built-in one."
    )
    clip: str = setting(
        "", "CLIP model that says how well a result matches its sentence: a folder with safetensors, or a Hub id."
    )
    loras: Path = setting(ROOT / "assets" / "loras", "Folder of the LoRA files that the page offers.")
    device: str = setting("auto", "Where the model runs.", ("auto", "cpu", "cuda", "mps"))
    devices: tuple[str, ...] = setting(
        (),
        "Devices that compute, one worker process each, comma-separated: auto (every CUDA device), cuda:0, mps, or "
        "cpu:2 for two workers on the processor; empty for the one that EDITOR_DEVICE chooses.",
    )
    executor: str = setting(
        "process",
        "What computes: worker processes, a Ray cluster, or GPUs that Spaces lends.",
        ("process", "ray", "zerogpu"),
    )
    ray_address: str = setting("auto", "Address of the Ray cluster's head; auto: the cluster of this machine.")
    ray_cpus: int = setting(4, "Processor cores of one worker on a Ray node without a GPU.")
    dtype: str = setting(
        "auto", "Precision of the UNet; auto: half on CUDA, else full.", ("auto", "float16", "bfloat16", "float32")
    )
    attention: str = setting("auto", "Attention kernel.", ("auto", "xformers", "sdpa", "plain"))
    offload: str = setting("none", "What is moved off the GPU between uses.", ("none", "model"))
    safety: str = setting("on", "Safety checker, where the checkpoint has one.", ("on", "off"))
    public_url: str = setting(
        "", "Address of the page in links, e.g. https://example.org; if empty, the address the visitor used."
    )
    allowed_hosts: tuple[str, ...] = setting(
        (),
        "Further host names the page may be reached under, comma-separated; * for any. IP addresses, localhost, this "
        "machine's name, public_url and a Space's own are always allowed.",
    )
    trusted_proxies: tuple[str, ...] = setting(
        (), "Addresses or networks of reverse proxies whose X-Forwarded headers are trusted, comma-separated."
    )
    max_connections: int = setting(1000, "Maximum number of open connections.")
    connections_per_address: int = setting(200, "Maximum open connections per network address.")
    upload_mb_per_hour: int = setting(4000, "Megabytes that one network address may upload within an hour.")
    max_seconds: float = setting(60.0, "Longest clip accepted, in seconds.")
    max_upload_mb: int = setting(100, "Largest upload, in megabytes.")
    max_frames: int = setting(480, "Maximum keyframes per job.")
    max_steps: int = setting(100, "Maximum denoising steps per job.")
    max_targets: int = setting(4, "Maximum target prompts per job.")
    queue_size: int = setting(20, "Maximum number of waiting jobs.")
    job_seconds: int = setting(1800, "Time limit of one job, in seconds.")
    jobs_per_visitor: int = setting(4, "Maximum running and waiting jobs per visitor.")
    jobs_per_address: int = setting(12, "Maximum running and waiting jobs per network address.")
    metrics: str = setting("off", "Figures for Prometheus at /metrics.", ("off", "on"))
    mcp: str = setting("off", "The named endpoints as tools for agents, over MCP, at /gradio_api/mcp.", ("off", "on"))
    log: str = setting("text", "Form of the log's lines.", ("text", "json"))
    keep_hours: float = setting(72.0, "Age at which results are deleted, in hours.")
    disk_budget_mb: int = setting(4000, "Disk space for results; the oldest are deleted first.")
    disk_floor_mb: int = setting(500, "Free disk space below which new jobs are refused.")
    cache_mb: int = setting(2000, "Disk space for cached inversions.")

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read `EDITOR_*`; an unusable value raises `EditError` naming the variable and what is allowed.

        On a Hugging Face Space, `host`, `public_url` and others follow from what the Space says of itself, unless set.
        """
        env = os.environ if env is None else env
        if env.get("SPACE_HOST"):
            # Only the Space's own proxy reaches it, from a private network.
            space = {"HOST": "0.0.0.0", "PUBLIC_URL": f"https://{env['SPACE_HOST']}", "TRUSTED_PROXIES": PRIVATE}
            if env.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true"):
                space |= {"EXECUTOR": "zerogpu", "JOB_SECONDS": LOAN}
            env = {**{variable(name): value for name, value in space.items()}, **env}
        values = {f.name: _parse(f, env[variable(f.name)]) for f in fields(cls) if env.get(variable(f.name), "") != ""}
        return cls(**values)


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"EDITOR_{name.upper()}"


def _parse(f: Any, text: str) -> Any:  # noqa: ANN401
    """Turn the text of one variable into the field's type."""
    choices = f.metadata["choices"]
    if choices and text not in choices:
        raise EditError(f"{variable(f.name)} is '{text}'. Allowed: {', '.join(choices)}.")
    if f.type is bool:
        if text.lower() not in {"0", "1", "false", "true", "no", "yes"}:
            raise EditError(f"{variable(f.name)} is '{text}'. Allowed: 0 or 1.")
        return text.lower() in {"1", "true", "yes"}
    if f.type is Path:
        return Path(text).expanduser().resolve()
    if f.type in (int, float):
        try:
            return f.type(text)
        except ValueError:
            raise EditError(f"{variable(f.name)} is '{text}'. It must be a number.") from None
    if f.type is str:
        return text
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    return tuple(map(_network, parts)) if f.name == "trusted_proxies" else parts


def _network(text: str) -> str:
    """An address or network, as it was written."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise EditError(
            f"EDITOR_TRUSTED_PROXIES names '{text}'. Allowed: addresses or networks, e.g. 10.0.0.0/8."
        ) from None
    return text
