// SPDX-License-Identifier: BSD-2-Clause
// Numbers as people read them. The same words as in the terminal: KiB for sizes, k for counts.

import type {Frame, Num} from './types';

export function num(value: Num | null | undefined): number {
	return typeof value === 'string' ? Number(value) : (value ?? 0);
}

function scaled(value: number, step: number, units: string[]): string {
	let size = Math.abs(value);
	let unit = 0;

	while (size >= step - step / 2048 && unit < units.length - 1) {
		size /= step;
		unit++;
	}
	const digits = unit === 0 || size >= 99.95 ? 0 : 1;
	return `${value < 0 ? '-' : ''}${size.toFixed(digits)}${units[unit] ?? ''}`;
}

export function bytes(value: Num): string {
	return scaled(num(value), 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB', ' PiB']);
}

export function count(value: Num): string {
	const n = num(value);

	return Math.abs(n) < 10000 ? String(Math.round(n)) : scaled(n, 1000, ['', 'k', 'M', 'G', 'T']);
}

export function exact(value: Num): string {
	return typeof value === 'string' ? value : Math.round(value).toLocaleString('en-US');
}

export function percent(share: number): string {
	return `${Math.round(share * 100)}%`;
}

/** A time span: the two largest units that say something. */
export function span(us: Num): string {
	const value = num(us);

	if (value < 1000) return `${Math.round(value)} µs`;
	if (value < 1e6) return `${(value / 1e3).toFixed(value < 1e4 ? 1 : 0)} ms`;
	if (value < 60e6) return `${(value / 1e6).toFixed(1)} s`;
	const s = Math.floor(value / 1e6);
	if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
	return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

export function clock(ns: Num): string {
	const s = Math.floor(num(ns) / 1e9);
	const two = (n: number) => String(n).padStart(2, '0');

	return `+${two(Math.floor(s / 3600))}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

function base(path: string): string {
	return path.slice(path.lastIndexOf('/') + 1);
}

/** function (file:line), or module+offset where symbols are missing. */
export function frame(f: Frame): string {
	const module = f.module ? base(f.module) : '';

	if (!f.function) return module ? `${module}+0x${num(f.offset).toString(16)}` : f.address;
	if (f.file && f.line) return `${f.function} (${base(f.file)}:${f.line})`;
	return module ? `${f.function} (${module})` : f.function;
}

/** The frame that a person looks for first, the innermost one with a line, and who called it. */
export function caller(stack: Frame[]): string {
	const at = Math.max(
		stack.findIndex((f) => f.line > 0),
		0,
	);
	const first = stack[at];
	const next = stack[at + 1];

	if (!first) return 'before the trace, or without a stack';
	return next?.function ? `${frame(first)} ← ${next.function}${next.line ? `:${next.line}` : ''}` : frame(first);
}

export function stackText(stack: Frame[]): string {
	return stack
		.map((f, i) => {
			const where = f.file && f.line ? `${f.file}:${f.line}` : `${f.module ?? '?'}+0x${num(f.offset).toString(16)}`;
			return `#${i} ${f.function ?? f.address} (${where})${f.inlined ? ' [inlined]' : ''}`;
		})
		.join('\n');
}
