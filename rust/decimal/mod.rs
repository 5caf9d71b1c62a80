//! Digits to scaled integers and back: the only number parser for prices and sizes.
//!
//! # Promises
//! A text is read exactly or refused; nothing is rounded unless a function says so in its name.
//! `parse` then `write` with the same number of digits gives the same text back.
//!
//! # Not here
//! Which scale an instrument uses: `book` learns it from what the venue sends.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

mod spelled;

pub use spelled::{whole_length, Spelled, SPELLED_DIGITS_MAX, SPELLED_MAX};

/// Ten to the power of the index; the largest that an `i64` holds is 10^18.
pub const POW10: [i64; 19] = {
    let mut table = [1i64; 19];
    let mut i = 1;
    while i < 19 {
        table[i] = table[i - 1] * 10;
        i += 1;
    }
    table
};

/// So many digits always fit into 63 bits.
pub const COUNTED_MAX: usize = 18;

/// The most fraction digits a level may have.
pub const SCALE_MAX: u8 = 18;

/// An exact decimal as a venue sent it: `mantissa / 10^scale`, trailing fraction zeros removed.
///
/// `digits` remembers how many fraction digits the text had, so that `61837.60000000` is stored
/// as 618376 at scale 1 and written back with its eight digits. Keeping the mantissa small is what
/// lets a size of 10^12 with eight printed digits fit into an `i64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decimal {
    pub mantissa: i64,
    pub scale: u8,
    pub digits: u8,
}

impl Decimal {
    pub const ZERO: Decimal = Decimal { mantissa: 0, scale: 0, digits: 0 };

    /// Reads `[-]digits[.digits][(e|E)[+-]digits]`. `None` when the text is anything else, has
    /// more than 18 significant fraction digits, or does not fit into an `i64`.
    #[inline]
    pub fn parse(text: &[u8]) -> Option<Decimal> {
        match Self::scan(text) {
            Some((plain, length)) if length == text.len() => Some(plain),
            _ => Self::parse_digits(text),
        }
    }

    /// As `parse`, a digit at a time.
    fn parse_digits(text: &[u8]) -> Option<Decimal> {
        let (negative, body) = match text.split_first()? {
            (b'-', rest) => (true, rest),
            _ => (false, text),
        };
        let mut mantissa: u64 = 0;
        let mut at = 0;
        while at < body.len() && body[at].wrapping_sub(b'0') < 10 {
            mantissa = push(mantissa, body[at])?;
            at += 1;
        }
        if at == 0 {
            return None;
        }
        let (mut scale, mut digits) = (0u8, 0u8);
        if at < body.len() {
            if body[at] != b'.' {
                return Self::parse_exponent(text);
            }
            let fraction = &body[at + 1..];
            if fraction.is_empty() || fraction.len() > usize::from(u8::MAX) {
                return None;
            }
            let mut end = fraction.len();
            while end > 0 && fraction[end - 1] == b'0' {
                end -= 1;
            }
            for &byte in &fraction[..end] {
                if byte.wrapping_sub(b'0') >= 10 {
                    return Self::parse_exponent(text);
                }
                mantissa = push(mantissa, byte)?;
            }
            if end > usize::from(SCALE_MAX) {
                return None;
            }
            scale = end as u8;
            digits = fraction.len() as u8;
        }
        let mantissa = i64::try_from(mantissa).ok()?;
        Some(Decimal { mantissa: if negative { -mantissa } else { mantissa }, scale, digits })
    }

    /// Reads the plain decimal (`digits[.digits]`) that `text` begins with, and says how long it
    /// is. `None` for anything that is not plain, or too long to be read without a check a digit:
    /// `parse` then says what it is. This is the hot path of every book.
    #[inline(always)]
    pub fn scan(text: &[u8]) -> Option<(Decimal, usize)> {
        let (whole, at) = match eight(text, 0) {
            Some((digits, count @ 1..=7)) => (value(digits, count), count),
            _ => return Self::scan_digits(text),
        };
        if text.get(at) != Some(&b'.') {
            return Some((Decimal { mantissa: whole as i64, scale: 0, digits: 0 }, at));
        }
        let Some((fraction, places @ 1..)) = eight(text, at + 1) else {
            return Self::scan_digits(text);
        };
        let end = at + 1 + places;
        if places == 8 && digit(text, end).is_some() {
            return Self::scan_digits(text);
        }
        // The last digits lie highest: what is zero there is no part of the mantissa.
        let last = fraction << (8 * (8 - places));
        let zeros = (last.leading_zeros() as usize / 8).min(places);
        let scale = places - zeros;
        let fraction = if scale == 0 { 0 } else { value(fraction, scale) };
        // Seven digits and eight always fit.
        let mantissa = whole as i64 * POW10[scale] + fraction as i64;
        Some((Decimal { mantissa, scale: scale as u8, digits: places as u8 }, end))
    }

