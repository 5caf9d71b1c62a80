// Rows as they happen, by the API's WebSocket: one connection, opened again when it ends, closed while
// the tab is hidden. The server sends what stands first, and the rows that follow in arrays.

import { useEffect, useRef, useState } from "preact/hooks";
import { token } from "./api";

const PAUSE_MAX_MS = 15_000;

export interface Subscription {
  exchange: string;
  market_type: string;
  symbol: string;
  data_type: string;
}

export type Link = "connecting" | "live" | "away";

type Row = Record<string, unknown>;

/** Follow `wanted`; every row goes to `take`. Returns how the connection stands. */
export function useRows(
  wanted: readonly Subscription[],
  take: (dataType: string, row: Row) => void,
): Link {
  const [link, setLink] = useState<Link>("connecting");
  const taker = useRef(take);
  taker.current = take;
  const key = JSON.stringify(wanted);
  useEffect(() => {
    if (!wanted.length) return;
    return follow(wanted, (type, row) => taker.current(type, row), setLink);
  }, [key]);
  return link;
}

function follow(
  wanted: readonly Subscription[],
  take: (dataType: string, row: Row) => void,
  say: (link: Link) => void,
): () => void {
  let socket: WebSocket | undefined;
  let timer = 0;
  let failures = 0;
  let over = false;
  const open = (): void => {
    window.clearTimeout(timer);
    if (over || document.hidden || socket) return;
    say("connecting");
    const here = new WebSocket(address());
    socket = here;
    here.onopen = () => {
      if (token()) here.send(JSON.stringify({ action: "authenticate", token: token() }));
      for (const each of wanted) here.send(JSON.stringify({ action: "subscribe", ...each }));
    };
    here.onmessage = (event) => {
      failures = 0;
      say("live");
      for (const [type, row] of rowsOf(String(event.data))) take(type, row);
    };
    here.onclose = () => {
      if (socket !== here) return;
      socket = undefined;
      say("away");
      failures += 1;
      timer = window.setTimeout(open, Math.min(PAUSE_MAX_MS, 500 * 2 ** failures));
    };
  };
  const seen = (): void => {
    if (!document.hidden) return open();
    const here = socket;
    socket = undefined;
    here?.close();
  };
  document.addEventListener("visibilitychange", seen);
  open();
  return () => {
    over = true;
    window.clearTimeout(timer);
    document.removeEventListener("visibilitychange", seen);
    const here = socket;
    socket = undefined;
    here?.close();
  };
}

function address(): string {
  const url = new URL("ws/data/stream", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/** The rows of a message, each with its data type; those without rows (answers) have none. */
function rowsOf(text: string): [string, Row][] {
  const said = JSON.parse(text) as { data?: Record<string, Row[]> } | null;
  return Object.entries(said?.data ?? {}).flatMap(([type, rows]) =>
    rows.map((row) => [type, row] as [string, Row]),
  );
}
