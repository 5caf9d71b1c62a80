// What is missing and what happened: a line of time a venue, and the same as a list.

import { useMemo, useState } from "preact/hooks";
import type { Covered, Gap, Told } from "./api";
import { count, lasts, moment } from "./format";
import { shownFrom } from "./coverage";
import { Choice, Panel, Sign } from "./panel";
import type { Polled } from "./poll";
import { useDrawn, useSeen } from "./seen";

const WIDTH = 1000;
const LANE = 22;
const SEEN_MIN = 4;
const ROWS_MAX = 200;

interface GapsProps {
  covered: Polled<Covered>;
  path: string;
  database: string;
}

type Shown = "gaps" | "ledger";

export function Gaps({ covered, path, database }: GapsProps) {
  const seen = useSeen("gaps");
  // It changes with every seventh look at the screen, not with each.
  const list = useMemo(
    () => <GapsPanel {...{ covered, path, database }} />,
    [covered.data, covered.problem, path, database],
  );
  return useDrawn(seen, covered.data, () => list);
}

function GapsPanel({ covered, path, database }: GapsProps) {
  const [shown, setShown] = useState<Shown>("gaps");
  const found = covered.data;
  const gaps = [...(found?.gaps ?? [])].sort((a, b) => b.from - a.from);
  const events = found?.events ?? [];
  const lost = gaps.filter((gap) => gap.state === "lost").length;
  const sql =
    "SELECT fromUnixTimestamp64Nano(coalesce(from_ts, ts_event, ts_recv), 'UTC') AS at, event, cause,\n" +
    "       exchange, symbol, data_type, from_id, to_id, detail\n" +
    `FROM ${database}.ledger\nWHERE event IN ('gap', 'healed', 'lost', 'disconnected', 'stale', 'resync')\n` +
    "ORDER BY at DESC LIMIT 200";
  return (
    <Panel
      id="gaps"
      title="Gaps"
      note={found ? `${lost} lost, ${gaps.length - lost} healed` : undefined}
      path={path}
      sql={sql}
      problem={covered.problem}
      tools={
        <Choice
          label="List of"
          options={[
            ["gaps", "gaps"],
            ["ledger", "ledger"],
          ]}
          value={shown}
          choose={setShown}
        />
      }
    >
      {found && <Timeline covered={found} />}
      <div class="scroll" tabIndex={0} role="group" aria-label="Table of gaps">
        {shown === "gaps" ? <GapList gaps={gaps} /> : <Ledger events={events} />}
      </div>
    </Panel>
  );
}

/** Gaps as bars and what was told as marks, by venue. */
function Timeline({ covered }: { covered: Covered }) {
  const from = shownFrom(covered);
  const { to } = covered;
  const lanes = [
    ...new Set([...covered.streams, ...covered.gaps, ...covered.events].map((each) => each.exchange)),
  ]
    .filter((name) => name && name !== "-")
    .sort();
  if (!lanes.length) return null;
  const at = (time: number): number => (WIDTH * (time - from)) / (to - from);
  return (
    <div class="timeline" aria-hidden="true">
      {lanes.map((lane) => (
        <div key={lane} class="lane">
          <span class="note">{lane}</span>
          <svg viewBox={`0 0 ${WIDTH} ${LANE}`} preserveAspectRatio="none">
            <line x1="0" x2={WIDTH} y1={LANE / 2} y2={LANE / 2} class="rule" />
            {covered.gaps
              .filter((gap) => gap.exchange === lane)
              .map((gap) => (
                <rect
                  key={`${gap.from} ${gap.symbol} ${gap.data_type}`}
                  x={Math.max(0, at(gap.from))}
                  y={gap.state === "lost" ? 2 : LANE / 2}
                  width={Math.max(SEEN_MIN, at(gap.to) - Math.max(0, at(gap.from)))}
                  height={LANE / 2 - 2}
                  class={gap.state}
                >
                  <title>{`${gap.state}: ${gap.symbol} ${gap.data_type}, ${gap.cause}`}</title>
                </rect>
              ))}
            {covered.events
              .filter((told) => told.exchange === lane && told.at >= from)
              .map((told, n) => (
                <rect key={n} x={at(told.at)} y="0" width="1.5" height={LANE} class="mark">
                  <title>{`${told.event} ${told.cause}`}</title>
                </rect>
              ))}
          </svg>
        </div>
      ))}
    </div>
  );
}

function GapList({ gaps }: { gaps: readonly Gap[] }) {
  if (!gaps.length) return <p class="empty">Nothing is missing in this time.</p>;
  return (
    <table>
      <caption class="unseen">Gaps, the newest first</caption>
      <thead>
        <tr>
          <th scope="col">from (UTC)</th>
          <th scope="col" class="number">lasts</th>
          <th scope="col">stream</th>
          <th scope="col" class="number wide">ids</th>
          <th scope="col">state</th>
          <th scope="col">cause</th>
        </tr>
      </thead>
      <tbody>
        {gaps.slice(0, ROWS_MAX).map((gap) => (
          <tr key={`${gap.from} ${gap.exchange} ${gap.market_type} ${gap.symbol} ${gap.data_type}`}>
            <td class="time">{moment(gap.from)}</td>
            <td class="number">{lasts((gap.to - gap.from) / 1e9)}</td>
            <th scope="row">
              {gap.symbol}{" "}
              <span class="note">
                {gap.exchange} {gap.data_type}
              </span>
            </th>
            <td class="number wide">
              {gap.from_id !== null && gap.to_id !== null ? count(gap.to_id - gap.from_id + 1) : ""}
            </td>
            <td class="state">
              <Sign word={gap.state === "lost" ? "bad" : "good"} /> {gap.state}
            </td>
            <td class="why">{gap.cause}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Ledger({ events }: { events: readonly Told[] }) {
  if (!events.length) return <p class="empty">The ledger tells of nothing in this time.</p>;
  return (
    <table>
      <caption class="unseen">What the ledger told, the newest first</caption>
      <thead>
        <tr>
          <th scope="col">at (UTC)</th>
          <th scope="col">event</th>
          <th scope="col">of</th>
          <th scope="col">cause and detail</th>
        </tr>
      </thead>
      <tbody>
        {events.slice(0, ROWS_MAX).map((told, n) => (
          <tr key={n}>
            <td class="time">{moment(told.at)}</td>
            <td>{told.event}</td>
            <th scope="row">
              {told.symbol === "-" ? "" : told.symbol}{" "}
              <span class="note">
                {told.exchange === "-" ? "" : told.exchange} {told.data_type}
              </span>
            </th>
            <td class="why">{[told.cause, told.detail].filter(Boolean).join(": ")}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