    /// As `scan`, a digit at a time.
    fn scan_digits(text: &[u8]) -> Option<(Decimal, usize)> {
        let mut at = 0;
        let mut mantissa: u64 = 0;
        while let Some(digit) = digit(text, at) {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
            at += 1;
        }
        if at == 0 {
            return None;
        }
        let (mut scale, mut digits) = (0u8, 0u8);
        let mut significant = mantissa;
        if text.get(at) == Some(&b'.') {
            let point = at;
            at += 1;
            while let Some(digit) = digit(text, at) {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
                at += 1;
                if digit != 0 {
                    significant = mantissa;
                    scale = (at - point - 1) as u8;
                }
            }
            digits = (at - point - 1) as u8;
            if digits == 0 {
                return None;
            }
        }
        // Eighteen digits always fit; nothing has wrapped around.
        let fits = at <= 18 + usize::from(digits > 0);
        fits.then_some((Decimal { mantissa: significant as i64, scale, digits }, at))
    }

    /// JSON numbers may carry an exponent (`1e-05`); such a text is written out in full first.
    #[cold]
    fn parse_exponent(text: &[u8]) -> Option<Decimal> {
        let at = text.iter().position(|b| matches!(b, b'e' | b'E'))?;
        let exponent: i32 = std::str::from_utf8(&text[at + 1..]).ok()?.parse().ok()?;
        if text[..at].iter().any(|b| matches!(b, b'e' | b'E')) {
            return None;
        }
        let base = Self::parse(&text[..at])?;
        let scale = i32::from(base.scale) - exponent;
        if scale > i32::from(SCALE_MAX) || scale < -18 {
            return None;
        }
        if scale < 0 {
            let mantissa = base.mantissa.checked_mul(POW10[-scale as usize])?;
            return Some(Decimal { mantissa, scale: 0, digits: 0 });
        }
        Some(Decimal { mantissa: base.mantissa, scale: scale as u8, digits: scale as u8 })
    }

    /// The exact product; `None` when it does not fit.
    pub fn times(self, other: Decimal) -> Option<Decimal> {
        let mut mantissa = self.mantissa.checked_mul(other.mantissa)?;
        let mut scale = self.scale + other.scale;
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        (scale <= SCALE_MAX).then_some(Decimal { mantissa, scale, digits: scale })
    }

    /// The mantissa at a scale at least as large as its own; `None` when it does not fit.
    #[inline]
    pub fn at(self, scale: u8) -> Option<i64> {
        debug_assert!(scale >= self.scale);
        self.mantissa.checked_mul(POW10[usize::from(scale - self.scale)])
    }
}

/// Reads the plain decimal (`[-]digits[.digits]`) that `text` begins with as an integer at scale
/// 18, and says how long it is. `None` for anything that is not plain, has more than 18 fraction
/// digits (zeros count), or does not fit: what a table's decimal column holds.
#[inline(always)]
pub fn scan_scaled(text: &[u8]) -> Option<(i128, usize)> {
    match Decimal::scan(text) {
        Some((plain, length)) => {
            let factor = POW10[usize::from(SCALE_MAX - plain.scale)];
            Some((i128::from(plain.mantissa) * i128::from(factor), length))
        }
        None => scan_long(text),
    }
}

