"""`python -m panelica_async.sandbox --port 3002 --db panel.db`."""

import sys

from panelica_async.sandbox.command import main

sys.exit(main())
