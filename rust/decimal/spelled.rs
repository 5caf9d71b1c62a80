//! Integers to the digits of a decimal, eight at once, into room that is there.
//!
//! # Promises
//! No division by a power that is not known before; nothing is allocated. What is written is what
//! `decimal` reads.
//!
//! # Not here
//! Which digits a number has: whoever writes it knows scale and places.

use super::{POW10, ZEROS};

/// Writes numbers, and what stands between them, into bytes that are there: copying short texts out
/// of a buffer that was just written costs more than writing them.
pub struct Spelled<'a> {
    bytes: &'a mut [u8],
    length: usize,
}

/// More printed fraction digits than this are written apart: no venue has so many.
pub const SPELLED_DIGITS_MAX: u8 = 40;
/// Bytes that the whole part of a number takes at most, with its sign; none is below zero places.
pub fn whole_length(mantissa: i64, scale: u8) -> usize {
    let power = POW10[usize::from(scale.min(18))] as u64;
    let whole = mantissa.unsigned_abs() / power;
    usize::from(mantissa < 0) + whole.checked_ilog10().map_or(1, |n| n as usize + 1)
}

/// What one number may take: sign, whole part, point, fraction, and room to write eight at once.
pub const SPELLED_MAX: usize = 1 + 20 + 1 + SPELLED_DIGITS_MAX as usize + 8;

impl<'a> Spelled<'a> {
    /// Eight digits are written at once, of which the last may be nobody's.
    pub const SLACK: usize = 8;

    /// There must be room for all that is put: `SPELLED_MAX` a number.
    pub fn into(bytes: &'a mut [u8]) -> Spelled<'a> {
        Spelled { bytes, length: 0 }
    }

    /// How many bytes were written.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    #[inline(always)]
    pub fn put<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.bytes[self.length..self.length + N].copy_from_slice(bytes);
        self.length += N;
    }

    /// The first `count` of eight digits.
    #[inline(always)]
    fn digits(&mut self, digits: u64, count: usize) {
        let text = (digits | ZEROS).to_le_bytes();
        self.bytes[self.length..self.length + 8].copy_from_slice(&text);
        self.length += count;
    }

    /// `mantissa / 10^scale` with exactly `digits` fraction digits (`scale <= digits <=
    /// SPELLED_DIGITS_MAX`).
    #[inline]
    pub fn number(&mut self, mantissa: i64, scale: u8, digits: u8) {
        if mantissa < 0 {
            self.put(b"-");
        }
        let value = mantissa.unsigned_abs();
        if value < EIGHT_END && scale < 8 && digits <= 8 {
            let (text, scale) = (eight_digits(value), usize::from(scale));
            // The last digit of the whole part is there even where all are zero.
            let zeros = (text.trailing_zeros() as usize / 8).min(7 - scale);
            self.digits(text >> (8 * zeros), 8 - zeros - scale);
            if digits > 0 {
                self.put(b".");
                // Behind the last digit there are zeros.
                let fraction = if scale == 0 { 0 } else { text >> (8 * (8 - scale)) };
                self.digits(fraction, usize::from(digits));
            }
            return;
        }
        self.wide(value, scale, digits);
    }

    /// As `number`, for those that are below 10^16.
    #[inline]
    fn wide(&mut self, value: u64, scale: u8, digits: u8) {
        if value >= EIGHT_END * EIGHT_END || digits > 8 {
            return self.long(value, scale, digits);
        }
        // Sixteen digits, the first one lowest. No division by a power that is not known before:
        // it costs more than all the rest.
        let (high, low) = (value / EIGHT_END, value % EIGHT_END);
        let text = u128::from(eight_digits(high)) | (u128::from(eight_digits(low)) << 64);
        let scale = usize::from(scale);
        let zeros = (text.trailing_zeros() as usize / 8).min(15 - scale);
        let (whole, count) = (text >> (8 * zeros), 16 - zeros - scale);
        self.digits(whole as u64, count.min(8));
        if count > 8 {
            self.digits((whole >> 64) as u64, count - 8);
        }
        if digits > 0 {
            self.put(b".");
            let fraction = if scale == 0 { 0 } else { text >> (8 * (16 - scale)) };
            self.digits(fraction as u64, usize::from(digits));
        }
    }

    /// As `number`, for numbers of more digits.
    #[cold]
    fn long(&mut self, value: u64, scale: u8, digits: u8) {
        let power = POW10[usize::from(scale)] as u64;
        let (mut whole, mut fraction) = (value / power, value % power);
        let mut text = [b'0'; 20];
        let mut at = 20;
        while at == 20 || whole > 0 {
            at -= 1;
            text[at] = b'0' + (whole % 10) as u8;
            whole /= 10;
        }
        self.bytes[self.length..self.length + 20 - at].copy_from_slice(&text[at..]);
        self.length += 20 - at;
        if digits > 0 {
            self.put(b".");
            let field = &mut self.bytes[self.length..self.length + usize::from(digits)];
            field.fill(b'0');
            for byte in field[..usize::from(scale)].iter_mut().rev() {
                *byte = b'0' + (fraction % 10) as u8;
                fraction /= 10;
            }
            self.length += usize::from(digits);
        }
    }
}

/// Eight digits hold less than this.
const EIGHT_END: u64 = 100_000_000;

/// The digits of a number below `EIGHT_END`, the first one lowest: fours, then pairs, then one each.
#[inline(always)]
fn eight_digits(value: u64) -> u64 {
    debug_assert!(value < EIGHT_END);
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    // x * 10486 >> 20 is x / 100 below 10,000; y * 103 >> 10 is y / 10 below 100.
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007F_0000_007F;
    let pairs = hundreds | ((fours - 100 * hundreds) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000F_000F_000F_000F;
    tens | ((pairs - 10 * tens) << 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_every_length_are_written() {
        for value in [0, 7, 10, 99, 100, 9_999, 10_000, 12_345_678, 99_999_999] {
            let text = eight_digits(value) | ZEROS;
            assert_eq!(text.to_le_bytes(), format!("{value:08}").into_bytes()[..], "{value}");
        }
    }
}
