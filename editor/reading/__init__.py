"""What two sentences say about an edit. No torch, no tokenizer, no request: the method turns a `Reading` into steps."""

from editor.reading.changes import Change, Kind
from editor.reading.edit import Piece, Reading, Shapes, read_edit
from editor.reading.lexicon import bare

__all__ = ["Change", "Kind", "Piece", "Reading", "Shapes", "bare", "read_edit"]
