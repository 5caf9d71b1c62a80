// The calendar of completeness: a strip of time a stream, in which what was healed is hatched and what
// is lost is crossed. The numbers stand beside each strip.

import { useMemo } from "preact/hooks";
import type { Audited, Covered, Gap, Name } from "./api";
import { clock, lasts, moment, percent } from "./format";
import { Panel, Sign } from "./panel";
import type { Polled } from "./poll";
import { useDrawn, useSeen } from "./seen";
import { keyOf } from "./streams";

const WIDTH = 1000;
const SEEN_MIN = 5; // of WIDTH: the shortest gap must still be seen
const ROWS_MAX = 300;

interface CoverageProps {
  covered: Polled<Covered>;
  minutes: number;
  path: string;
  database: string;
  choose: (name: Name) => void;
}

export function Coverage({ covered, minutes, path, database, choose }: CoverageProps) {
  const found = covered.data;
  const seen = useSeen("coverage");
  // It changes with every seventh look at the screen, not with each.
  const calendar = useMemo(
    () => <Calendar {...{ covered, minutes, path, database, choose }} />,
    [found, covered.problem, minutes, path, database],
  );
  return useDrawn(seen, found, () => calendar);
}

function Calendar({ covered, minutes, path, database, choose }: CoverageProps) {
  const found = covered.data;
  const gaps = new Map<string, Gap[]>();
  for (const gap of found?.gaps ?? []) {
    const key = keyOf(gap);
    gaps.set(key, [...(gaps.get(key) ?? []), gap]);
  }
  const streams = [...(found?.streams ?? [])].sort(
    (a, b) => b.lost_s - a.lost_s || b.healed - a.healed || keyOf(a).localeCompare(keyOf(b)),
  );
  const from = found && shownFrom(found);
  const sql =
    "SELECT exchange, market_type, symbol, data_type, minute, covered_seconds, gaps, healed\n" +
    `FROM ${database}.coverage\nWHERE minute >= now() - INTERVAL ${minutes} MINUTE\n` +
    "ORDER BY minute DESC, covered_seconds";
  return (
    <Panel
      id="coverage"
      title="Coverage"
      note={found && from ? `${moment(from)} to ${clock(found.to)} UTC` : undefined}
      path={path}
      sql={sql}
      problem={covered.problem}
      tools={<Legend />}
      empty={found && !streams.length ? "No stream has been asked for a whole minute yet." : undefined}
    >
      <Patterns />
      <div class="scroll tall" tabIndex={0} role="group" aria-label="Table of coverage">
        <table class="calendar">
          <caption class="unseen">
            How complete each stream is, the least complete first
          </caption>
          <thead>
            <tr>
              <th scope="col">stream</th>
              <th scope="col" class="strip">
                <span class="unseen">complete, healed and lost over time</span>
                {from !== undefined && found && <Ticks from={from} to={found.to} />}
              </th>
              <th scope="col" class="number">complete</th>
              <th scope="col" class="number wide">healed</th>
              <th scope="col" class="number">lost</th>
            </tr>
          </thead>
          <tbody>
            {found &&
              streams.slice(0, ROWS_MAX).map((each) => (
                <tr key={keyOf(each)}>
                  <th scope="row">
                    <button class="link" onClick={() => choose(each)} title="Show its book">
                      {each.symbol}
                    </button>{" "}
                    <span class="note">
                      {each.data_type} {each.exchange}
                    </span>
                  </th>
                  <td class="strip">
                    <Strip each={each} gaps={gaps.get(keyOf(each)) ?? []} from={from ?? found.from} to={found.to} />
                  </td>
                  <td class="number">{percent(each.complete)}</td>
                  <td class="number wide">{each.healed ? percent(each.healed) : ""}</td>
                  <td class="number">
                    {each.lost_s > 0 && <Sign word="bad" />} {each.lost_s > 0 ? lasts(each.lost_s) : ""}
                  </td>
                </tr>
              ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

/** Nothing is drawn of the time before anything was listened to. What is polled goes further back. */
export function shownFrom(covered: Covered): number {
  const live = covered.streams.filter((each) => ["trade", "orderbook"].includes(each.data_type));
  const first = Math.min(...live.map((each) => each.from));
  return Number.isFinite(first) ? Math.max(covered.from, first) : covered.from;
}

function Strip({ each, gaps, from, to }: { each: Audited; gaps: Gap[]; from: number; to: number }) {
  const at = (time: number): number => (WIDTH * (time - from)) / (to - from);
  const said = gaps.length
    ? gaps.map((gap) => `${gap.state} ${moment(gap.from)}, ${lasts((gap.to - gap.from) / 1e9)}: ${gap.cause}`)
    : ["complete"];
  return (
    <svg viewBox={`0 0 ${WIDTH} 12`} preserveAspectRatio="none" aria-hidden="true">
      <title>{said.slice(0, 8).join("\n")}</title>
      <rect x={at(each.from)} width={Math.max(1, at(each.to) - at(each.from))} height="12" class="complete" />
      {gaps.map((gap) => (
        <rect
          key={`${gap.from} ${gap.state}`}
          x={Math.max(0, at(gap.from))}
          width={Math.max(SEEN_MIN, at(gap.to) - Math.max(0, at(gap.from)))}
          height="12"
          class={gap.state}
        />
      ))}
    </svg>
  );
}

function Ticks({ from, to }: { from: number; to: number }) {
  return (
    <span class="ticks" aria-hidden="true">
      <span>{clock(from).slice(0, 5)}</span>
      <span>{clock(to).slice(0, 5)}</span>
    </span>
  );
}

function Legend() {
  return (
    <span class="legend" aria-label="Legend">
      {(["complete", "healed", "lost"] as const).map((name) => (
        <span key={name}>
          <svg viewBox="0 0 14 10" aria-hidden="true">
            <rect width="14" height="10" class={name} />
          </svg>
          {name}
        </span>
      ))}
    </span>
  );
}

/** The hatchings that every strip refers to. */
function Patterns() {
  return (
    <svg class="defs" aria-hidden="true">
      <defs>
        <pattern id="healed" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <rect width="6" height="6" class="healed-back" />
          <rect width="2.5" height="6" class="healed-line" />
        </pattern>
        <pattern id="lost" width="6" height="6" patternUnits="userSpaceOnUse">
          <rect width="6" height="6" class="lost-back" />
          <path d="M0 0 6 6M6 0 0 6" class="lost-line" />
        </pattern>
      </defs>
    </svg>
  );
}
