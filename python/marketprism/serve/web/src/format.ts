// Numbers and times as they are read. Prices and sizes stay texts, with the venue's own digits.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function count(value: number): string {
  return whole.format(value);
}

export function fixed(value: number | null | undefined, places: number): string {
  return value === null || value === undefined || Number.isNaN(value)
    ? "–"
    : value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
}

/** A share as percent. What is not all is never rounded up to all. */
export function percent(share: number): string {
  if (share >= 1) return "100 %";
  return `${(Math.floor(share * 10_000) / 100).toFixed(2)} %`;
}

/** A length of time in its two largest units. */
export function lasts(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}

/** The time of day, UTC, of nanoseconds. */
export function clock(nanoseconds: number, places: 0 | 3 = 0): string {
  const text = new Date(nanoseconds / 1e6).toISOString();
  return text.slice(11, places ? 23 : 19);
}

/** A moment with its day where it is not of today, UTC. */
export function moment(nanoseconds: number): string {
  const text = new Date(nanoseconds / 1e6).toISOString();
  const today = new Date().toISOString().slice(0, 10);
  return text.slice(0, 10) === today ? text.slice(11, 19) : text.slice(5, 19).replace("T", " ");
}

/** Large amounts, short; small ones with three digits that say something. */
export function amount(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e9) return `${(value / 1e9).toFixed(2)} G`;
  if (size >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (size >= 1e4) return `${(value / 1e3).toFixed(1)} k`;
  return size >= 100 || size === 0 ? value.toFixed(0) : value.toPrecision(3);
}

/** A size that was divided to 18 digits, with as many as are looked at. */
export function size(text: string | undefined | null): string {
  return text && text.length > 10 ? String(Number(Number(text).toPrecision(6))) : digits(text);
}

/** Nothing that the venue did not say: a decimal without the zeros at its end. */
export function digits(text: string | undefined | null): string {
  if (!text) return "–";
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}
