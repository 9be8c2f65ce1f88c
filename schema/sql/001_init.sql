-- kmemscope trace file, format 1.
--
-- Read schema/README.md first. Never edit this file once a release has written it: a reader compares
-- the text of every object. Changes are new files: 002_*.sql, 003_*.sql, ...
--
-- Units: _ns and columns named as in the API: nanoseconds; sizes in bytes. time_ns is counted from the
-- begin of the run, started and ended since 1970. Addresses and stack ids are 64 bits, kept as SQLite's
-- signed integers: kms_hex() prints them, and so does printf('%x', ...).
-- stack_id = image << 32 | node, 0 none. target is targets.id.
--
-- Plain SQL only, no STRICT, no generated columns: every sqlite3 since 3.8.2 reads this schema.

-- What the file is and how far its tracer came; keys in schema/README.md.
CREATE TABLE meta(
	key TEXT PRIMARY KEY NOT NULL,
	value
) WITHOUT ROWID;

-- Processes and guests. image: ordinal of its shared region; region_start: wall clock at the region's time 0.
CREATE TABLE targets(
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL,
	kind TEXT NOT NULL,
	pid INTEGER NOT NULL,
	state TEXT NOT NULL,
	started INTEGER NOT NULL,
	ended INTEGER NOT NULL,
	exit_status INTEGER NOT NULL,
	parent INTEGER NOT NULL,
	command TEXT NOT NULL,
	image INTEGER NOT NULL,
	slot INTEGER NOT NULL,
	region_start INTEGER NOT NULL
);

-- produced = stored + lost once everything was read.
CREATE TABLE rings(
	target INTEGER NOT NULL,
	ring INTEGER NOT NULL,
	produced INTEGER NOT NULL,
	stored INTEGER NOT NULL,
	lost INTEGER NOT NULL,
	PRIMARY KEY(target, ring)
) WITHOUT ROWID;

-- Events. A chunk is many ring blocks; its records are in chunk_data. dir: its blocks (tracer/chunk.h);
-- counts: JSON, events by kind; pages, stacks: filters (tracer/filter.h). seq_min to seq_max: of its events.
CREATE TABLE chunks(
	id INTEGER PRIMARY KEY,
	blocks INTEGER NOT NULL,
	events INTEGER NOT NULL,
	seq_min INTEGER NOT NULL,
	seq_max INTEGER NOT NULL,
	t0_ns INTEGER NOT NULL,
	t1_ns INTEGER NOT NULL,
	targets TEXT NOT NULL,
	counts TEXT NOT NULL,
	dir BLOB NOT NULL,
	pages BLOB NOT NULL,
	stacks BLOB NOT NULL
);

CREATE TABLE chunk_data(
	id INTEGER PRIMARY KEY,
	data BLOB NOT NULL
);

-- Blocks that are in no chunk yet: still being filled, or waiting for company. data: header and records.
CREATE TABLE open_blocks(
	ordinal INTEGER PRIMARY KEY,
	image INTEGER NOT NULL,
	target INTEGER NOT NULL,
	data BLOB NOT NULL
);

-- The append-only tables of the shared regions as they were, 1024 entries a row (tracer/table_page.h).
-- id = image << 32 | section << 16 | page: rows of some KiB are packed best in a table with a rowid.
CREATE TABLE region_pages(
	id INTEGER PRIMARY KEY,
	image INTEGER NOT NULL,
	section INTEGER NOT NULL,
	page INTEGER NOT NULL,
	entries INTEGER NOT NULL,
	data BLOB NOT NULL
);

-- The last copy of each target's slot page and counters, as in schema/region.h.
CREATE TABLE slot_copies(
	target INTEGER PRIMARY KEY,
	image INTEGER NOT NULL,
	data BLOB NOT NULL
);

-- Readable copies of some of region_pages.
CREATE TABLE modules(
	image INTEGER NOT NULL,
	idx INTEGER NOT NULL,
	"start" INTEGER NOT NULL,
	"end" INTEGER NOT NULL,
	load_bias INTEGER NOT NULL,
	slot INTEGER NOT NULL,
	epoch INTEGER NOT NULL,
	path TEXT,
	build_id TEXT,
	PRIMARY KEY(image, idx)
) WITHOUT ROWID;

CREATE TABLE threads(
	image INTEGER NOT NULL,
	idx INTEGER NOT NULL,
	slot INTEGER NOT NULL,
	tid INTEGER NOT NULL,
	name TEXT NOT NULL,
	PRIMARY KEY(image, idx)
) WITHOUT ROWID;

CREATE TABLE cache_names(
	image INTEGER NOT NULL,
	idx INTEGER NOT NULL,
	name TEXT NOT NULL,
	object_size INTEGER NOT NULL,
	stride INTEGER NOT NULL,
	kind INTEGER NOT NULL,
	PRIMARY KEY(image, idx)
) WITHOUT ROWID;

