"""Untrusted bytes -> `Clip` -> playable files. No torch here.

`normalise` is the only function that decodes an upload; everything else reads what it wrote. `tag.read_tag` looks into
an upload for the settings of an earlier edit, and decodes nothing.
"""

from editor.media.clip import Clip, Interval, plan_interval, read_clip, read_thumbnails, spread_frames
from editor.media.compose import contact_sheet, filmstrip, psnr, side_by_side
from editor.media.ffmpeg import ffmpeg_path
from editor.media.normalise import normalise
from editor.media.probe import Limits, Probe, probe
from editor.media.write import AudioSpan, video_gif, video_writer, write_poster, write_preview, write_video

__all__ = [
    "AudioSpan",
    "Clip",
    "Interval",
    "Limits",
    "Probe",
    "contact_sheet",
    "ffmpeg_path",
    "filmstrip",
    "normalise",
    "plan_interval",
    "probe",
    "psnr",
    "read_clip",
    "read_thumbnails",
    "side_by_side",
    "spread_frames",
    "video_gif",
    "video_writer",
    "write_poster",
    "write_preview",
    "write_video",
]
