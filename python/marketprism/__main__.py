"""``python -m marketprism`` is the ``marketprism`` command."""

import sys

from .cli import main

sys.exit(main())
