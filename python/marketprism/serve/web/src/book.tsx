// One book, live: its ladder, how deep it is and how far that is proven, its trades and its price.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { BookRow, Level, Name, TradeRow } from "./api";
import { Chart, axis, timeAxis, type Colours } from "./chart";
import { amount, clock, digits, fixed } from "./format";
import { Choice, Panel, Sign } from "./panel";
import { usePoll } from "./poll";
import { SELDOM_MS, useSeen } from "./seen";
import { useRows, type Link } from "./stream";
import type uPlot from "uplot";

const DEPTH = 15;
const TRADES_MAX = 40;
const UNITS: Record<string, string> = { base: "base units", contract: "contracts", usd: "US dollars" };
const DRAW_MS = 1000; // a picture a second, as images come

interface BookProps {
  chosen: Name;
  names: readonly Name[];
  choose: (name: Name) => void;
  minutes: number;
  database: string;
  look: string;
}

export function Book({ chosen, names, choose, minutes, database, look }: BookProps) {
  const seen = useSeen("book");
  const { book, trades, link } = useLive(chosen, seen);
  const query = `exchange=${chosen.exchange}&symbol=${encodeURIComponent(chosen.symbol)}&market_type=${chosen.market_type}`;
  const where = `exchange = '${chosen.exchange}' AND market_type = '${chosen.market_type}' AND symbol = '${chosen.symbol}'`;
  return (
    <Panel
      id="book"
      title={`Book of ${chosen.symbol}`}
      note={`${chosen.exchange} ${chosen.market_type}`}
      tools={
        <>
          <Standing link={link} book={book} />
          <Pick chosen={chosen} names={names} choose={choose} />
        </>
      }
      path={`api/v1/data/orderbook?${query}`}
      sql={`SELECT timestamp, last_update_id, bids, asks, horizon_bid, horizon_ask, known_bids, known_asks\nFROM ${database}.orderbooks\nWHERE ${where}\nORDER BY timestamp DESC LIMIT 1`}
      empty={book ? undefined : "No image of this book has come yet."}
    >
      {book && <Live {...{ book, trades, minutes, query, seen }} look={`${look} ${query}`} />}
    </Panel>
  );
}

interface LiveProps {
  book: BookRow;
  trades: readonly TradeRow[];
  minutes: number;
  query: string;
  look: string;
  seen: boolean;
}

/** Each part is drawn anew when what it shows has changed. */
function Live({ book, trades, minutes, query, look, seen }: LiveProps) {
  const ladder = useMemo(() => <Ladder book={book} />, [book]);
  const depth = useMemo(() => <Depth book={book} look={look} />, [book, look]);
  const price = useMemo(() => <Price {...{ query, minutes, look, seen }} />, [query, minutes, look, seen]);
  const list = useMemo(() => <Trades trades={trades} unit={book.quantity_unit} />, [trades, book.quantity_unit]);
  return (
    <div class="book">
      {ladder}
      <div class="charts">
        {depth}
        {price}
      </div>
      {list}
    </div>
  );
}

/** The newest image and trades of a book; drawn now and then, not with every row. */
function useLive(chosen: Name, seen: boolean): { book?: BookRow; trades: readonly TradeRow[]; link: Link } {
  const held = useRef<{ book?: BookRow; trades: TradeRow[] }>({ trades: [] });
  const drawn = useRef<{ book?: BookRow; trades: readonly TradeRow[] }>({ trades: [] });
  const [, count] = useState(0);
  const timer = useRef(0);
  const of = `${chosen.exchange} ${chosen.market_type} ${chosen.symbol}`;
  const draw = (): void => {
    timer.current = 0;
    drawn.current = { ...held.current };
    count((n) => n + 1);
  };
  const due = (): void => {
    // What there is first is drawn at once: how much room it takes is known then.
    const first = !drawn.current.book || !drawn.current.trades.length;
    const pause = first ? 0 : seen ? DRAW_MS : SELDOM_MS;
    timer.current ||= window.setTimeout(() => requestAnimationFrame(draw), pause);
  };
  useEffect(() => {
    held.current = { trades: [] };
    draw();
    return () => {
      window.clearTimeout(timer.current);
      timer.current = 0;
    };
  }, [of]);
  useEffect(() => {
    if (!seen) return;
    window.clearTimeout(timer.current);
    timer.current = 0;
    due();
  }, [seen]);
  const wanted = useMemo(
    () =>
      ["orderbook", "trade"].map((data_type) => ({
        exchange: chosen.exchange,
        market_type: chosen.market_type,
        symbol: chosen.symbol,
        data_type,
      })),
    [of],
  );
  const link = useRows(wanted, (type, row) => {
    if (row.market_type !== chosen.market_type || row.symbol !== chosen.symbol) return;
    const here = held.current;
    if (type === "orderbook") here.book = row as unknown as BookRow;
    else {
      const trade = row as unknown as TradeRow;
      here.trades = [trade, ...here.trades.filter((each) => each.trade_id !== trade.trade_id)].slice(0, TRADES_MAX);
    }
    due();
  });
  return { ...drawn.current, link };
}

