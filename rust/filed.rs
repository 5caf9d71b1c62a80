//! What messages are filed under, found without reading what they say: the time of a payload, and
//! the numbers of the facts that message ids name. By these the store looks for what it has.
//!
//! # Not here
//! What payloads mean (`columns` reads them), and what is asked with it (`store/insert.py`).

/// The time that a payload is filed under, found without reading it: its first `ts_event`, or else
/// its first `ts_recv`, or 0; and whether it is the venue's. What no `i64` holds is cut to one.
pub fn time(payload: &[u8]) -> (i64, bool) {
    match number_of(payload, b"\"ts_event\":") {
        Some(time) => (time, true),
        None => (number_of(payload, b"\"ts_recv\":").unwrap_or(0), false),
    }
}

/// The number behind the first `key` that has one.
fn number_of(payload: &[u8], key: &[u8]) -> Option<i64> {
    let mut at = 0;
    loop {
        at += payload[at..].iter().position(|&byte| byte == b'"')?;
        if let Some(rest) = payload[at..].strip_prefix(key) {
            let negative = rest.first() == Some(&b'-');
            let digits = &rest[usize::from(negative)..];
            let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if length > 0 {
                let push = |value: i64, byte: &u8| {
                    let digit = i64::from(byte - b'0');
                    let value = value.saturating_mul(10);
                    if negative {
                        value.saturating_sub(digit)
                    } else {
                        value.saturating_add(digit)
                    }
                };
                return Some(digits[..length].iter().fold(0, push));
            }
        }
        at += 1;
    }
}

/// The lowest and the highest number among the facts that message ids name. A fact is what follows
/// the last colon; its number is all of it, but for one letter of `letters` before it and a first
/// number with a dash. `None` where any of them is another text: then no range holds them all.
pub fn id_range<S: AsRef<str>>(ids: &[S], letters: &str) -> Option<(u64, u64)> {
    let number = |id: &S| {
        let fact = id.as_ref().rsplit(':').next()?;
        let fact = fact.strip_prefix(|c| letters.contains(c)).unwrap_or(fact);
        let digits = match fact.split_once('-') {
            Some((first, last)) if is_number(first) => last,
            _ => fact,
        };
        if is_number(digits) {
            digits.parse::<u64>().ok()
        } else {
            None
        }
    };
    ids.iter().try_fold(None, |range: Option<(u64, u64)>, id| {
        let n = number(id)?;
        Some(Some(range.map_or((n, n), |(low, high)| (low.min(n), high.max(n)))))
    })?
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_have_a_range_only_if_each_has_a_number() {
        for (ids, letters, expected) in [
            (&["trade:x:spot:A-B:t7", "trade:x:spot:A-B:a12"][..], "at", Some((7, 12))),
            (&["trade:x:spot:A-B:t7", "trade:x:spot:A-B:tx"], "at", None),
            (&["orderbook:x:spot:A-B:9", "orderbook:x:spot:A-B:t3"], "", None),
            (&["orderbook_delta:x:spot:A-B:-1-9", "orderbook_delta:x:spot:A-B:3-8"], "", None),
            (&["orderbook_delta:x:spot:A-B:3-8"], "", Some((8, 8))),
            (&["trade:x:spot:A-B:t18446744073709551616"], "at", None),
            (&["trade:x:spot:A-B:t"], "at", None),
            (&[], "at", None),
        ] {
            assert_eq!(id_range(ids, letters), expected, "{ids:?}");
        }
    }

    #[test]
    fn the_time_of_a_payload_is_its_first_number_of_that_name() {
        for (payload, expected) in [
            ("", (0, false)),
            ("\"ts_event\":", (0, false)),
            (r#"{"ts_event":17,"ts_recv":18}"#, (17, true)),
            (r#"{"ts_recv":18,"ts_event":-17}"#, (-17, true)),
            (r#"{"ts_event":null,"ts_recv":18"#, (18, false)),
            (r#"{"ts_event":null,"ts_event":5"#, (5, true)),
            (r#"{"ts_event": 17}"#, (0, false)),
            (r#""ts_event":99999999999999999999"#, (i64::MAX, true)),
            (r#""ts_event":-99999999999999999999"#, (i64::MIN, true)),
        ] {
            assert_eq!(time(payload.as_bytes()), expected, "{payload}");
        }
    }
}
