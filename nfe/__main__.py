"""``python -m nfe`` is nfe-bench."""

import sys

from nfe.cli.main import main

sys.exit(main())
