"""What tools/bench_evaluator.py is made of: workloads, contenders, bounds, the error of samplers, reports and plots."""