/// As `scan_scaled`, a digit at a time.
#[cold]
fn scan_long(text: &[u8]) -> Option<(i128, usize)> {
    let negative = text.first() == Some(&b'-');
    let start = usize::from(negative);
    let mut at = start;
    let mut value: i128 = 0;
    let mut fraction = None;
    loop {
        match (text.get(at), &mut fraction) {
            (Some(byte @ b'0'..=b'9'), fraction) => {
                value = value.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
                if let Some(digits) = fraction {
                    *digits += 1;
                }
            }
            (Some(b'.'), None) if at > start => fraction = Some(0u32),
            _ => break,
        }
        at += 1;
        if fraction > Some(u32::from(SCALE_MAX)) {
            return None;
        }
    }
    if at == start || fraction == Some(0) {
        return None;
    }
    let missing = u32::from(SCALE_MAX) - fraction.unwrap_or(0);
    value = value.checked_mul(10i128.pow(missing))?;
    Some((if negative { -value } else { value }, at))
}

/// Integer and fraction digits that a text may have to be taken for a number at all: more than any
/// table holds, and few enough that no exponent writes out a page of zeros.
const PLAIN_MAX: usize = 76;

/// The text itself when it is a plain decimal (`[-]digits[.digits]`), or the same number written
/// out when it has an exponent. `None` for anything else: no size, no price, no rate.
pub fn plain(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let body = text.strip_prefix('-').unwrap_or(&text);
    let whole = body.bytes().take_while(u8::is_ascii_digit).count();
    let rest = &body[whole..];
    let fraction = rest.strip_prefix('.');
    let places = fraction.map_or(0, |f| f.bytes().take_while(u8::is_ascii_digit).count());
    let read = whole + fraction.map_or(0, |_| places + 1);
    if whole == 0 || whole + places > PLAIN_MAX || (fraction.is_some() && places == 0) {
        return None;
    }
    if read == body.len() {
        return Some(text);
    }
    let exponent = body[read..].strip_prefix(['e', 'E'])?.parse::<i16>().ok()?;
    let mantissa = &text[..text.len() - body.len() + read];
    shifted(mantissa, exponent).map(Cow::Owned)
}

/// A plain decimal times ten to the power of `by`, exactly: its point moves. `None` when that takes
/// more digits than a number may have.
pub fn shifted(plain: &str, by: i16) -> Option<String> {
    let (sign, body) = plain.strip_prefix('-').map_or(("", plain), |body| ("-", body));
    let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
    let digits = format!("{whole}{fraction}");
    let point = i32::try_from(whole.len()).ok()? + i32::from(by);
    let length = i32::try_from(digits.len()).ok()?;
    if point.max(length) - point.min(0) > i32::try_from(PLAIN_MAX).ok()? {
        return None;
    }
    let zeros = |n: i32| "0".repeat(usize::try_from(n).unwrap_or(0));
    let (whole, fraction) = if point <= 0 {
        ("0".to_owned(), zeros(-point) + &digits)
    } else if point >= length {
        (digits + &zeros(point - length), String::new())
    } else {
        let (whole, fraction) = digits.split_at(usize::try_from(point).ok()?);
        (whole.to_owned(), fraction.to_owned())
    };
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let dot = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{dot}{fraction}"))
}

/// The unsigned integer that `text` begins with, and how many digits it has: at most
/// [`COUNTED_MAX`], which always fit. `None` where it is longer, or none.
#[inline]
pub fn counted(text: &[u8]) -> Option<(u64, usize)> {
    let (mut number, mut at) = (0u64, 0);
    while let Some((digits, count @ 1..)) = eight(text, at) {
        if at + count > COUNTED_MAX {
            return None;
        }
        number = number * POW10[count] as u64 + value(digits, count);
        at += count;
        if count < 8 {
            return Some((number, at));
        }
    }
    while let Some(digit) = digit(text, at) {
        if at == COUNTED_MAX {
            return None;
        }
        number = number * 10 + digit;
        at += 1;
    }
    (at > 0).then_some((number, at))
}

/// Eight times `0`.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The eight bytes from `at` as digits, the first one lowest, and how many of them are digits.
/// `None` where fewer than eight bytes are left.
#[inline(always)]
fn eight(text: &[u8], at: usize) -> Option<(u64, usize)> {
    const ABOVE_NINE: u64 = 0x7676_7676_7676_7676;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let bytes: [u8; 8] = text.get(at..at + 8)?.try_into().ok()?;
    let digits = u64::from_le_bytes(bytes) ^ ZEROS;
    // A byte above nine carries into its highest bit; only bytes behind it can be told wrong.
    let others = (digits.wrapping_add(ABOVE_NINE) | digits) & HIGHS;
    Some((digits, others.trailing_zeros() as usize / 8))
}

