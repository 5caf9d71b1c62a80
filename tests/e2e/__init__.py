"""The dashboard in a browser: `make e2e` tests it, `make pictures` shows it and the rest."""
