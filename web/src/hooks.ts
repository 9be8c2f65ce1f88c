// SPDX-License-Identifier: BSD-2-Clause
import {useEffect, useReducer, useState} from 'preact/hooks';
import type {Live} from './live';

/** Draws the part again whenever a document or the connection changes. */
export function useLive(live: Live): void {
	const [, redraw] = useReducer((n: number) => n + 1, 0);

	useEffect(() => live.listen(() => redraw(undefined)), [live]);
}

/** State that lives in the address of the page, so that a link shows the same. */
export function useQuery(key: string): [string, (value: string) => void] {
	const read = () => new URLSearchParams(location.search).get(key) ?? '';
	const [value, set] = useState(read);

	return [
		value,
		(next: string) => {
			const query = new URLSearchParams(location.search);
			if (next) query.set(key, next);
			else query.delete(key);
			const text = query.toString();
			history.replaceState(null, '', text ? `?${text}` : location.pathname);
			set(next);
		},
	];
}
