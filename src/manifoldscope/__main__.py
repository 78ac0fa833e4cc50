"""`python -m manifoldscope`."""

import sys

from manifoldscope.cli import main

sys.exit(main())