function Standing({ link, book }: { link: Link; book?: BookRow }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), 1000);
    return () => window.clearInterval(timer);
  }, []);
  const age = book ? now / 1000 - book.ts_recv / 1e9 : undefined;
  const stale = age !== undefined && age > 10;
  const word = link === "live" ? (stale ? "warn" : "good") : "warn";
  const said = link !== "live" ? link : stale ? `stale, ${fixed(age, 0)} s old` : "live";
  return (
    <span class="note">
      <Sign word={word} /> {said}
    </span>
  );
}

function Pick({ chosen, names, choose }: Pick_) {
  const of = (name: Name): string => `${name.exchange} ${name.market_type} ${name.symbol}`;
  return (
    <select
      aria-label="Book shown"
      value={of(chosen)}
      onChange={(event) => {
        const found = names.find((name) => of(name) === event.currentTarget.value);
        if (found) choose(found);
      }}
    >
      {names.map((name) => (
        <option key={of(name)} value={of(name)}>
          {name.symbol} {name.market_type} · {name.exchange}
        </option>
      ))}
    </select>
  );
}

type Pick_ = Pick<BookProps, "chosen" | "names" | "choose">;

function Ladder({ book }: { book: BookRow }) {
  const asks = totals(book.asks.slice(0, DEPTH)).reverse();
  const bids = totals(book.bids.slice(0, DEPTH));
  const most = Math.max(asks[0]?.total ?? 0, bids.at(-1)?.total ?? 0) || 1;
  const [bid, ask] = [book.best_bid_price, book.best_ask_price];
  const spread = bid && ask ? Number(ask) - Number(bid) : undefined;
  const middle = bid && ask ? (Number(ask) + Number(bid)) / 2 : undefined;
  const places = Math.max(decimals(bid), decimals(ask));
  return (
    <div class="scroll ladder" tabIndex={0} role="group" aria-label="Ladder">
      <table>
        <caption class="unseen">Ladder: asks above, bids below</caption>
        <thead>
          <tr>
            <th scope="col">side</th>
            <th scope="col" class="number">price</th>
            <th scope="col" class="number">size</th>
            <th scope="col" class="number">up to it</th>
          </tr>
        </thead>
        <tbody>
          {asks.map((level) => (
            <Rung key={`a${level.price}`} side="ask" level={level} most={most} />
          ))}
          <tr class="spread">
            <th scope="row">spread</th>
            <td class="number">{spread === undefined ? "–" : spread.toFixed(places)}</td>
            <td class="number" colSpan={2}>
              {spread === undefined || !middle ? "a side is empty" : `${fixed((spread / middle) * 10_000, 2)} bps`}
            </td>
          </tr>
          {bids.map((level) => (
            <Rung key={`b${level.price}`} side="bid" level={level} most={most} />
          ))}
        </tbody>
      </table>
      <p class="note">
        {book.known_bids} bids and {book.known_asks} asks proven · image {book.last_update_id ?? ""} of{" "}
        {clock(book.ts_event ?? book.ts_recv, 3)}
        {book.quantity_unit ? ` · sizes in ${UNITS[book.quantity_unit] ?? book.quantity_unit}` : ""}
      </p>
    </div>
  );
}

interface Rung_ {
  price: string;
  quantity: string;
  total: number;
}

function Rung({ side, level, most }: { side: "ask" | "bid"; level: Rung_; most: number }) {
  return (
    <tr class={side}>
      <th scope="row">{side}</th>
      <td class="number price">{digits(level.price)}</td>
      <td class="number">{digits(level.quantity)}</td>
      <td class="number bar" style={{ "--part": `${(100 * level.total) / most}%` }}>
        {amount(level.total)}
      </td>
    </tr>
  );
}

function totals(levels: readonly Level[]): Rung_[] {
  let total = 0;
  return levels.map(([price, quantity]) => ({ price, quantity, total: (total += Number(quantity)) }));
}

function decimals(text: string | undefined): number {
  return text?.split(".")[1]?.length ?? 0;
}

/** What is there up to each price; behind the horizon nothing is proven, and that is shaded. */
function Depth({ book, look }: { book: BookRow; look: string }) {
  const edges = useRef<[number | undefined, number | undefined]>([undefined, undefined]);
  edges.current = [numberOf(book.horizon_bid), numberOf(book.horizon_ask)];
  const data = useMemo(() => depthOf(book), [book]);
  const said = edges.current.some((edge) => edge !== undefined)
    ? `proven from ${digits(book.horizon_bid)} to ${digits(book.horizon_ask)}`
    : "all of the book is known";
  return (
    <figure>
      <figcaption>
        Depth <span class="note">{said}</span>
      </figcaption>
      <Chart
        label={`Depth of ${book.symbol}: ${said}`}
        height={270}
        data={data}
        look={look}
        options={(c) => depthOptions(c, () => edges.current)}
      />
    </figure>
  );
}

function numberOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

function depthOf(book: BookRow): uPlot.AlignedData {
  const bids = totals(book.bids).reverse();
  const asks = totals(book.asks);
  return [
    [...bids, ...asks].map((level) => Number(level.price)),
    [...bids.map((level) => level.total), ...asks.map(() => null)],
    [...bids.map(() => null), ...asks.map((level) => level.total)],
  ];
}

