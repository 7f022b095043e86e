"""From edited latents to the frames of the result, at the clip's own size."""

import numpy as np
from PIL import Image

from editor.diffusion.latents import decode_latents, unpad_frames
from editor.method.detail import left_alone, with_detail
from editor.method.sampling import Sampled
from editor.stages.footage import Footage
from editor.stages.session import Session
from editor.stages.source import Source


def finished_frames(session: Session, footage: Footage, source: Source, sampled: Sampled, index: int) -> np.ndarray:
    """The frames of target `index`, uint8 (F, H, W, 3), with the clip's own detail where that was asked for."""
    models, fit, latents = session.models, footage.fit, sampled.latents[index]
    frames = session.memory.within(lambda chunks: decode_latents(models.vae, latents, chunks.vae))
    if not session.request.keep_detail:
        return footage.restored(frames)
    cell = fit.padded[0] // latents.shape[-1]
    share = left_alone(unpad_frames(frames, fit), unpad_frames(source.rebuilt, fit), cell)
    share = np.stack([np.asarray(Image.fromarray(s).resize(fit.clip, Image.Resampling.BILINEAR)) for s in share])
    return with_detail(footage.restored(frames), footage.restored(source.rebuilt), footage.clip.frames, share)
