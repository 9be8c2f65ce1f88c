// SPDX-License-Identifier: BSD-2-Clause
import {bytes, clock, count, exact, num, percent} from '../format';
import type {Connection} from '../live';
import type {Documents, Num, Target} from '../types';

const connections: Record<Connection, string> = {
	connecting: 'CONNECTING',
	live: 'LIVE',
	lost: 'NO CONNECTION, trying again; the last figures stay',
	ended: 'ENDED; the last figures stay',
	denied: 'NOT ALLOWED',
};

/** What the first line says, and whether it has to be seen: the words of the terminal. */
function health(docs: Partial<Documents>, connection: Connection): {words: string; alarm: boolean} {
	const snapshot = docs.stats?.snapshot;
	const states = docs.stats?.targets;

	if (connection !== 'live') return {words: connections[connection], alarm: connection !== 'connecting'};
	if (snapshot?.tracer_lost) return {words: `TRACER LOST: ${snapshot.tracer_lost}`, alarm: true};
	if (num(snapshot?.lost) > 0) return {words: `LOST ${exact(snapshot?.lost ?? 0)} events`, alarm: true};
	if (states && states.stopped) return {words: 'STOPPED', alarm: true};
	if (states && !states.running && !states.stopped) return {words: 'EXITED', alarm: true};
	return {words: connections.live, alarm: false};
}

function Targets({items, target, choose}: {items: Target[]; target: string; choose: (id: string) => void}) {
	const only = items.length === 1 ? items[0] : undefined;

	if (only) return <span class="code">{`${only.name}/${only.pid}`}</span>;
	return (
		<select aria-label="Target" value={target} onChange={(e) => choose(e.currentTarget.value)}>
			<option value="">{`all ${items.length} targets`}</option>
			{items.map((t) => (
				<option key={t.id} value={String(t.id)}>{`${t.id}: ${t.name}/${t.pid} ${t.state}`}</option>
			))}
		</select>
	);
}

interface HeaderProps {
	docs: Partial<Documents>;
	connection: Connection;
	frozen: boolean;
	freeze: (frozen: boolean) => void;
	target: string;
	choose: (id: string) => void;
}

export function Header({docs, connection, frozen, freeze, target, choose}: HeaderProps) {
	const {words, alarm} = health(docs, connection);
	const snapshot = docs.stats?.snapshot;

	return (
		<header class={alarm ? 'alarm' : ''}>
			<h1>kmemscope</h1>
			<Targets items={docs.targets?.items ?? []} target={target} choose={choose} />
			<span class="state" role="status">
				{frozen ? 'FROZEN' : words}
			</span>
			{docs.stats && (
				<span class="quiet">
					ring {percent(docs.stats.ring.fill)} · lost {exact(docs.stats.ring.lost)} · db {bytes(docs.stats.tracer.db_bytes)} ·{' '}
					{clock(snapshot?.time_ns ?? 0)}
				</span>
			)}
			<button type="button" aria-pressed={frozen} onClick={() => freeze(!frozen)}>
				{frozen ? 'Go on' : 'Freeze'}
			</button>
		</header>
	);
}

interface TileProps {
	name: string;
	value: string;
	exactly: Num;
	more: string;
	href: string;
	alarm?: boolean;
}

function Tile({name, value, exactly, more, href, alarm}: TileProps) {
	return (
		<a class={alarm ? 'tile alarm' : 'tile'} href={href}>
			<span class="name">
				{name}
				{alarm ? ' !' : ''}
			</span>
			<data class="value" value={String(exactly)}>
				{value}
			</data>
			<span class="more">{more}</span>
		</a>
	);
}

/** The four numbers that decide whether to worry. */
export function Tiles({docs}: {docs: Partial<Documents>}) {
	const s = docs.stats;

	if (!s) return null;
	const suspects = docs.leaks?.suspects ?? 0;
	return (
		<nav class="tiles" aria-label="At a glance">
			<Tile name="Live" value={bytes(s.live_bytes)} exactly={s.live_bytes} more={`${exact(s.live_objects)} blocks, peak ${bytes(s.peak_bytes)}`} href="#timeline" />
			<Tile name="Rates" value={`${count(s.alloc_rate)} alloc/s`} exactly={s.alloc_rate} more={`${count(s.free_rate)} free/s, ${count(s.allocs)} so far`} href="#caches" />
			<Tile
				name="Leak suspects"
				value={String(suspects)}
				exactly={suspects}
				more={docs.leaks ? `${bytes(docs.leaks.suspect_bytes)} of ${bytes(docs.leaks.total_bytes)} live` : ''}
				href="#leaks"
				alarm={suspects > 0}
			/>
			<Tile name="Faults" value={exact(s.faults)} exactly={s.faults} more={`${exact(s.guard.used)} of ${exact(s.guard.depth)} guard slots`} href="#faults" alarm={num(s.faults) > 0} />
		</nav>
	);
}
