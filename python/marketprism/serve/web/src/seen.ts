// Whether a part of the screen is in view. What nobody sees is drawn and asked for seldom: who searches
// the page or has it read still finds it.

import { useEffect, useRef, useState } from "preact/hooks";
import type { VNode } from "preact";

const MARGIN = "200px"; // so far before it comes into view it is up to date again
export const SELDOM_MS = 15_000;

/** Whether the element with this id is in view, or nearly. */
export function useSeen(id: string): boolean {
  const [seen, setSeen] = useState(true);
  useEffect(() => {
    const place = document.getElementById(id);
    if (!place) return;
    const watch = new IntersectionObserver((found) => setSeen(found.at(-1)!.isIntersecting), {
      rootMargin: MARGIN,
    });
    watch.observe(place);
    return () => watch.disconnect();
  }, [id]);
  return seen;
}

/** What `draw` makes of `data`; while it is not seen what it made a while ago, if that had data. */
export function useDrawn(seen: boolean, data: unknown, draw: () => VNode): VNode {
  const last = useRef<{ drawn: VNode; had: boolean; at: number } | undefined>(undefined);
  const now = performance.now();
  const had = data !== undefined;
  if (seen || !last.current || last.current.had !== had || now - last.current.at > SELDOM_MS) {
    last.current = { drawn: draw(), had, at: now };
  }
  return last.current.drawn;
}

interface RowsInView {
  /** The row at a place of a list, made by `draw`; out of view the one of a while ago. */
  of: (key: string, at: number, draw: () => VNode) => VNode;
  scrolled: (event: { currentTarget: HTMLElement }) => void;
}

const ROWS_MAX = 500; // that are remembered

/** Of a list that scrolls, the rows in view are drawn anew and the others seldom; all once `changed`. */
export function useRowsInView(changed: unknown): RowsInView {
  const held = useRef({ changed, rows: new Map<string, { drawn: VNode; at: number }>() });
  const [[first, last], setView] = useState<[number, number]>([0, 25]);
  if (held.current.changed !== changed || held.current.rows.size > ROWS_MAX) {
    held.current = { changed, rows: new Map() };
  }
  const { rows } = held.current;
  const now = performance.now();
  return {
    of: (key, at, draw) => {
      const before = rows.get(key);
      if (before && (at < first || at >= last) && now - before.at < SELDOM_MS) return before.drawn;
      const drawn = draw();
      rows.set(key, { drawn, at: now });
      return drawn;
    },
    scrolled: ({ currentTarget: box }) => {
      const count = box.querySelectorAll("tbody tr").length || 1;
      const height = box.scrollHeight / count;
      const [from, to] = [box.scrollTop / height, (box.scrollTop + box.clientHeight) / height];
      const view = [Math.floor(from) - 5, Math.ceil(to) + 5] as [number, number];
      if (view[0] !== first || view[1] !== last) setView(view);
    },
  };
}
