"""`python -m or_stream` is the command `or-stream`."""

from or_stream.cli import main

if __name__ == "__main__":
    main()