-- Which cache an address belonged to, from slab_grow and slab_release. t1_ns NULL: until the end.
CREATE TABLE spans(
	id INTEGER PRIMARY KEY,
	target INTEGER NOT NULL,
	image INTEGER NOT NULL,
	base INTEGER NOT NULL,
	pages INTEGER NOT NULL,
	cache INTEGER NOT NULL,
	t0_ns INTEGER NOT NULL,
	t1_ns INTEGER
);

-- Symbols of the stacks that matter. symbols: JSON array of symbols.id, innermost frame first.
CREATE TABLE symbols(
	id INTEGER PRIMARY KEY,
	address INTEGER NOT NULL,
	module TEXT,
	"offset" INTEGER NOT NULL,
	function TEXT,
	file TEXT,
	line INTEGER NOT NULL,
	inlined INTEGER NOT NULL
);

CREATE TABLE stacks(
	id INTEGER PRIMARY KEY,
	cut INTEGER NOT NULL,
	symbols TEXT NOT NULL
);

-- The last snapshot. Columns are the members of the API. target 0: the whole run; its seq and time are in meta.
CREATE TABLE stats(
	target INTEGER PRIMARY KEY,
	live_bytes INTEGER NOT NULL,
	live_objects INTEGER NOT NULL,
	peak_bytes INTEGER NOT NULL,
	allocs INTEGER NOT NULL,
	frees INTEGER NOT NULL,
	failed INTEGER NOT NULL,
	alloc_rate INTEGER NOT NULL,
	free_rate INTEGER NOT NULL,
	faults INTEGER NOT NULL,
	events TEXT NOT NULL,
	produced INTEGER NOT NULL,
	stored INTEGER NOT NULL,
	lost INTEGER NOT NULL,
	ring_fill REAL NOT NULL,
	waits INTEGER NOT NULL,
	waited_ns INTEGER NOT NULL,
	lag_us INTEGER NOT NULL,
	ns_per_event REAL NOT NULL
);

CREATE TABLE caches(
	target INTEGER NOT NULL,
	name TEXT NOT NULL,
	object_size INTEGER NOT NULL,
	objects_live INTEGER NOT NULL,
	objects_cached INTEGER NOT NULL,
	objects_guarded INTEGER NOT NULL,
	objects_total INTEGER NOT NULL,
	slabs INTEGER NOT NULL,
	pages INTEGER NOT NULL,
	utilization REAL NOT NULL,
	waste_bytes INTEGER NOT NULL,
	live_bytes INTEGER NOT NULL,
	allocs INTEGER NOT NULL,
	frees INTEGER NOT NULL,
	failed INTEGER NOT NULL,
	alloc_rate INTEGER NOT NULL,
	free_rate INTEGER NOT NULL
);

CREATE TABLE guard(
	target INTEGER NOT NULL,
	depth_requested INTEGER NOT NULL,
	depth INTEGER NOT NULL,
	pending INTEGER NOT NULL,
	used INTEGER NOT NULL,
	bytes INTEGER NOT NULL,
	pages INTEGER NOT NULL,
	live INTEGER NOT NULL,
	frees INTEGER NOT NULL,
	evictions INTEGER NOT NULL,
	unguarded INTEGER NOT NULL,
	oldest_age_us INTEGER NOT NULL,
	window_frees INTEGER NOT NULL,
	oldest_free_ns INTEGER NOT NULL,
	oldest_free_nr INTEGER NOT NULL,
	maps_used INTEGER NOT NULL,
	maps_max INTEGER NOT NULL,
	limited_by TEXT NOT NULL,
	backend TEXT NOT NULL
);

-- Live blocks by allocation stack and cache. at_exit and never_freed: 0 or 1.
CREATE TABLE leak_rows(
	rank INTEGER PRIMARY KEY,
	target INTEGER NOT NULL,
	id TEXT NOT NULL,
	stack_id INTEGER NOT NULL,
	cache TEXT,
	score REAL NOT NULL,
	bytes INTEGER NOT NULL,
	count INTEGER NOT NULL,
	age_p50_us INTEGER NOT NULL,
	allocs INTEGER NOT NULL,
	growth_bytes_per_s REAL NOT NULL,
	age_over_lifetime REAL NOT NULL,
	freed INTEGER NOT NULL,
	never_freed INTEGER NOT NULL,
	at_exit INTEGER NOT NULL,
	state TEXT NOT NULL,
	folded INTEGER NOT NULL
);

-- raw: struct kms_fault.
CREATE TABLE fault_rows(
	id INTEGER PRIMARY KEY,
	target INTEGER NOT NULL,
	kind TEXT NOT NULL,
	access TEXT NOT NULL,
	time_ns INTEGER NOT NULL,
	address INTEGER NOT NULL,
	size INTEGER NOT NULL,
	cache TEXT,
	"offset" INTEGER NOT NULL,
	thread INTEGER NOT NULL,
	thread_name TEXT,
	stack_id INTEGER NOT NULL,
	alloc_stack_id INTEGER NOT NULL,
	free_stack_id INTEGER NOT NULL,
	report TEXT NOT NULL,
	raw BLOB NOT NULL
);

