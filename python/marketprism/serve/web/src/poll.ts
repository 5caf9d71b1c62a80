// Asking again and again, within bounds: one question at a time, none while the tab is hidden, few while
// what it is for is out of view, and ever longer pauses while nobody answers.

import { useEffect, useRef, useState } from "preact/hooks";
import { ask, type Problem } from "./api";
import { SELDOM_MS } from "./seen";

const PAUSE_MAX_MS = 30_000;

/** The last answer, which stays while later ones fail, and what is wrong now. */
export interface Polled<T> {
  data?: T;
  problem?: Problem;
}

/**
 * Ask for `path` every `everyMs` after the last answer; null asks nothing. While it is not `seen` it is
 * asked for seldom.
 */
export function usePoll<T>(path: string | null, everyMs: number, seen = true): Polled<T> {
  const [polled, setPolled] = useState<Polled<T>>({});
  const wanted = useRef({ seen, wake: (): void => {} });
  wanted.current.seen = seen;
  useEffect(() => {
    setPolled({});
    if (path === null) return;
    const say = (next: Polled<T>): void => setPolled((last) => ({ data: last.data, ...next }));
    const [wake, end] = poll<T>(path, everyMs, () => wanted.current.seen, say);
    wanted.current.wake = wake;
    return end;
  }, [path, everyMs]);
  useEffect(() => {
    if (seen) wanted.current.wake();
  }, [seen]);
  return polled;
}

/** Returns what asks if its time has come, and what ends it. */
function poll<T>(
  path: string,
  everyMs: number,
  seen: () => boolean,
  say: (next: Polled<T>) => void,
): [() => void, () => void] {
  const ended = new AbortController();
  let timer = 0;
  let busy = false;
  let failures = 0;
  let due = 0;
  const once = async (): Promise<void> => {
    if (busy || document.hidden || performance.now() < due) return;
    busy = true;
    window.clearTimeout(timer);
    try {
      say({ data: await ask<T>(path, ended.signal), problem: undefined });
      failures = 0;
    } catch (error) {
      if (ended.signal.aborted) return;
      failures += 1;
      say({ problem: error as Problem });
    }
    busy = false;
    const pause = failures ? Math.min(PAUSE_MAX_MS, 1000 * 2 ** (failures - 1)) : everyMs;
    // Who comes into view, or opens the tab again, may ask as soon as this.
    due = performance.now() + pause;
    timer = window.setTimeout(go, 1 + (seen() ? pause : Math.max(pause, SELDOM_MS)));
  };
  // Of a hidden tab nothing is asked; once it is seen, at once.
  const go = (): void => void once();
  document.addEventListener("visibilitychange", go);
  go();
  const end = (): void => {
    ended.abort();
    window.clearTimeout(timer);
    document.removeEventListener("visibilitychange", go);
  };
  return [go, end];
}
