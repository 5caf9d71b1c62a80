// A chart of uPlot's that follows its room, its data and the colours of the page. To who does not see
// it, it is one picture with a sentence; the numbers stand in a table beside it.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

export interface ChartProps {
  label: string;
  height: number;
  data: uPlot.AlignedData;
  /** Everything but the size. Made anew when `look` changes. */
  options: (colours: Colours) => Omit<uPlot.Options, "width" | "height">;
  look: string;
}

export interface Colours {
  text: string;
  line: string;
  grid: string;
  good: string;
  bad: string;
  accent: string;
  shade: string;
}

export function Chart({ label, height, data, options, look }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const latest = useRef(data);
  latest.current = data;
  useEffect(() => {
    const here = place.current!;
    const made = new uPlot(
      { ...options(colours()), width: here.clientWidth || 300, height },
      latest.current,
      here,
    );
    plot.current = made;
    const watch = new ResizeObserver(() => made.setSize({ width: here.clientWidth, height }));
    watch.observe(here);
    return () => {
      watch.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, [look, height]);
  useEffect(() => plot.current?.setData(data), [data]);
  return <div class="chart" ref={place} role="img" aria-label={label} style={{ minHeight: height }} />;
}

function colours(): Colours {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  return {
    text: of("muted"),
    line: of("text"),
    grid: of("border"),
    good: of("good"),
    bad: of("bad"),
    accent: of("accent"),
    shade: of("shade"),
  };
}

/** Axes that are read and not looked at. */
export function axis(c: Colours, more: Partial<uPlot.Axis> = {}): uPlot.Axis {
  return {
    stroke: c.text,
    grid: { stroke: c.grid, width: 1 },
    ticks: { stroke: c.grid, width: 1, size: 4 },
    font: "11px system-ui, sans-serif",
    gap: 4,
    ...more,
  };
}

const PAIR = (n: number): string => String(n).padStart(2, "0");

/** An axis of seconds since 1970, shown in UTC. */
export function timeAxis(c: Colours): uPlot.Axis {
  return axis(c, {
    size: 26,
    values: (_, splits) =>
      splits.map((s) => {
        const at = new Date(s * 1000);
        const day = at.getUTCHours() + at.getUTCMinutes() + at.getUTCSeconds() === 0;
        if (day) return `${PAIR(at.getUTCMonth() + 1)}-${PAIR(at.getUTCDate())}`;
        const hm = `${PAIR(at.getUTCHours())}:${PAIR(at.getUTCMinutes())}`;
        return at.getUTCSeconds() ? `${hm}:${PAIR(at.getUTCSeconds())}` : hm;
      }),
  });
}
