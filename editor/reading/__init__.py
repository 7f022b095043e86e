"""What two sentences say about an edit. No torch, no tokenizer, no request: the method turns a `Reading` into steps."""

from editor.reading.edit import Change, Reading, read_edit

__all__ = ["Change", "Reading", "read_edit"]
