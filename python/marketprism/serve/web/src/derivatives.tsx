// What derivatives tell of a coin, on one axis of time: funding, open interest, ratios, forced orders,
// volatility. Each line has its own dashes, and its last value stands in words beside the chart.

import { useMemo } from "preact/hooks";
import type uPlot from "uplot";
import type { Name, Screen } from "./api";
import { Chart, axis, timeAxis, type Colours } from "./chart";
import { amount, clock, digits, moment, size } from "./format";
import { Panel } from "./panel";
import { usePoll } from "./poll";
import { useSeen } from "./seen";

const EVERY_MS = 15_000;
const LINES_MAX = 6;
const LIQUIDATIONS_MAX = 50;

interface Mood extends Omit<Name, "data_type"> {
  time: number;
  top_position_ratio: string | null;
  all_account_ratio: string | null;
  funding_rate: string | null;
  open_interest: string | null;
  liquidated_buy: string | null;
  liquidated_sell: string | null;
  liquidations: number;
}

interface Index {
  exchange: string;
  symbol: string;
  ts_event: number | null;
  ts_recv: number;
  index_value: string;
}

interface Liquidation extends Omit<Name, "data_type"> {
  fact: string;
  ts_event: number | null;
  ts_recv: number;
  side: "buy" | "sell";
  price: string | null;
  average_price: string | null;
  quantity: string | null;
}

interface Page<T> {
  data: T[];
}

interface DerivativesProps {
  symbol: string;
  screen?: Screen;
  minutes: number;
  database: string;
  look: string;
}

/** A line: its name, and its value at each point of the axis. */
interface Line {
  name: string;
  values: (number | null)[];
  last: string;
}

export function Derivatives({ symbol, screen, minutes, database, look }: DerivativesProps) {
  const base = symbol.split("-")[0] ?? symbol;
  const symbols = useSymbols(screen, base);
  const interval = minutes <= 360 ? "1m" : minutes <= 1440 ? "5m" : "1h";
  const path = `api/v1/stats/sentiment?symbol=${symbols}&interval=${interval}&start=${minutes}m&limit=10000`;
  const volatility = `api/v1/data/volatility?symbol=${base}&start=${minutes}m&columns=exchange,symbol,ts_event,ts_recv,index_value&limit=1000`;
  const seen = useSeen("derivatives");
  const moods = usePoll<Page<Mood>>(symbols ? path : null, EVERY_MS, seen);
  const index = usePoll<Page<Index>>(volatility, EVERY_MS, seen);
  const cells = useMemo(() => [...(moods.data?.data ?? [])].reverse(), [moods.data]);
  const time = useMemo(() => [...new Set(cells.map((cell) => cell.time))].sort((a, b) => a - b), [cells]);
  const lines = useMemo(() => {
    const of = (measure: keyof Mood, scale = 1): Line[] => linesOf(cells, time, measure, scale);
    const named = (word: string, found: Line[]): Line[] =>
      found.map((line) => ({ ...line, name: `${line.name} ${word}` }));
    return {
      funding: of("funding_rate", 10_000),
      interest: of("open_interest"),
      ratios: [
        ...named("top positions", of("top_position_ratio")),
        ...named("accounts", of("all_account_ratio")),
      ].slice(0, LINES_MAX),
    };
  }, [cells, time]);
  const sql =
    "SELECT timestamp, exchange, market_type, symbol, rate_kind, funding_rate, mark_price\n" +
    `FROM ${database}.funding_rates\nWHERE symbol IN (${symbols.split(",").map((s) => `'${s}'`).join(", ")})\n` +
    `  AND timestamp >= now() - INTERVAL ${minutes} MINUTE\nORDER BY timestamp DESC LIMIT 1000`;
  const seconds = useMemo(() => time.map((t) => t / 1e9), [time]);
  return (
    <Panel
      id="derivatives"
      title={`Derivatives of ${base}`}
      note={symbols.replaceAll(",", ", ")}
      path={path}
      sql={sql}
      problem={moods.problem}
      empty={moods.data && !cells.length ? "Nothing of its derivatives is stored in this time." : undefined}
    >
      <div class="derivatives">
        <Lines title="Funding rate" unit="bps" time={seconds} lines={lines.funding} look={look} />
        <Lines title="Open interest" unit={base} time={seconds} lines={lines.interest} look={look} change />
        <Lines title="Long/short ratio" unit="" time={seconds} lines={lines.ratios} look={look} />
        <Volatility rows={index.data?.data} look={look} />
      </div>
    </Panel>
  );
}

/** Every symbol of this coin that a derivative is collected of. */
function useSymbols(screen: Screen | undefined, base: string): string {
  const found = (screen?.streams ?? [])
    .filter((each) => each.market_type !== "spot" && each.symbol.startsWith(`${base}-`))
    .map((each) => each.symbol);
  return [...new Set(found)].sort().join(",");
}

function linesOf(cells: readonly Mood[], time: readonly number[], measure: keyof Mood, scale: number): Line[] {
  const at = new Map(time.map((t, n) => [t, n]));
  const found = new Map<string, Line>();
  for (const cell of cells) {
    const text = cell[measure];
    if (typeof text !== "string") continue;
    const name = `${cell.exchange} ${cell.symbol}`;
    const line = found.get(name) ?? { name, values: time.map(() => null), last: "" };
    line.values[at.get(cell.time)!] = Number(text) * scale;
    line.last = text;
    found.set(name, line);
  }
  return [...found.values()].slice(0, LINES_MAX);
}

const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 6]];

