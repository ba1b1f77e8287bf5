"""Measurements of speed and quality, each side by side with what people use otherwise.

`python -m benchmarks` runs them all, `python -m benchmarks.NAME` one, `--quick` smokes one in seconds without keeping
the figures. Results go to benchmarks/results/NAME.json; `python -m benchmarks.tables` turns them into
docs/benchmarks/README.md. They need the data sets of the tests (environment variable OUVROIR_TEST_DATA) and
`pip install 'ouvroir[all,bench]'`.
"""
