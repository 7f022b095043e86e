"""The stages of `editor.pipeline.edit`, each from one kind of thing to the next: files, frames, latents, results."""
