// The head of the screen: is it well, in one word, and the few numbers behind that word.

import type { Check, Covered, Screen, Stream, Word } from "./api";
import { count, fixed, lasts, percent } from "./format";
import { Choice, Sign } from "./panel";
import type { Polled } from "./poll";

export type Theme = "system" | "light" | "dark";
export const WINDOWS = [
  [15, "15 min"],
  [60, "1 h"],
  [360, "6 h"],
  [1440, "24 h"],
] as const;

export interface HeadProps {
  screen: Polled<Screen>;
  theme: Theme;
  setTheme: (theme: Theme) => void;
  minutes: number;
  setMinutes: (minutes: number) => void;
}

export function Head({ screen, theme, setTheme, minutes, setMinutes }: HeadProps) {
  const now = screen.data;
  const [word, status] = screen.problem ? (["bad", "no answer"] as const) : standing(now);
  const service = now?.services.collector ?? Object.values(now?.services ?? {})[0];
  return (
    <header class="head">
      <h1>MarketPrism</h1>
      <p class={`status ${word}`} role="status">
        <Sign word={word} /> {status}
      </p>
      {service?.version && (
        <p class="note">
          {service.version} · up {lasts(service.uptime_seconds ?? 0)}
        </p>
      )}
      <div class="choices">
        <Choice label="Time shown" options={WINDOWS} value={minutes} choose={setMinutes} />
        <Choice
          label="Colours"
          options={[
            ["system", "auto"],
            ["light", "light"],
            ["dark", "dark"],
          ]}
          value={theme}
          choose={setTheme}
        />
      </div>
      <Troubles screen={screen} />
    </header>
  );
}

/** The worst of the processes and of the streams, in one word and in a few. */
function standing(now?: Screen): [Word, string] {
  if (!now) return ["quiet", "asking"];
  const of = (word: Word): number => now.streams.filter((each) => each.verdict === word).length;
  if (now.status === "unhealthy") return ["bad", now.status];
  if (of("bad")) return ["bad", `${of("bad")} streams are down`];
  if (of("warn")) return ["warn", `${of("warn")} streams to look at`];
  return [now.status === "healthy" ? "good" : "warn", now.status];
}

/** Everything that is not well, in the words of who found it. */
function Troubles({ screen }: { screen: Polled<Screen> }) {
  const found: string[] = [];
  if (screen.problem) found.push(`${screen.problem.title}. ${screen.problem.detail}`);
  if (screen.data?.trouble) found.push(screen.data.trouble);
  for (const [name, page] of Object.entries(screen.data?.services ?? {})) {
    if (page.why) found.push(`${name}: ${page.why}`);
    for (const check of Object.values(page.checks ?? {})) {
      if (check.status !== "healthy") found.push(`${name}: ${check.detail}`);
    }
  }
  if (!found.length) return null;
  return (
    <div class="said" role="status">
    <ul class="troubles" aria-label="What is not well">
      {[...new Set(found)].map((text) => (
        <li key={text}>
          <Sign word="warn" /> {text}
        </li>
      ))}
    </ul>
    </div>
  );
}

interface FiguresProps {
  screen?: Screen;
  covered?: Covered;
  rates: ReadonlyMap<string, number>;
}

/** The numbers that are looked at first. */
export function Figures({ screen, covered, rates }: FiguresProps) {
  const streams = screen?.streams ?? [];
  const bad = streams.filter((s) => s.verdict === "bad").length;
  const look = streams.filter((s) => s.verdict === "warn").length;
  const checks = screen?.services.collector?.checks ?? {};
  const books = checks.books;
  const rate = [...rates.values()].reduce((sum, each) => sum + each, 0);
  const all = share(covered);
  return (
    <section aria-label="At a glance">
    <dl class="figures">
      <Figure name="bad streams" word={bad ? "bad" : "good"} value={count(bad)} of={`of ${streams.length}`} />
      <Figure name="to look at" word={look ? "warn" : "good"} value={count(look)} />
      <Figure name="facts a second" value={count(rate)} />
      <Figure name="books live" {...booksOf(books)} />
      <Figure name="lag p50 / p99" value={lags(streams)} of="ms" />
      <Figure name="complete, + healed" word={all === undefined ? undefined : all.whole >= 1 ? "good" : "warn"} value={all ? percent(all.complete) : "–"} of={all ? `+ ${percent(all.healed)}` : ""} />
      <Figure name="lost, all streams" word={all?.lost ? "bad" : "good"} value={all ? lasts(all.lost) : "–"} />
      <Figure name="not acknowledged" value={number(checks.nats, "pending")} of={`spool ${number(checks.spool, "rows")}`} />
    </dl>
    </section>
  );
}

function Figure(props: { name: string; value: string; of?: string; word?: "bad" | "warn" | "good" }) {
  return (
    <div class={`figure ${props.word ?? ""}`}>
      <dt>{props.name}</dt>
      <dd>
        {props.word && <Sign word={props.word} />} <b>{props.value}</b> <span class="note">{props.of}</span>
      </dd>
    </div>
  );
}

function booksOf(check: Check | undefined): { value: string; of: string; word?: "warn" | "good" } {
  if (!check) return { value: "–", of: "" };
  const well = check.live === check.wanted;
  return { value: String(check.live), of: `of ${String(check.wanted)}`, word: well ? "good" : "warn" };
}

function number(check: Check | undefined, name: string): string {
  const found = check?.[name];
  return typeof found === "number" ? count(found) : "–";
}

function lags(streams: readonly Stream[]): string {
  const worst = (name: "lag_p50_ms" | "lag_p99_ms"): number | null => {
    const known = streams.map((s) => s[name]).filter((ms): ms is number => ms !== null);
    return known.length ? Math.max(...known) : null;
  };
  return `${fixed(worst("lag_p50_ms"), 1)} / ${fixed(worst("lag_p99_ms"), 1)}`;
}

/** Of the time of all streams together. */
function share(covered?: Covered): { complete: number; healed: number; lost: number; whole: number } | undefined {
  if (!covered?.streams.length) return undefined;
  let length = 0;
  let complete = 0;
  let healed = 0;
  let lost = 0;
  for (const each of covered.streams) {
    const seconds = (each.to - each.from) / 1e9;
    length += seconds;
    complete += each.complete * seconds;
    healed += each.healed * seconds;
    lost += each.lost_s;
  }
  const of = (seconds: number): number => (length ? seconds / length : 1);
  return { complete: of(complete), healed: of(healed), lost, whole: lost ? 0 : 1 };
}
