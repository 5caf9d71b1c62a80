// Every stream, the worst first.

import { useMemo, useState } from "preact/hooks";
import type { Covered, Name, Screen, Stream } from "./api";
import { fixed, percent } from "./format";
import { Panel, Sign } from "./panel";
import type { Polled } from "./poll";
import { useDrawn, useRowsInView, useSeen } from "./seen";

export function keyOf(name: Name): string {
  return `${name.exchange} ${name.market_type} ${name.symbol} ${name.data_type}`;
}

interface StreamsProps {
  screen: Polled<Screen>;
  covered?: Covered;
  rates: ReadonlyMap<string, number>;
  chosen?: Name;
  choose: (name: Name) => void;
}

const ROWS_MAX = 500;

export function Streams({ screen, covered, rates, chosen, choose }: StreamsProps) {
  const [wanted, setWanted] = useState("");
  const parts = useMemo(
    () => new Map((covered?.streams ?? []).map((each) => [keyOf(each), each])),
    [covered],
  );
  const streams = screen.data?.streams ?? [];
  const words = wanted.toLowerCase().split(/\s+/);
  const shown = streams.filter((stream) => {
    const text = `${keyOf(stream)} ${stream.verdict_state} ${stream.verdict}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const filter = (
    <input
      type="search"
      placeholder="filter"
      aria-label="Streams whose line has these words"
      value={wanted}
      onInput={(event) => setWanted(event.currentTarget.value)}
    />
  );
  const seen = useSeen("streams");
  const rows = useRowsInView(chosen && keyOf(chosen));
  return useDrawn(seen, screen.data, () => (
    <Panel
      id="streams"
      title="Streams"
      note={`${shown.length} of ${streams.length}, the worst first`}
      tools={filter}
      path="api/v1/screen"
      sql={`SELECT data_type, exchange, market_type, minute, rows, venue_p50_ms, venue_p99_ms\nFROM ${screen.data?.database ?? "marketprism_hot"}.latency\nWHERE minute >= now() - INTERVAL 15 MINUTE\nORDER BY minute DESC, venue_p99_ms DESC`}
      problem={screen.problem}
      empty={streams.length ? undefined : "No collector tells of its streams."}
    >
      <div class="scroll tall" tabIndex={0} role="group" aria-label="Table of streams" onScroll={rows.scrolled}>
        <table>
          <caption class="unseen">Streams, the worst first</caption>
          <thead>
            <tr>
              <th scope="col">state</th>
              <th scope="col">stream</th>
              <th scope="col" class="wide">data</th>
              <th scope="col" class="number">facts/s</th>
              <th scope="col" class="number">age s</th>
              <th scope="col" class="number wide">lag p50</th>
              <th scope="col" class="number">lag p99 ms</th>
              <th scope="col" class="number">complete</th>
              <th scope="col" class="wide">why</th>
            </tr>
          </thead>
          <tbody>
            {shown.slice(0, ROWS_MAX).map((stream, at) => {
              const key = keyOf(stream);
              const part = parts.get(key);
              return rows.of(`${key} ${stream.connection}`, at, () => (
                <tr key={`${key} ${stream.connection}`} class={stream.verdict} aria-current={same(chosen, stream)}>
                  <td class="state">
                    <Sign word={stream.verdict} /> {stream.verdict_state}
                  </td>
                  <th scope="row">
                    <button class="link" onClick={() => choose(stream)} title="Show its book">
                      {stream.symbol}
                    </button>{" "}
                    <span class="note">{stream.exchange}</span>
                    <span class="narrow note"> {stream.data_type}</span>
                  </th>
                  <td class="wide">{stream.data_type}</td>
                  <td class="number">{fixed(rates.get(`${key} ${stream.connection}`), 1)}</td>
                  <td class="number">{fixed(stream.age_s, 1)}</td>
                  <td class="number wide">{fixed(stream.lag_p50_ms, 1)}</td>
                  <td class="number">{fixed(stream.lag_p99_ms, 1)}</td>
                  <td class="number">{part ? percent(part.complete + part.healed) : "–"}</td>
                  <td class="wide why">{stream.why}</td>
                </tr>
              ));
            })}
          </tbody>
        </table>
      </div>
    </Panel>
  ));
}

function same(chosen: Name | undefined, stream: Stream): "true" | undefined {
  const is =
    chosen?.exchange === stream.exchange &&
    chosen.market_type === stream.market_type &&
    chosen.symbol === stream.symbol;
  return is ? "true" : undefined;
}
