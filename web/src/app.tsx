// SPDX-License-Identifier: BSD-2-Clause
import {useEffect, useRef, useState} from 'preact/hooks';
import {useLive, useQuery} from './hooks';
import type {Live} from './live';
import {Caches} from './parts/caches';
import {Faults} from './parts/faults';
import {Guard} from './parts/guard';
import {Header, Tiles} from './parts/header';
import {Help, type Key} from './parts/help';
import {Leaks} from './parts/leaks';
import {Login} from './parts/login';
import {Timeline} from './parts/timeline';

function show(id: string): void {
	const section = document.getElementById(id);

	section?.scrollIntoView({block: 'start'});
	const place = section?.querySelector<HTMLElement>('tr.row') ?? section?.querySelector<HTMLElement>('input');
	place?.focus({preventScroll: true});
}

/** Keys of the whole page; what is typed into a field is the field's. */
function useKeys(keys: Key[]): void {
	const table = useRef(keys);

	table.current = keys;
	useEffect(() => {
		const press = (event: KeyboardEvent) => {
			const target = event.target as HTMLElement;
			if (event.ctrlKey || event.altKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName)) return;
			const key = table.current.find((k) => k.key === event.key);
			if (!key) return;
			event.preventDefault();
			key.run();
		};
		document.addEventListener('keydown', press);
		return () => document.removeEventListener('keydown', press);
	}, []);
}

export function App({live}: {live: Live}) {
	const [target, setTarget] = useQuery('target');
	const [filter, setFilter] = useQuery('filter');
	const [help, setHelp] = useState(false);
	const search = useRef<HTMLInputElement>(null);

	useLive(live);
	useEffect(() => live.open(target || null), [live, target]);
	const keys: Key[] = [
		{key: '1', what: 'slabs', run: () => show('caches')},
		{key: '3', what: 'leak suspects', run: () => show('leaks')},
		{key: '4', what: 'guard FIFO', run: () => show('guard')},
		{key: '5', what: 'faults', run: () => show('faults')},
		{key: '/', what: 'filter', run: () => search.current?.focus()},
		{key: 'Z', what: 'freeze the figures, and let them go on', run: () => live.freeze(!live.frozen)},
		{key: '?', what: 'this help', run: () => setHelp(true)},
	];
	useKeys(keys);
	const docs = live.documents;

	if (live.connection === 'denied') return <Login done={() => live.open(target || null)} />;
	return (
		<>
			<Header docs={docs} connection={live.connection} frozen={live.frozen} freeze={(f) => live.freeze(f)} target={target} choose={setTarget} />
			<main>
				<Tiles docs={docs} />
				<div class="tools">
					<label for="filter">Filter</label>
					<input
						id="filter"
						ref={search}
						type="search"
						placeholder="function, file, cache"
						value={filter}
						onInput={(e) => setFilter(e.currentTarget.value)}
						onKeyDown={(e) => e.key === 'Escape' && e.currentTarget.blur()}
					/>
					<button type="button" onClick={() => setHelp(true)}>
						Keys
					</button>
				</div>
				<Timeline stats={docs.stats} target={target} />
				<Leaks doc={docs.leaks} filter={filter} />
				<Guard doc={docs.guard} target={target} live={live.connection === 'live'} />
				<Faults doc={docs.faults} filter={filter} />
				<Caches doc={docs.caches} filter={filter} />
			</main>
			<Help keys={keys} open={help} close={() => setHelp(false)} />
		</>
	);
}
