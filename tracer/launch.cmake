# Starting a program under trace: options, folders, the front and the tracer's process.
target_sources(kms_tracer PRIVATE
	launch.c
	options.c
	run.c
	run_start.c
	run_tracer.c
	session.c)
