-- kmemscope trace file, format 3: a leak is one row for its stack, whatever the sizes of its blocks.
--
-- leak_rows.cache is the cache with most of its bytes; here are all of them, n from 0 in that order. bytes and
-- count of the caches of a row add up to those of the row. cache is NULL where it is unknown.
CREATE TABLE leak_caches(
	rank INTEGER NOT NULL,
	n INTEGER NOT NULL,
	cache TEXT,
	bytes INTEGER NOT NULL,
	count INTEGER NOT NULL,
	PRIMARY KEY(rank, n)
) WITHOUT ROWID;

INSERT INTO leak_caches SELECT rank, 0, cache, bytes, count FROM leak_rows;

DROP VIEW leaks;

CREATE VIEW leaks AS
SELECT l.target, l.id, l.score, l.bytes, l.count, l.age_p50_us, l.growth_bytes_per_s, l.cache,
	(SELECT stack FROM stack_json j WHERE j.stack_id = l.stack_id) AS stack,
	printf('{"growth_bytes_per_s":%!.15g,"age_over_lifetime":%!.15g,"freed":%d,"never_freed":%s,"at_exit":%s}',
		l.growth_bytes_per_s, l.age_over_lifetime, l.freed,
		CASE l.never_freed WHEN 0 THEN 'false' ELSE 'true' END,
		CASE l.at_exit WHEN 0 THEN 'false' ELSE 'true' END) AS evidence,
	l.state, l.stack_id, l.allocs, l.folded,
	(SELECT '[' || coalesce(group_concat(part), '') || ']'
	FROM (SELECT printf('{"cache":%s,"bytes":%d,"count":%d}',
		CASE WHEN c.cache IS NULL THEN 'null'
			ELSE '"' || replace(replace(c.cache, '\', '\\'), '"', '\"') || '"' END,
		c.bytes, c.count) AS part
	FROM leak_caches c WHERE c.rank = l.rank ORDER BY c.n)) AS caches
FROM leak_rows l ORDER BY l.rank;