/// The number that the first `count` (1 to 8) of eight digits are: pairs, then fours, then all.
#[inline(always)]
fn value(digits: u64, count: usize) -> u64 {
    const PAIRS: u64 = 0x0000_00FF_0000_00FF;
    // 100 and 1,000,000; 1 and 10,000.
    const OUTER: u64 = 0x000F_4240_0000_0064;
    const INNER: u64 = 0x0000_2710_0000_0001;
    let right = digits << (8 * (8 - count));
    let pairs = right.wrapping_mul(10).wrapping_add(right >> 8);
    let outer = (pairs & PAIRS).wrapping_mul(OUTER);
    outer.wrapping_add(((pairs >> 16) & PAIRS).wrapping_mul(INNER)) >> 32
}

#[inline(always)]
fn digit(text: &[u8], at: usize) -> Option<u64> {
    match text.get(at) {
        Some(byte) if byte.wrapping_sub(b'0') < 10 => Some(u64::from(byte - b'0')),
        _ => None,
    }
}

#[inline]
fn push(mantissa: u64, digit: u8) -> Option<u64> {
    mantissa.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
}

/// Writes `mantissa / 10^scale` with exactly `digits` fraction digits (`digits >= scale`).
#[inline]
pub fn write(out: &mut Vec<u8>, mantissa: i64, scale: u8, digits: u8) {
    debug_assert!(digits >= scale && scale <= SCALE_MAX);
    let near = digits.min(SPELLED_DIGITS_MAX);
    let start = out.len();
    out.resize(start + SPELLED_MAX, b'0');
    let mut spelled = Spelled::into(&mut out[start..]);
    spelled.number(mantissa, scale, near);
    let length = spelled.len();
    out.truncate(start + length);
    out.resize(start + length + usize::from(digits - near), b'0');
}

/// The same number without trailing fraction zeros: mantissa and scale.
#[inline(always)]
pub fn trimmed(mut mantissa: i64, mut scale: u8) -> (i64, u8) {
    while scale > 0 && mantissa % 10 == 0 {
        mantissa /= 10;
        scale -= 1;
    }
    (mantissa, scale)
}

/// The exact product as text, without trailing fraction zeros: what a trade was worth.
pub fn write_product(out: &mut Vec<u8>, a: Decimal, b: Decimal) {
    let product = i128::from(a.mantissa) * i128::from(b.mantissa);
    write_wide(out, product, u32::from(a.scale) + u32::from(b.scale));
}

/// `a * b / c` with 18 fraction digits, half to even, trailing zeros removed. `None` when `c` is
/// zero or the numerator does not fit: the caller then leaves the value out rather than guess.
pub fn quotient(a: Decimal, b: Decimal, c: Decimal) -> Option<Vec<u8>> {
    const DIGITS: u32 = 18;
    if c.mantissa == 0 {
        return None;
    }
    let negative = (a.mantissa < 0) ^ (b.mantissa < 0) ^ (c.mantissa < 0);
    let mut top = (u128::from(a.mantissa.unsigned_abs()))
        .checked_mul(u128::from(b.mantissa.unsigned_abs()))?;
    let mut bottom = u128::from(c.mantissa.unsigned_abs());
    let shift = i32::from(c.scale) - i32::from(a.scale) - i32::from(b.scale);
    let factor = 10u128.checked_pow(shift.unsigned_abs())?;
    if shift >= 0 {
        top = top.checked_mul(factor)?;
    } else {
        bottom = bottom.checked_mul(factor)?;
    }
    // Schoolbook division, a digit at a time: the remainder stays below the divisor, so only
    // the divisor times ten has to fit.
    bottom.checked_mul(10)?;
    let mut result = top / bottom;
    let mut rest = top % bottom;
    for _ in 0..DIGITS {
        rest *= 10;
        result = result.checked_mul(10)?.checked_add(rest / bottom)?;
        rest %= bottom;
    }
    let twice = rest * 2;
    if twice > bottom || (twice == bottom && result % 2 == 1) {
        result = result.checked_add(1)?;
    }
    let signed = i128::try_from(result).ok()?;
    let mut out = Vec::with_capacity(40);
    write_wide(&mut out, if negative { -signed } else { signed }, DIGITS);
    Some(out)
}

