# Starting a program under trace: options, folders, the front and the tracer's process.
target_sources(kms_tracer PRIVATE
	daemon.c
	daemon_adopt.c
	daemon_attach.c
	daemon_front.c
	daemon_guest.c
	daemon_guest_ask.c
	daemon_join.c
	daemon_name.c
	daemon_note.c
	daemon_run.c
	launch.c
	options.c
	run.c
	run_start.c
	run_stay.c
	run_tracer.c
	session.c)