function depthOptions(
  c: Colours,
  edges: () => [number | undefined, number | undefined],
): Omit<uPlot.Options, "width" | "height"> {
  return {
    legend: { show: false },
    cursor: { drag: { x: false, y: false } },
    scales: { x: { time: false, range: (_, least, most) => widened(least, most, edges()) } },
    axes: [axis(c, { size: 26 }), axis(c, { size: 52, values: (_, splits) => splits.map(amount) })],
    series: [
      {},
      { stroke: c.good, fill: `${c.good}22`, width: 1.5, spanGaps: false, points: { show: false } },
      { stroke: c.bad, fill: `${c.bad}22`, width: 1.5, spanGaps: false, points: { show: false } },
    ],
    hooks: { drawClear: [(plot) => shadeUnproven(plot, edges(), c)] },
  };
}

/** A little more than what is known, so that where it ends is seen. */
function widened(
  least: number,
  most: number,
  [below, above]: [number | undefined, number | undefined],
): [number, number] {
  const room = (most - least || 1) * 0.06;
  return [Math.min(least, below ?? least) - room, Math.max(most, above ?? most) + room];
}

function shadeUnproven(
  plot: uPlot,
  [below, above]: [number | undefined, number | undefined],
  c: Colours,
): void {
  const { left, top, width, height } = plot.bbox;
  const context = plot.ctx;
  context.save();
  context.fillStyle = c.shade;
  if (below !== undefined) {
    const edge = Math.max(left, plot.valToPos(below, "x", true));
    context.fillRect(left, top, edge - left, height);
  }
  if (above !== undefined) {
    const edge = Math.min(left + width, plot.valToPos(above, "x", true));
    context.fillRect(edge, top, left + width - edge, height);
  }
  context.restore();
}

interface Prices {
  data: { open_time: number; open: string; high: string; low: string; close: string }[];
}

/** Bars of a minute, as a line of closes with the range of each. */
function Price({ query, minutes, look, seen }: Omit<LiveProps, "book" | "trades">) {
  const hours = Math.min(72, minutes / 60);
  const polled = usePoll<Prices>(`api/v1/data/price-history?${query}&hours=${hours}`, 5000, seen);
  const data = useMemo<uPlot.AlignedData>(() => {
    const bars = polled.data?.data ?? [];
    return [
      bars.map((bar) => bar.open_time / 1e9),
      bars.map((bar) => Number(bar.high)),
      bars.map((bar) => Number(bar.low)),
      bars.map((bar) => Number(bar.close)),
    ];
  }, [polled.data]);
  const last = polled.data?.data.at(-1)?.close;
  return (
    <figure>
      <figcaption>
        Price <span class="note">bars of a minute{last ? `, last ${digits(last)}` : ""}</span>
      </figcaption>
      <Chart label={`Price by minute${last ? `, last ${digits(last)}` : ""}`} height={250} data={data} look={look} options={priceOptions} />
    </figure>
  );
}

function priceOptions(c: Colours): Omit<uPlot.Options, "width" | "height"> {
  return {
    legend: { show: false },
    cursor: { drag: { x: false, y: false } },
    axes: [timeAxis(c), axis(c, { size: 64 })],
    series: [
      {},
      { stroke: `${c.text}66`, width: 1, points: { show: false } },
      { stroke: `${c.text}66`, width: 1, points: { show: false } },
      { stroke: c.accent, width: 1.5, points: { show: false } },
    ],
    bands: [{ series: [1, 2], fill: `${c.text}22` }],
  };
}

function Trades({ trades, unit }: { trades: readonly TradeRow[]; unit?: string }) {
  const [shown, setShown] = useState<"all" | "large">("all");
  const sizes = trades.map((trade) => Number(trade.native_quantity ?? trade.quantity ?? 0));
  const large = [...sizes].sort((a, b) => b - a)[Math.floor(sizes.length / 5)] ?? 0;
  const rows = trades.filter((_, n) => shown === "all" || (sizes[n] ?? 0) >= large);
  return (
    <div class="scroll trades" tabIndex={0} role="group" aria-label="Trades">
      <Choice
        label="Trades shown"
        options={[
          ["all", "all trades"],
          ["large", "largest fifth"],
        ]}
        value={shown}
        choose={setShown}
      />
      <table>
        <caption class="unseen">Trades, the newest first</caption>
        <thead>
          <tr>
            <th scope="col">time</th>
            <th scope="col">taker</th>
            <th scope="col" class="number">price</th>
            <th scope="col" class="number">size{unit ? ` (${unit})` : ""}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((trade) => (
            <tr key={trade.trade_id} class={trade.side === "buy" ? "bid" : "ask"}>
              <td class="time">{clock(trade.ts_event ?? trade.ts_recv, 3)}</td>
              <td>
                {trade.side === "buy" ? "▲" : "▼"} {trade.side}
              </td>
              <td class="number price">{digits(trade.price)}</td>
              <td class="number">{digits(trade.native_quantity ?? trade.quantity)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
