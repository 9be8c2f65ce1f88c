-- kmemscope trace file, format 4: figures over time of each target, as samples has them of the run.
--
-- A row a second for each target that lives, of the last five minutes: what a graph of one target begins with.
CREATE TABLE target_samples(
	time_ns INTEGER NOT NULL,
	target INTEGER NOT NULL,
	live_bytes INTEGER NOT NULL,
	live_objects INTEGER NOT NULL,
	allocs INTEGER NOT NULL,
	frees INTEGER NOT NULL,
	alloc_rate INTEGER NOT NULL,
	free_rate INTEGER NOT NULL,
	faults INTEGER NOT NULL,
	lost INTEGER NOT NULL,
	guard_used INTEGER NOT NULL,
	guard_depth INTEGER NOT NULL,
	PRIMARY KEY(time_ns, target)
) WITHOUT ROWID;
