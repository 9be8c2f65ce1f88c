# The tracer's reader: full rings to checked batches (reader/bench_reader.c).
if(TARGET kms_tracer_workload)
	kms_program(bench_reader DIR bench SOURCES
		reader/bench_reader.c
		LIBS kms_tracer kms_tracer_workload)
endif()
