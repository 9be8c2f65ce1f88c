# Ingest: ring blocks to a trace file and back (ingest/bench_ingest.c).
if(TARGET kms_tracer_workload)
	kms_program(bench_ingest DIR bench SOURCES
		ingest/bench_ingest.c
		ingest/model.c
		ingest/read.c
		ingest/rows.c
		ingest/source.c
		LIBS kms_tracer kms_tracer_workload)
endif()
