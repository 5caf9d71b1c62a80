// A part of the screen: its heading, how to get the same by SQL or curl, and what is wrong with it.

import type { ComponentChildren } from "preact";
import { useEffect, useId, useState } from "preact/hooks";
import type { Problem, Word } from "./api";

const SAID_MS = 2000;

interface PanelProps {
  id: string;
  title: string;
  note?: string;
  sql?: string;
  path?: string;
  problem?: Problem;
  empty?: string;
  tools?: ComponentChildren;
  children?: ComponentChildren;
}

/** A region with a heading. `empty` is said instead of `children` where there is nothing. */
export function Panel(props: PanelProps) {
  const heading = useId();
  return (
    <section class="panel" id={props.id} aria-labelledby={heading}>
      <header>
        <h2 id={heading}>{props.title}</h2>
        {props.note && <span class="note">{props.note}</span>}
        <span class="tools">
          {props.tools}
          {props.sql && <Copy what="SQL" of={props.title} text={props.sql} />}
          {props.path && <Copy what="curl" of={props.title} text={curl(props.path)} />}
        </span>
      </header>
      {props.problem && (
        <p class="problem" role="status">
          <Sign word="warn" /> {props.problem.title}. {props.problem.detail}
        </p>
      )}
      {props.empty ? <p class="empty">{props.empty}</p> : props.children}
    </section>
  );
}

/** The request as it is typed in a shell. */
export function curl(path: string): string {
  return `curl -s '${new URL(path, location.href).href.replaceAll("'", "%27")}'`;
}

function Copy({ what, of, text }: { what: string; of: string; text: string }) {
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (!said) return;
    const timer = window.setTimeout(() => setSaid(""), SAID_MS);
    return () => window.clearTimeout(timer);
  }, [said]);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      setSaid("copied");
    } catch {
      setSaid("not allowed here");
    }
  };
  return (
    <button class="copy" title={text} aria-label={`Copy ${what} of ${of}`} onClick={() => void copy()}>
      {said || what}
      <span class="unseen" role="status">
        {said && `${what} ${said}`}
      </span>
    </button>
  );
}

const SIGNS: Record<Word, string> = { bad: "✖", warn: "▲", quiet: "○", good: "●" };

/** A verdict's shape, in its colour. The word stands beside it, always. */
export function Sign({ word }: { word: Word }) {
  return (
    <span class={`sign ${word}`} aria-hidden="true">
      {SIGNS[word]}
    </span>
  );
}

/** A choice of one among few, as buttons. */
export function Choice<T extends string | number>(props: {
  label: string;
  options: readonly (readonly [T, string])[];
  value: T;
  choose: (value: T) => void;
}) {
  return (
    <span class="choice" role="group" aria-label={props.label}>
      {props.options.map(([value, text]) => (
        <button key={value} aria-pressed={value === props.value} onClick={() => props.choose(value)}>
          {text}
        </button>
      ))}
    </span>
  );
}
