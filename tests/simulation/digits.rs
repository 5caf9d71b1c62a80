//! Numbers as venues spell them, and back again, by other means than the engine's.
//!
//! A number is a whole count of units; `places` says where its point is.

use std::fmt::Write;

/// `61837.63000000`: always `digits` of them behind the point.
pub fn fixed(out: &mut String, units: i64, places: u32, digits: u32) {
    let power = 10i64.pow(places);
    write!(out, "{}", units / power).unwrap();
    if digits > 0 {
        out.push('.');
        if places > 0 {
            write!(out, "{:0width$}", units % power, width = places as usize).unwrap();
        }
        for _ in places..digits {
            out.push('0');
        }
    }
}

/// `61837.63`: no zeros at the end.
pub fn trimmed(out: &mut String, mut units: i64, mut places: u32) {
    while places > 0 && units % 10 == 0 {
        units /= 10;
        places -= 1;
    }
    fixed(out, units, places, places);
}

/// A JSON number in one of the spellings that one and the same venue uses.
pub fn number(out: &mut String, units: i64, places: u32, style: i64) {
    let whole = units % 10i64.pow(places) == 0;
    if style % 3 == 1 && whole {
        trimmed(out, units, places);
        out.push_str(".0");
    } else if style % 3 == 2 && units != 0 && units < 10i64.pow(places) / 1000 {
        let (mut units, mut places) = (units, places);
        while units % 10 == 0 {
            units /= 10;
            places -= 1;
        }
        write!(out, "{units}e-{places:02}").unwrap();
    } else {
        trimmed(out, units, places);
    }
}

/// The units that a plain text says; `None` where it says a part of one, or no number.
pub fn units(text: &str, places: u32) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let kept = fraction.trim_end_matches('0');
    if kept.len() > places as usize || whole.is_empty() {
        return None;
    }
    let mut value: i64 = 0;
    for byte in whole.bytes().chain(kept.bytes()) {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(i64::from(byte - b'0'))?;
    }
    value.checked_mul(10i64.checked_pow(places - kept.len() as u32)?)
}

#[test]
fn every_spelling_says_the_same_number() {
    for (value, wanted) in [(61_837_630, "61837.63"), (5, "0.005"), (0, "0"), (42_500_000, "42500")]
    {
        let (mut short, mut long) = (String::new(), String::new());
        trimmed(&mut short, value, 3);
        fixed(&mut long, value, 3, 8);
        assert_eq!(short, wanted);
        assert_eq!((units(&short, 3), units(&long, 3)), (Some(value), Some(value)));
    }
    let mut small = String::new();
    number(&mut small, 10, 6, 2);
    assert_eq!(small, "1e-05");
    assert_eq!((units("0.0001", 3), units("x", 3), units("", 3)), (None, None, None));
}
