"""`python -m ouvroir` is the command line."""

from ouvroir.cli import main

main()
