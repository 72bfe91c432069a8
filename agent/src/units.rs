//! Numbers in words: none of them may claim more than is true.

/// Largest unit first.
pub(crate) const UNITS: [(&str, u32); 6] =
    [("EiB", 60), ("PiB", 50), ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// Every digit, in groups of three.
pub(crate) fn thousands(number: impl Into<u128>) -> String {
    let digits = number.into().to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A byte count for a sentence: three or four digits and an IEC unit.
pub(crate) fn human_bytes(bytes: u64) -> String {
    human(bytes.into())
}

/// Three or four digits and an IEC unit; exact below 1 KiB.
pub(crate) fn human(bytes: u128) -> String {
    if bytes == 0 {
        return "0".to_owned();
    }
    for (unit, shift) in UNITS {
        // 1023.7 KiB is 1.00 MiB, not 1024 KiB.
        let rounds_up = shift > 10 && round_shift(bytes, shift - 10) >= 1024;
        if bytes >> shift >= 1 || rounds_up {
            let hundredths = round_shift(bytes * 100, shift);
            return match hundredths {
                0..=999 => format!("{} {unit}", decimal(hundredths, 2)),
                1000..=9994 => format!("{} {unit}", decimal(round_shift(bytes * 10, shift), 1)),
                _ => format!("{} {unit}", round_shift(bytes, shift)),
            };
        }
    }
    format!("{bytes} B")
}

fn round_shift(number: u128, shift: u32) -> u128 {
    (number + (1 << shift >> 1)) >> shift
}

/// A power of two, without digits after the point.
pub(crate) fn binary(bytes: u128) -> String {
    let unit = UNITS.iter().find(|(_, shift)| bytes >> shift >= 1);
    unit.map_or_else(|| format!("{bytes} B"), |(unit, shift)| format!("{} {unit}", bytes >> shift))
}

/// `part` of `whole` in percent, or `None` of nothing. `0 %` and `100 %` only where they are exact.
pub(crate) fn percent(part: u64, whole: u64, digits: u32) -> Option<String> {
    let scale = 10_u128.pow(digits);
    let steps = rounded(u128::from(part) * 100 * scale, whole.into())?;
    let last = 100 * scale - 1;
    Some(match (part, steps) {
        (0, _) => "0 %".to_owned(),
        (part, _) if part == whole => "100 %".to_owned(),
        (_, 0) => format!("<{} %", decimal(1, digits)),
        (part, steps) if part < whole && steps > last => format!(">{} %", decimal(last, digits)),
        (_, steps) => format!("{} %", decimal(steps, digits)),
    })
}

/// The same where `part` may be more than is known: rounded down.
pub(crate) fn percent_at_least(part: u64, whole: u64, digits: u32) -> Option<String> {
    let steps = (u128::from(part) * 100 * 10_u128.pow(digits)).checked_div(whole.into())?;
    Some(format!("{} %", decimal(steps, digits)))
}

/// `a / b`, rounded half up.
pub(crate) fn rounded(a: u128, b: u128) -> Option<u128> {
    (2 * a + b).checked_div(2 * b)
}

/// A number of `10^-digits` with its point and its groups of three.
pub(crate) fn decimal(number: u128, digits: u32) -> String {
    let scale = 10_u128.pow(digits);
    match digits {
        0 => thousands(number),
        _ => format!("{}.{:0width$}", thousands(number / scale), number % scale, width = digits as usize),
    }
}