fn write_wide(out: &mut Vec<u8>, mut mantissa: i128, mut scale: u32) {
    while scale > 0 && mantissa % 10 == 0 {
        mantissa /= 10;
        scale -= 1;
    }
    if mantissa < 0 {
        out.push(b'-');
    }
    let text = mantissa.unsigned_abs().to_string();
    let scale = scale as usize;
    if text.len() > scale {
        out.extend_from_slice(&text.as_bytes()[..text.len() - scale]);
    } else {
        out.push(b'0');
    }
    if scale > 0 {
        out.push(b'.');
        out.resize(out.len() + scale.saturating_sub(text.len()), b'0');
        out.extend_from_slice(&text.as_bytes()[text.len().saturating_sub(scale)..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_takes_numbers_and_writes_exponents_out() {
        let written = |text: &'static str| plain(text.into()).map(Cow::into_owned);
        for (text, wanted) in [
            ("42500.0", "42500.0"),
            ("-0.5", "-0.5"),
            ("1e-05", "0.00001"),
            ("-1.2041149152542373e-7", "-0.00000012041149152542373"),
            ("4.25E3", "4250"),
            ("4.2501e+2", "425.01"),
            ("123562.1205163528751467", "123562.1205163528751467"),
            ("0e5", "0"),
        ] {
            assert_eq!(written(text).as_deref(), Some(wanted), "{text}");
        }
        for text in ["", "-", ".5", "5.", "NaN", "∞", "-∞", "1e", "1e999", "1e-99", "0x1", " 1"]
        {
            assert_eq!(written(text), None, "{text}");
        }
        assert_eq!(plain("9".repeat(77).into()), None);
        assert_eq!(shifted("0.7437", 2).as_deref(), Some("74.37"));
        assert_eq!(shifted("1.2", 2).as_deref(), Some("120"));
    }

    #[test]
    fn multipliers_multiply_exactly() {
        let of = |text: &str| Decimal::parse(text.as_bytes()).unwrap();
        assert_eq!(of("1").times(of("0.01")), Some(of("0.01")));
        assert_eq!(of("0.1").times(of("10")).map(|d| (d.mantissa, d.scale)), Some((1, 0)));
        assert_eq!(of("9000000000000000000").times(of("9")), None);
    }
    use proptest::prelude::*;

    fn round_trip(text: &str) -> String {
        let d = Decimal::parse(text.as_bytes()).expect(text);
        let mut out = Vec::new();
        write(&mut out, d.mantissa, d.scale, d.digits);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn reads_and_writes_back_the_same_text() {
        for text in [
            "0",
            "1",
            "0.00000000",
            "61837.63000000",
            "0.00000637",
            "-0.5",
            "100",
            "99.9",
            "1000000000000.00000000",
            "9223372036854775807",
            "0.000000000000000001",
        ] {
            assert_eq!(round_trip(text), text);
        }
    }

    #[test]
    fn scanning_agrees_with_parsing_or_declines() {
        for text in [
            "0",
            "61837.63000000",
            "0.00000637",
            "100",
            "7.000",
            "123456789012345678",
            "0.00000000000000001",
        ] {
            let (scanned, length) = Decimal::scan(format!("{text}\",\"").as_bytes()).expect(text);
            assert_eq!(
                (Some(scanned), length),
                (Decimal::parse_digits(text.as_bytes()), text.len())
            );
        }
        for text in [
            "",
            "-1",
            ".5",
            "1.",
            "x",
            "9999999999999999999",
            "99999999999999999999",
            "1500000000000.00000000",
        ] {
            assert_eq!(Decimal::scan(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Decimal::scan(b"1e5").map(|(_, length)| length), Some(1));
    }

    proptest::proptest! {
        /// Against the arithmetic of the standard library.
        #[test]
        fn numbers_are_written_exactly(mantissa: i64, shift in 0u32..64, scale in 0u8..=18, more in 0u8..30) {
            let mantissa = mantissa >> shift;
            let mut out = Vec::new();
            write(&mut out, mantissa, scale, scale + more);
            let digits = format!("{:0width$}", mantissa.unsigned_abs(), width = usize::from(scale) + 1);
            let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
            let sign = if mantissa < 0 { "-" } else { "" };
            let dot = if scale + more > 0 { "." } else { "" };
            let wanted = format!("{sign}{whole}{dot}{fraction}{}", "0".repeat(usize::from(more)));
            proptest::prop_assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }

        /// Eight digits at once are what a digit at a time is, whatever stands behind.
        #[test]
        fn quick_scanning_is_scanning(
            whole in "[0-9]{0,12}",
            fraction in "(\\.[0-9]{0,6}[0-9]{0,6}0{0,5})?",
            rest in "[\",\\]e.x/:0-9\u{0}\u{7f}]{0,10}",
        ) {
            let text = format!("{whole}{fraction}{rest}");
            proptest::prop_assert_eq!(
                Decimal::scan(text.as_bytes()),
                Decimal::scan_digits(text.as_bytes())
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn counting_is_parsing(digits in "[0-9]{0,20}", rest in "([^0-9].{0,10})?") {
            let wanted = match digits.len() {
                1..=COUNTED_MAX => Some((digits.parse().unwrap(), digits.len())),
                _ => None,
            };
            proptest::prop_assert_eq!(counted(format!("{digits}{rest}").as_bytes()), wanted);
        }
    }

    #[test]
    fn keeps_the_mantissa_small() {
        let d = Decimal::parse(b"1500000000000.00000000").unwrap();
        assert_eq!((d.mantissa, d.scale, d.digits), (1_500_000_000_000, 0, 8));
    }

    #[test]
    fn refuses_what_is_not_a_number_or_does_not_fit() {
        for text in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "1.2.3",
            "NaN",
            "Infinity",
            "1,5",
            " 1",
            "1 ",
            "0x1",
            "99999999999999999999",
            "0.0000000000000000001",
            "1e400",
            "1e1e1",
            "--1",
            "+1",
            "1e",
        ] {
            assert_eq!(Decimal::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn reads_exponents_exactly() {
        let d = Decimal::parse(b"1e-05").unwrap();
        assert_eq!((d.mantissa, d.scale), (1, 5));
        let d = Decimal::parse(b"1.25E3").unwrap();
        assert_eq!((d.mantissa, d.scale), (1250, 0));
    }

    #[test]
    fn products_are_exact() {
        let mut out = Vec::new();
        let price = Decimal::parse(b"61837.63000000").unwrap();
        write_product(&mut out, price, Decimal::parse(b"0.00105000").unwrap());
        assert_eq!(out, b"64.9295115");
    }

    #[test]
    fn quotients_round_half_to_even_at_eighteen_digits() {
        let q = |a: &str, b: &str, c: &str| {
            let d = |t: &str| Decimal::parse(t.as_bytes()).unwrap();
            String::from_utf8(quotient(d(a), d(b), d(c)).unwrap()).unwrap()
        };
        assert_eq!(q("1", "100", "3"), "33.333333333333333333");
        assert_eq!(q("2", "100", "3"), "66.666666666666666667");
        assert_eq!(q("1", "100", "50000"), "0.002");
        assert_eq!(q("0.000000000000000001", "1", "2"), "0");
        assert_eq!(q("0.000000000000000003", "1", "2"), "0.000000000000000002");
        assert_eq!(q("5", "10", "61804.7"), "0.000808999962786002");
        assert!(quotient(Decimal::ZERO, Decimal::ZERO, Decimal::ZERO).is_none());
    }

    proptest! {
        #[test]
        fn scaled_integers_are_the_digits_themselves(
            minus in "-?",
            whole in "[0-9]{0,24}",
            fraction in proptest::option::of("[0-9]{0,21}"),
            after in "(\"|,|x|-|[.]|e5)?",
        ) {
            let number = match &fraction {
                Some(fraction) => format!("{minus}{whole}.{fraction}"),
                None => format!("{minus}{whole}"),
            };
            // The reading of a child: no point, and zeros until there are eighteen digits.
            let digits = fraction.clone().unwrap_or_default();
            let plain = !whole.is_empty() && fraction.as_deref() != Some("") && digits.len() <= 18;
            let read = format!("{minus}{whole}{digits:0<18}").parse::<i128>().ok();
            let expected = read.filter(|_| plain).map(|value| (value, number.len()));
            // A point and nothing after it is no number; behind a fraction it is not its part.
            prop_assume!(fraction.is_some() || after != ".");
            prop_assert_eq!(scan_scaled(format!("{number}{after}").as_bytes()), expected);
        }
    }
}
