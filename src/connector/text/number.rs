//! Numbers as Java's `Double`, `Float` and `BigDecimal` print them.

use super::show;

/// Appends a DOUBLE as Java does: `1.0`, `1.0E10`, `NaN`, `-Infinity`.
pub fn write_double(out: &mut String, value: f64) {
    if let Some(special) = special(value) {
        return out.push_str(special);
    }
    // Java wants at least two digits and, of all such numbers that read back as this one, the nearest to it.
    let two = format!("{value:.1e}");
    let text = if two.parse() == Ok(value) { two } else { format!("{value:e}") };
    write_scientific(out, &text);
}

/// Appends a FLOAT as Java does.
pub fn write_float(out: &mut String, value: f32) {
    if let Some(special) = special(f64::from(value)) {
        return out.push_str(special);
    }
    let two = format!("{value:.1e}");
    let text = if two.parse() == Ok(value) { two } else { format!("{value:e}") };
    write_scientific(out, &text);
}

fn special(value: f64) -> Option<&'static str> {
    match value {
        v if v.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        v if v == 0.0 => Some(if v.is_sign_negative() { "-0.0" } else { "0.0" }),
        _ => None,
    }
}

/// Rewrites `-1.25e-7`, as Rust prints it, in Java's form: plain from 0.001 up to ten millions.
fn write_scientific(out: &mut String, text: &str) {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let unsigned = mantissa.strip_prefix('-').unwrap_or(mantissa);
    if unsigned.len() < mantissa.len() {
        out.push('-');
    }
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    if !(-3..7).contains(&exponent) {
        return show(out, format_args!("{whole}.{fraction}E{exponent}"));
    }
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    if exponent < 0 {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return show(out, format_args!("0.{zeros}{digits}"));
    }
    let point = exponent as usize + 1;
    let (before, after) = digits.split_at(point.min(digits.len()));
    let padding = "0".repeat(point.saturating_sub(digits.len()));
    show(out, format_args!("{before}{padding}.{}", if after.is_empty() { "0" } else { after }));
}

/// Appends a DECIMAL as Java's `BigDecimal` does: `12.50`, and `0E-8` where it is nearer to nought than a millionth.
pub(super) fn write_decimal(out: &mut String, unscaled: &str, scale: i8) {
    let digits = unscaled.strip_prefix('-').unwrap_or(unscaled);
    if digits.len() < unscaled.len() {
        out.push('-');
    }
    let exponent = digits.len() as i32 - 1 - i32::from(scale);
    if scale == 0 {
        out.push_str(digits);
    } else if scale < 0 || exponent < -6 {
        let (first, rest) = digits.split_at(1.min(digits.len()));
        let point = if rest.is_empty() { "" } else { "." };
        let sign = if exponent > 0 { "+" } else { "" };
        show(out, format_args!("{first}{point}{rest}E{sign}{exponent}"));
    } else {
        let padded = format!("{digits:0>width$}", width = usize::from(scale.unsigned_abs()) + 1);
        let (whole, fraction) = padded.split_at(padded.len() - usize::from(scale.unsigned_abs()));
        show(out, format_args!("{whole}.{fraction}"));
    }
}