interface LinesProps {
  title: string;
  unit: string;
  time: number[];
  lines: Line[];
  look: string;
  /** Draw how much each has changed since the first, in percent: they are of different sizes. */
  change?: boolean;
}

function Lines({ title, unit, time, lines, look, change }: LinesProps) {
  const drawn = change ? lines.map(changed) : lines;
  const data = useMemo<uPlot.AlignedData>(() => [time, ...drawn.map((line) => line.values)], [time, lines]);
  const said = lines.map((line) => `${line.name} ${shownOf(line, unit)}`).join(", ");
  const names = lines.map((line) => line.name).join();
  return (
    <figure>
      <figcaption>
        {title} <span class="note">{change ? "change in %" : unit}</span>
      </figcaption>
      {lines.length ? (
        <Chart
          label={`${title}: ${said}`}
          height={120}
          data={data}
          look={`${look} ${names}`}
          options={(c) => lineOptions(c, lines.length)}
        />
      ) : (
        <p class="empty">none is stored in this time</p>
      )}
      <ul class="lines">
        {lines.map((line, n) => (
          <li key={line.name}>
            <Dash at={n} /> {line.name} <b>{shownOf(line, unit)}</b>
          </li>
        ))}
      </ul>
    </figure>
  );
}

function shownOf(line: Line, unit: string): string {
  if (unit === "bps") return `${(Number(line.last) * 10_000).toFixed(2)} bps`;
  return unit ? `${amount(Number(line.last))} ${unit}` : digits(line.last);
}

function changed(line: Line): Line {
  const first = line.values.find((value) => value !== null);
  return first
    ? { ...line, values: line.values.map((v) => (v === null ? null : 100 * (v / first - 1))) }
    : line;
}

function Dash({ at }: { at: number }) {
  return (
    <svg class="dash" viewBox="0 0 22 6" aria-hidden="true">
      <line x1="0" x2="22" y1="3" y2="3" stroke-dasharray={DASHES[at]?.join(" ")} />
    </svg>
  );
}

function lineOptions(c: Colours, count: number): Omit<uPlot.Options, "width" | "height"> {
  return {
    legend: { show: false },
    cursor: { drag: { x: false, y: false } },
    axes: [timeAxis(c), axis(c, { size: 52 })],
    series: [
      {},
      ...Array.from({ length: count }, (_, n) => ({
        stroke: c.accent,
        width: 1.4,
        dash: DASHES[n],
        spanGaps: true,
        points: { show: false },
      })),
    ],
  };
}

function Volatility({ rows, look }: { rows?: readonly Index[]; look: string }) {
  const sorted = useMemo(
    () => [...(rows ?? [])].sort((a, b) => (a.ts_event ?? a.ts_recv) - (b.ts_event ?? b.ts_recv)),
    [rows],
  );
  const time = useMemo(() => sorted.map((row) => (row.ts_event ?? row.ts_recv) / 1e9), [sorted]);
  const last = sorted.at(-1);
  const lines = useMemo<Line[]>(
    () =>
      last
        ? [
            {
              name: `${last.exchange} ${last.symbol}`,
              values: sorted.map((row) => Number(row.index_value)),
              last: last.index_value,
            },
          ]
        : [],
    [sorted],
  );
  return <Lines title="Volatility index" unit="" time={time} lines={lines} look={look} />;
}

/** Forced orders, the newest first. */
export function Liquidations({ symbol, screen, minutes, database }: Omit<DerivativesProps, "look">) {
  const base = symbol.split("-")[0] ?? symbol;
  const symbols = useSymbols(screen, base);
  const path = `api/v1/data/liquidations?symbol=${symbols}&start=${minutes}m&limit=${LIQUIDATIONS_MAX}`;
  const polled = usePoll<Page<Liquidation>>(symbols ? path : null, EVERY_MS, useSeen("liquidations"));
  // A table that nothing was ever stored in knows no symbol.
  const none = polled.problem?.status === 404;
  const rows = polled.data?.data ?? [];
  return (
    <Panel
      id="liquidations"
      title={`Liquidations of ${base}`}
      note={rows.length ? `the newest ${rows.length}` : undefined}
      path={path}
      sql={`SELECT timestamp, exchange, symbol, side, price, average_price, quantity\nFROM ${database}.liquidations\nWHERE symbol LIKE '${base}-%'\nORDER BY timestamp DESC LIMIT ${LIQUIDATIONS_MAX}`}
      problem={none ? undefined : polled.problem}
      empty={rows.length ? undefined : "No forced order in this time."}
    >
      <div class="scroll tall" tabIndex={0} role="group" aria-label="Table of liquidations">
        <table>
          <caption class="unseen">Forced orders, the newest first</caption>
          <thead>
            <tr>
              <th scope="col">time (UTC)</th>
              <th scope="col">order</th>
              <th scope="col">instrument</th>
              <th scope="col" class="number">price</th>
              <th scope="col" class="number">size</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => {
              const at = row.ts_event ?? row.ts_recv;
              return (
                <tr key={`${row.exchange} ${row.fact}`} class={row.side === "buy" ? "bid" : "ask"}>
                  <td class="time">{minutes > 1440 ? moment(at) : clock(at)}</td>
                  <td>
                    {row.side === "buy" ? "▲" : "▼"} {row.side}
                  </td>
                  <th scope="row">
                    {row.symbol} <span class="note">{row.exchange}</span>
                  </th>
                  <td class="number price">{digits(row.average_price ?? row.price)}</td>
                  <td class="number" title={digits(row.quantity)}>
                    {size(row.quantity)}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}
