// The best bid and ask of each symbol across venues, after fees; what was too old is named.

import { digits, fixed } from "./format";
import { Panel, Sign } from "./panel";
import { usePoll } from "./poll";
import { useSeen } from "./seen";

const EVERY_MS = 3000;
const EXCLUDED_MAX = 20;

interface Side {
  exchange: string;
  price: string;
  after_fee: string;
  quantity: string;
  quantity_unit: string | null;
  age_s: number;
}

interface Opportunity {
  symbol: string;
  market_type: string;
  venues: number;
  bid: Side;
  ask: Side;
  gross: string;
  net: string;
  net_bps: string;
}

interface Excluded {
  exchange: string;
  market_type: string;
  symbol: string;
  age_s: number | null;
  reason: string;
}

interface Board {
  stale_s: number;
  data: Opportunity[];
  excluded: Excluded[];
}

export function Arbitrage({ database }: { database: string }) {
  const path = "api/v1/stats/arbitrage";
  const seen = useSeen("arbitrage");
  const polled = usePoll<Board>(path, EVERY_MS, seen);
  const board = polled.data;
  const sql =
    "SELECT symbol, market_type, exchange, best_bid_price, best_ask_price, timestamp\n" +
    `FROM ${database}.orderbooks\nWHERE timestamp >= now() - INTERVAL 1 MINUTE\n` +
    "ORDER BY timestamp DESC LIMIT 1 BY exchange, market_type, symbol";
  const excluded = board?.excluded ?? [];
  return (
    <Panel
      id="arbitrage"
      title="Arbitrage"
      note="buy there, sell here, after both fees"
      path={path}
      sql={sql}
      problem={polled.problem}
      empty={board && !board.data.length && !excluded.length ? "No symbol has books of two venues." : undefined}
    >
      <div class="scroll" tabIndex={0} role="group" aria-label="Table of arbitrage">
        <table>
          <caption class="unseen">Best prices across venues, the best first</caption>
          <thead>
            <tr>
              <th scope="col">symbol</th>
              <th scope="col">buy at</th>
              <th scope="col" class="number">ask</th>
              <th scope="col">sell at</th>
              <th scope="col" class="number">bid</th>
              <th scope="col" class="number">net bps</th>
            </tr>
          </thead>
          <tbody>
            {board?.data.map((each) => {
              const wins = !each.net.startsWith("-");
              return (
                <tr key={`${each.symbol} ${each.market_type}`}>
                  <th scope="row">
                    <b>{each.symbol}</b> <span class="note">{each.market_type}</span>
                  </th>
                  <td>{each.ask.exchange}</td>
                  <td class="number">{digits(each.ask.price)}</td>
                  <td>{each.bid.exchange}</td>
                  <td class="number">{digits(each.bid.price)}</td>
                  <td class="number">
                    {wins && <Sign word="good" />} {fixed(Number(each.net_bps), 2)}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
        {excluded.length > 0 && (
          <p class="empty" id="excluded">
            <Sign word="warn" /> left out:{" "}
            {excluded
              .slice(0, EXCLUDED_MAX)
              .map((e) => `${e.exchange} ${e.symbol} (${e.reason}${e.age_s === null ? "" : `, ${fixed(e.age_s, 0)} s old`})`)
              .join("; ")}
            {excluded.length > EXCLUDED_MAX && `; and ${excluded.length - EXCLUDED_MAX} more`}
          </p>
        )}
      </div>
    </Panel>
  );
}
