# Guests: full rings of one to checked batches, and to a trace (guest/bench_drain.c). The rest is guest/run.sh.
kms_program(bench_drain DIR bench SOURCES guest/bench_drain.c LIBS kms_tracer)
