// SPDX-License-Identifier: BSD-2-Clause
import {useState} from 'preact/hooks';
import {patch} from '../api';
import {bytes, exact, num, span} from '../format';
import type {Guard as Document, Num} from '../types';

/** ddb's way to write a number: bare digits are hexadecimal, 0t is decimal. Here decimal is meant. */
function depthOf(text: string): number | null {
	const digits = /^\s*(?:0t)?(\d{1,9})\s*$/.exec(text);

	return digits ? Number(digits[1]) : null;
}

function Gauge({doc}: {doc: Document}) {
	const depth = num(doc.depth);
	const used = num(doc.used);
	const share = depth ? Math.min(used / depth, 1) : 0;

	return (
		<svg class="gauge" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label={`${used} of ${depth} slots used`}>
			<rect class="bar-free" width="100" height="6" />
			<rect class="bar-live" width={100 * share} height="6" />
		</svg>
	);
}

function Figure({name, value, title, exactly}: {name: string; value: string; title?: string; exactly?: Num}) {
	return (
		<div title={title}>
			<dt>{name}</dt>
			<dd>{exactly === undefined ? value : <data value={String(exactly)}>{value}</data>}</dd>
		</div>
	);
}

function SetDepth({doc, target}: {doc: Document; target: string}) {
	const [text, setText] = useState('');
	const [said, setSaid] = useState<{ok: boolean; text: string} | null>(null);
	const [busy, setBusy] = useState(false);
	const depth = depthOf(text);
	const submit = async (event: Event) => {
		event.preventDefault();
		if (depth === null) {
			setSaid({ok: false, text: 'A depth is a decimal number, like 30000; 0 switches the guard off.'});
			return;
		}
		setBusy(true);
		try {
			const now = await patch<Document>(`/guard${target ? `?target=${encodeURIComponent(target)}` : ''}`, {depth});
			const state = now.pending ? 'waits for the program’s next allocator call' : `in effect: ${exact(now.depth)}`;
			setSaid({ok: true, text: `kmem_guard_depth ${exact(now.depth_requested)}, ${state}`});
			setText('');
		} catch (problem) {
			setSaid({ok: false, text: problem instanceof Error ? problem.message : String(problem)});
		}
		setBusy(false);
	};
	return (
		<form onSubmit={submit}>
			<label for="depth">
				<span class="code">w kmem_guard_depth 0t</span>
			</label>
			<input
				id="depth"
				inputMode="numeric"
				autocomplete="off"
				size={9}
				placeholder={String(num(doc.depth_requested))}
				value={text}
				onInput={(e) => setText(e.currentTarget.value)}
			/>
			<button type="submit" disabled={busy}>
				Set depth
			</button>
			{depth !== null && depth > 0 && (
				<span class="quiet">
					{exact(depth * 2)} pages of address space when full, {bytes(depth * 2 * 4096)} of small blocks
				</span>
			)}
			<p role="status" class={said && !said.ok ? 'warn' : 'quiet'}>
				{said?.text ?? ''}
			</p>
		</form>
	);
}

export function Guard({doc, target, live}: {doc: Document | undefined; target: string; live: boolean}) {
	if (!doc) return null;
	const off = num(doc.depth) === 0;

	return (
		<section id="guard" aria-labelledby="guard-title">
			<h2 id="guard-title">
				Guard FIFO{' '}
				<span class="figure">{off ? 'off' : `${exact(doc.used)} of ${exact(doc.depth)} slots`}{doc.pending ? ', change pending' : ''}</span>
			</h2>
			<Gauge doc={doc} />
			<dl class="figures">
				<Figure name="Requested" value={exact(doc.depth_requested)} exactly={doc.depth_requested} />
				<Figure name="In effect" value={exact(doc.depth)} exactly={doc.depth} title="rounded up to a multiple of 512" />
				<Figure name="Used" value={exact(doc.used)} exactly={doc.used} />
				<Figure name="Window" value={`${exact(doc.window_frees)} frees, ${span(doc.oldest_age_us)}`} exactly={doc.window_frees} title="a block is caught when it is used within so many frees after its own" />
				<Figure name="Address space" value={`${bytes(doc.bytes)} in ${exact(doc.pages)} pages`} exactly={doc.bytes} />
				<Figure name="Guarded now" value={exact(doc.live)} exactly={doc.live} />
				<Figure name="Evictions" value={exact(doc.evictions)} exactly={doc.evictions} />
				<Figure name="Unguarded" value={exact(doc.unguarded)} exactly={doc.unguarded} title="blocks that should have been guarded, and could not be" />
				<Figure name="Limited by" value={doc.limited_by} />
				<Figure name="Back end" value={doc.backend} />
			</dl>
			{live && <SetDepth doc={doc} target={target} />}
		</section>
	);
}