-- Every owner that a fault's address had, newest (n = 0) first. free_ns 0: still live.
CREATE TABLE fault_owners(
	fault INTEGER NOT NULL,
	n INTEGER NOT NULL,
	alloc_ns INTEGER NOT NULL,
	free_ns INTEGER NOT NULL,
	bytes INTEGER NOT NULL,
	alloc_stack_id INTEGER NOT NULL,
	free_stack_id INTEGER NOT NULL,
	thread INTEGER NOT NULL,
	PRIMARY KEY(fault, n)
) WITHOUT ROWID;

-- One row for each snapshot that was written.
CREATE TABLE samples(
	time_ns INTEGER PRIMARY KEY,
	live_bytes INTEGER NOT NULL,
	live_objects INTEGER NOT NULL,
	allocs INTEGER NOT NULL,
	frees INTEGER NOT NULL,
	alloc_rate INTEGER NOT NULL,
	free_rate INTEGER NOT NULL,
	faults INTEGER NOT NULL,
	lost INTEGER NOT NULL,
	guard_used INTEGER NOT NULL,
	guard_depth INTEGER NOT NULL
);

CREATE TABLE marks(
	seq INTEGER PRIMARY KEY,
	time_ns INTEGER NOT NULL,
	target INTEGER NOT NULL,
	name TEXT
);

-- Writes to a target's variables. wall_ns: since 1970.
CREATE TABLE audit(
	id INTEGER PRIMARY KEY,
	wall_ns INTEGER NOT NULL,
	who TEXT NOT NULL,
	target INTEGER NOT NULL,
	variable TEXT NOT NULL,
	value INTEGER NOT NULL,
	result TEXT NOT NULL
);

CREATE VIEW frames AS
SELECT s.id AS stack_id, j.key AS depth, y.address, y.module, y."offset", y.function, y.file, y.line,
	y.inlined
FROM stacks s, json_each(s.symbols) j JOIN symbols y ON y.id = j.value;

-- A stack as the API writes it: a JSON array. No JSON functions: where the schema is not trusted (and a reader of
-- foreign files does not) views may not call them before SQLite 3.41.
CREATE VIEW stack_json AS
SELECT s.id AS stack_id, (
	SELECT '[' || coalesce(group_concat(frame), '') || ']'
	FROM (SELECT printf('{"address":"0x%x","module":%s,"offset":%d,"function":%s,"file":%s,"line":%d,"inlined":%s}',
		address,
		CASE WHEN module IS NULL THEN 'null'
			ELSE '"' || replace(replace(module, '\', '\\'), '"', '\"') || '"' END,
		"offset",
		CASE WHEN function IS NULL THEN 'null'
			ELSE '"' || replace(replace(function, '\', '\\'), '"', '\"') || '"' END,
		CASE WHEN file IS NULL THEN 'null'
			ELSE '"' || replace(replace(file, '\', '\\'), '"', '\"') || '"' END,
		line,
		CASE inlined WHEN 0 THEN 'false' ELSE 'true' END) AS frame
	FROM frames WHERE stack_id = s.id ORDER BY depth)) AS stack
FROM stacks s;

CREATE VIEW leaks AS
SELECT l.target, l.id, l.score, l.bytes, l.count, l.age_p50_us, l.growth_bytes_per_s, l.cache,
	(SELECT stack FROM stack_json j WHERE j.stack_id = l.stack_id) AS stack,
	printf('{"growth_bytes_per_s":%!.15g,"age_over_lifetime":%!.15g,"freed":%d,"never_freed":%s,"at_exit":%s}',
		l.growth_bytes_per_s, l.age_over_lifetime, l.freed,
		CASE l.never_freed WHEN 0 THEN 'false' ELSE 'true' END,
		CASE l.at_exit WHEN 0 THEN 'false' ELSE 'true' END) AS evidence,
	l.state, l.stack_id, l.allocs, l.folded
FROM leak_rows l ORDER BY l.rank;

CREATE VIEW sites AS
SELECT l.target, l.stack_id, l.cache, l.bytes AS live_bytes, l.count AS live_objects, l.allocs,
	l.freed AS frees, l.folded
FROM leak_rows l;

CREATE VIEW faults AS
SELECT f.target, f.id, f.kind, f.address, f.access, f.size, f.cache, f."offset", f.thread,
	(SELECT stack FROM stack_json j WHERE j.stack_id = f.stack_id) AS stack,
	(SELECT stack FROM stack_json j WHERE j.stack_id = f.alloc_stack_id) AS alloc_stack,
	(SELECT stack FROM stack_json j WHERE j.stack_id = f.free_stack_id) AS free_stack,
	(SELECT '[' || coalesce(group_concat(owner), '') || ']'
	FROM (SELECT printf('{"alloc_ns":%d,"free_ns":%d,"bytes":%d,"alloc_stack_id":%d,"free_stack_id":%d,"thread":%d}',
		o.alloc_ns, o.free_ns, o.bytes, o.alloc_stack_id, o.free_stack_id, o.thread) AS owner
	FROM fault_owners o WHERE o.fault = f.id ORDER BY o.n)) AS owners,
	f.report, f.time_ns, f.thread_name, f.stack_id, f.alloc_stack_id, f.free_stack_id
FROM fault_rows f;
