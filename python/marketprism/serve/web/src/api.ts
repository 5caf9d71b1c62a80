// Asking the API: one way to ask, one kind of trouble, and the shapes of what the screen reads.

/** What an answer says when something is wrong, as RFC 9457 has it. */
export interface Problem {
  title: string;
  detail: string;
  status: number;
}

const TIMEOUT_MS = 15_000;
const TOKEN = "marketprism-token";

/** The token that was typed, kept until the tab is closed. */
export function token(): string {
  return sessionStorage.getItem(TOKEN) ?? "";
}

export function keepToken(text: string): void {
  sessionStorage.setItem(TOKEN, text);
}

/** Ask for a path with its query. Rejects with a `Problem`, or with an AbortError by `signal`. */
export async function ask<T>(path: string, signal?: AbortSignal): Promise<T> {
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  const headers: Record<string, string> = { Accept: "application/json" };
  if (token()) headers.Authorization = `Bearer ${token()}`;
  let answer: Response;
  try {
    answer = await fetch(path, {
      headers,
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw problem(0, "The API does not answer", "Is `marketprism api` running? It is asked again.");
  }
  if (!answer.ok) {
    const said = (await answer.json().catch(() => ({}))) as Partial<Problem>;
    throw problem(answer.status, said.title ?? answer.statusText, said.detail ?? "");
  }
  return (await answer.json()) as T;
}

function problem(status: number, title: string, detail: string): Problem {
  return { status, title, detail };
}

export type Word = "bad" | "warn" | "quiet" | "good";

/** What names a stream. */
export interface Name {
  exchange: string;
  market_type: string;
  symbol: string;
  data_type: string;
}

/** A stream as the collector sees it, and the verdict on it. */
export interface Stream extends Name {
  state: string;
  facts: number;
  last_id: number | null;
  age_s: number | null;
  lag_p50_ms: number | null;
  lag_p99_ms: number | null;
  connection: string;
  verdict: Word;
  verdict_state: string;
  why: string;
}

export interface Check {
  status: string;
  detail: string;
  [number: string]: unknown;
}

export interface Service {
  status: string;
  version?: string;
  uptime_seconds?: number;
  why?: string;
  checks?: Record<string, Check>;
}

/** Everything of now: the first thing that is asked for. Times are nanoseconds. */
export interface Screen {
  now: number;
  status: string;
  trouble: string;
  database: string;
  services: Record<string, Service>;
  streams: Stream[];
}

/** How complete a stream is within a window. */
export interface Audited extends Name {
  from: number;
  to: number;
  complete: number;
  healed: number;
  lost_s: number;
}

export interface Gap extends Name {
  from: number;
  to: number;
  from_id: number | null;
  to_id: number | null;
  state: "healed" | "lost";
  cause: string;
}

export interface Told {
  at: number;
  event: string;
  exchange: string;
  symbol: string;
  data_type: string;
  cause: string;
  detail: string;
}

/** What the window shows of completeness, and what the ledger told in it. */
export interface Covered {
  from: number;
  to: number;
  streams: Audited[];
  gaps: Gap[];
  events: Told[];
}

export type Level = [price: string, quantity: string];

/** An image of a book, as it is published. */
export interface BookRow extends Omit<Name, "data_type"> {
  ts_event?: number;
  ts_recv: number;
  last_update_id?: number;
  bids: Level[];
  asks: Level[];
  best_bid_price?: string;
  best_ask_price?: string;
  horizon_bid?: string;
  horizon_ask?: string;
  known_bids: number;
  known_asks: number;
  quantity_unit?: string;
}

export interface TradeRow extends Omit<Name, "data_type"> {
  trade_id: string;
  ts_event?: number;
  ts_recv: number;
  price: string;
  quantity?: string;
  native_quantity?: string;
  side: "buy" | "sell";
}
