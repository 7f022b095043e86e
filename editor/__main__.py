"""`python -m editor`: see `editor.cli`."""

import sys

from editor.cli import main

sys.exit(main())
