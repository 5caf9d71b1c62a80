//! What is done to bytes: cuts, splices, flips, repetitions, nesting, numbers too large, no UTF-8.

use crate::draw::Draw;

/// Bytes that readers may trip over.
const TOKENS: [&[u8]; 24] = [
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\0",
    b"\\u0000",
    b"\\ud800",
    b"\\\"",
    b"18446744073709551615",
    b"18446744073709551616",
    b"9223372036854775808",
    b"-0",
    b"1e308",
    b"1e-400",
    b"0.0000000000000000000000001",
    b"00",
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"\"\"",
    b"[[\"1\",\"0\"]]",
    b",",
    b" \n\t",
];
/// Brackets of a deep nesting, at most: more than a message may have, on both sides of the length
/// from which they are counted.
const BRACKETS_MAX: u64 = 6_000;

/// One to three things done to a message; `other` is a message to splice with.
pub fn mutated(message: &[u8], other: &[u8], draw: &mut Draw) -> Vec<u8> {
    let mut bytes = message.to_vec();
    for _ in 0..draw.pick(&[1, 1, 2, 3]) {
        bytes = once(bytes, other, draw);
    }
    bytes
}

/// As `mutated`, from three bytes.
pub fn broken(message: &[u8], other: &[u8], how: [u8; 3]) -> Vec<u8> {
    let seed = u64::from_le_bytes([how[0], how[1], how[2], 0, 0, 0, 0, 1]);
    mutated(message, other, &mut Draw::new(seed))
}

fn place(bytes: &[u8], draw: &mut Draw) -> usize {
    draw.below(bytes.len() as u64 + 1) as usize
}

fn once(mut bytes: Vec<u8>, other: &[u8], draw: &mut Draw) -> Vec<u8> {
    let at = place(&bytes, draw);
    let end = (at + 1 + draw.distance(12) as usize).min(bytes.len());
    match draw.below(12) {
        0 => bytes.truncate(at),
        1 => {
            let from = place(other, draw);
            bytes.splice(at.., other[from..].iter().copied());
        }
        2 | 3 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << draw.below(8);
            }
        }
        4 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = draw.below(256) as u8;
            }
        }
        5 => {
            bytes.drain(at.min(end)..end);
        }
        6 => {
            let part = bytes[at.min(end)..end].to_vec();
            bytes.splice(at..at, part);
        }
        7 | 8 => {
            bytes.splice(at..at, draw.pick(&TOKENS).iter().copied());
        }
        9 => numbers(&mut bytes, at, draw),
        10 => swap(&mut bytes, draw),
        _ => {
            let bracket = draw.pick(b"[{");
            let many = draw.distance(200).min(BRACKETS_MAX) as usize;
            bytes.splice(at..at, std::iter::repeat_n(bracket, many));
        }
    }
    bytes
}

/// Another number, mostly too large, in the place of the next one.
fn numbers(bytes: &mut Vec<u8>, from: usize, draw: &mut Draw) {
    let is_number = |byte: &u8| byte.is_ascii_digit() || b".-".contains(byte);
    let Some(start) = bytes[from..].iter().position(is_number).map(|at| from + at) else { return };
    let length = bytes[start..].iter().take_while(|byte| is_number(byte)).count();
    let digits = draw.pick(&[1usize, 18, 19, 20, 39, 77, 400]);
    let number = std::iter::repeat_n(draw.pick(b"0199"), digits);
    bytes.splice(start..start + length, number);
}

/// Two texts (names, mostly) change places.
fn swap(bytes: &mut Vec<u8>, draw: &mut Draw) {
    let quotes: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'"').collect();
    let texts: Vec<&[usize]> = quotes.chunks_exact(2).collect();
    if texts.len() < 2 {
        return;
    }
    let one = draw.below(texts.len() as u64 - 1) as usize;
    let two = draw.between(one as u64 + 1, texts.len() as u64 - 1) as usize;
    let (one, two) = (texts[one][0]..texts[one][1], texts[two][0]..texts[two][1]);
    let swapped = [
        &bytes[..one.start],
        &bytes[two.clone()],
        &bytes[one.end..two.start],
        &bytes[one.clone()],
        &bytes[two.end..],
    ];
    *bytes = swapped.concat();
}
