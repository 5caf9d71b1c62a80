// Asking again and again, within bounds: one question at a time, none while the tab is hidden, and
// ever longer pauses while nobody answers.

import { useEffect, useState } from "preact/hooks";
import { ask, type Problem } from "./api";

const PAUSE_MAX_MS = 30_000;

/** The last answer, which stays while later ones fail, and what is wrong now. */
export interface Polled<T> {
  data?: T;
  problem?: Problem;
}

/** Ask for `path` every `everyMs` after the last answer; null asks nothing. */
export function usePoll<T>(path: string | null, everyMs: number): Polled<T> {
  const [polled, setPolled] = useState<Polled<T>>({});
  useEffect(() => {
    setPolled({});
    if (path === null) return;
    return poll<T>(path, everyMs, (next) => setPolled((last) => ({ data: last.data, ...next })));
  }, [path, everyMs]);
  return polled;
}

function poll<T>(path: string, everyMs: number, say: (next: Polled<T>) => void): () => void {
  const ended = new AbortController();
  let timer = 0;
  let busy = false;
  let failures = 0;
  const once = async (): Promise<void> => {
    if (busy || document.hidden) return;
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
    timer = window.setTimeout(go, pause);
  };
  // Of a hidden tab nothing is asked; once it is seen, at once.
  const go = (): void => void once();
  document.addEventListener("visibilitychange", go);
  go();
  return () => {
    ended.abort();
    window.clearTimeout(timer);
    document.removeEventListener("visibilitychange", go);
  };
}
