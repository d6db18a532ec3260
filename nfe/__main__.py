"""``python -m nfe`` is nfe-bench."""

import sys

from nfe.cli import main

sys.exit(main())
