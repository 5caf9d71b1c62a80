// The screen: what is asked for, what is chosen, and where each part stands.

import { render } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { keepToken, type Covered, type Name, type Screen } from "./api";
import { Arbitrage } from "./arbitrage";
import { Book } from "./book";
import { Coverage } from "./coverage";
import { Derivatives, Liquidations } from "./derivatives";
import { Gaps } from "./gaps";
import { Figures, Head, type Theme } from "./head";
import { usePoll } from "./poll";
import { Streams, keyOf } from "./streams";
import "./style.css";

const NOW_MS = 2000;
const COVERED_MS = 15_000;
const PARTS = [
  ["streams", "Streams"],
  ["coverage", "Coverage"],
  ["gaps", "Gaps"],
  ["book", "Book"],
  ["derivatives", "Derivatives"],
  ["arbitrage", "Arbitrage"],
] as const;

function Page() {
  const [theme, setTheme] = useTheme();
  const [minutes, setMinutes] = useState(60);
  const [picked, setPicked] = useState<Name>();
  const screen = usePoll<Screen>("api/v1/screen", NOW_MS);
  const coveredPath = `api/v1/screen/coverage?minutes=${minutes}`;
  const covered = usePoll<Covered>(coveredPath, COVERED_MS);
  const rates = useRates(screen.data);
  const names = useMemo(() => booksOf(screen.data), [screen.data]);
  const chosen = picked ?? names[0];
  const database = screen.data?.database ?? "marketprism_hot";
  const look = useShade(theme);
  const choose = (name: Name): void => {
    setPicked(name);
    document.getElementById("book")?.scrollIntoView({ block: "nearest" });
  };
  if (screen.problem?.status === 401) return <AskToken />;
  return (
    <>
      <nav aria-label="Skip">
        {PARTS.map(([id, title]) => (
          <a key={id} class="skip" href={`#${id}`}>
            {title}
          </a>
        ))}
      </nav>
      <Head {...{ screen, theme, setTheme, minutes, setMinutes }} />
      <Figures screen={screen.data} covered={covered.data} rates={rates} />
      <main>
        <Streams {...{ screen, covered: covered.data, rates, chosen, choose }} />
        <Coverage {...{ covered, minutes, path: coveredPath, database, choose }} />
        {chosen && <Book {...{ chosen, names, choose, minutes, database, look }} />}
        <Gaps {...{ covered, path: coveredPath, database }} />
        <Arbitrage database={database} />
        {chosen && <Derivatives {...{ symbol: chosen.symbol, screen: screen.data, minutes, database, look }} />}
        {chosen && <Liquidations {...{ symbol: chosen.symbol, screen: screen.data, minutes, database }} />}
      </main>
      <footer>
        Times are UTC. <a href="docs">API</a> · <a href="health">health</a>
      </footer>
    </>
  );
}

/** Facts a second by stream and connection, between the last two looks. */
function useRates(screen?: Screen): ReadonlyMap<string, number> {
  const before = useRef<Screen | undefined>(undefined);
  const rates = useRef<Map<string, number>>(new Map());
  return useMemo(() => {
    const last = before.current;
    if (!screen || screen === last) return rates.current;
    before.current = screen;
    const seconds = last ? (screen.now - last.now) / 1e9 : 0;
    if (seconds <= 0) return rates.current;
    const had = new Map(last!.streams.map((each) => [`${keyOf(each)} ${each.connection}`, each.facts]));
    rates.current = new Map(
      screen.streams.flatMap((each) => {
        const key = `${keyOf(each)} ${each.connection}`;
        const facts = had.get(key);
        // A counter that went back began anew.
        return facts === undefined ? [] : [[key, Math.max(0, each.facts - facts) / seconds] as const];
      }),
    );
    return rates.current;
  }, [screen]);
}

function booksOf(screen?: Screen): Name[] {
  const books = (screen?.streams ?? []).filter((each) => each.data_type === "orderbook");
  const found = new Map(books.map((each) => [keyOf(each), each]));
  return [...found.values()].sort((a, b) => keyOf(a).localeCompare(keyOf(b)));
}

const THEME = "marketprism-theme";

function useTheme(): [Theme, (theme: Theme) => void] {
  const [theme, setTheme] = useState((localStorage.getItem(THEME) ?? "system") as Theme);
  return [
    theme,
    (chosen) => {
      localStorage.setItem(THEME, chosen);
      setTheme(chosen);
    },
  ];
}

/** Light or dark, as chosen or as the system has it; written where the style sheet reads it. */
function useShade(theme: Theme): "light" | "dark" {
  const dark = useMemo(() => matchMedia("(prefers-color-scheme: dark)"), []);
  const [system, setSystem] = useState(dark.matches);
  useEffect(() => {
    const changed = (): void => setSystem(dark.matches);
    dark.addEventListener("change", changed);
    return () => dark.removeEventListener("change", changed);
  }, [dark]);
  const shade = theme === "system" ? (system ? "dark" : "light") : theme;
  document.documentElement.dataset.theme = shade;
  return shade;
}

function AskToken() {
  const [text, setText] = useState("");
  return (
    <main>
      <section class="panel">
        <form
          class="empty"
          onSubmit={(event) => {
            event.preventDefault();
            keepToken(text);
            location.reload();
          }}
        >
          <h1>MarketPrism</h1>
          <p>This API asks for a token with the scope read. It is kept until the tab is closed.</p>
          <label>
            Token{" "}
            <input type="password" autocomplete="off" value={text} onInput={(e) => setText(e.currentTarget.value)} />
          </label>{" "}
          <button class="copy">show</button>
        </form>
      </section>
    </main>
  );
}

render(<Page />, document.getElementById("app")!);
