"""Speed, as ratios against floors of the same run: `make bench`, or `python -m benchmarks [documents|dav|memory]`."""
