-- kmemscope trace file, format 2: moments that somebody marked, and what each site held then.
--
-- The table marks has the mark records of targets; these are the tracer's own notes, made whether a target
-- answers or sleeps. target, stack_id, bytes and count are as in leak_rows; cache '' is unknown.
CREATE TABLE mark_points(
	id INTEGER PRIMARY KEY,
	time_ns INTEGER NOT NULL,
	wall_ns INTEGER NOT NULL,
	name TEXT NOT NULL
);

CREATE TABLE mark_sites(
	mark INTEGER NOT NULL,
	target INTEGER NOT NULL,
	stack_id INTEGER NOT NULL,
	cache TEXT NOT NULL,
	bytes INTEGER NOT NULL,
	count INTEGER NOT NULL,
	PRIMARY KEY(mark, target, stack_id, cache)
) WITHOUT ROWID;
