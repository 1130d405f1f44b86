//! Python's format specification, the part of `{column:>10.2f}` after the colon.
//!
//! `[[fill]align][sign][z][#][0][width][grouping][.precision][type]`, from the Python language reference.

use crate::python_text::{self, exponent_text};
use crate::value::Value;

#[derive(Debug, Clone, PartialEq, Default)]
struct FormatSpec {
    fill: Option<char>,
    align: Option<Align>,
    sign: Option<char>,
    no_negative_zero: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

/// Where padding goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Align {
    /// `<`: after the text.
    Left,
    /// `>`: before it.
    Right,
    /// `^`: half on each side.
    Center,
    /// `=`: between the sign of a number and its digits.
    AfterSign,
}

impl Align {
    fn of(c: char) -> Option<Align> {
        match c {
            '<' => Some(Align::Left),
            '>' => Some(Align::Right),
            '^' => Some(Align::Center),
            '=' => Some(Align::AfterSign),
            _ => None,
        }
    }
}

/// A number, in the parts that padding and grouping treat differently.
struct Digits<'a> {
    negative: bool,
    /// `0x` and the like.
    prefix: &'a str,
    /// What stands before the point.
    whole: &'a str,
    /// Point, decimals, exponent and percent sign.
    rest: &'a str,
    /// Digits between two separators.
    group: usize,
}

/// More padding than this is a mistake, not a text.
const MAX_WIDTH: usize = 1 << 20;

/// `format(value, spec)`.
///
/// # Errors
/// What Python would say: the specification is not valid, or not for this type.
pub(crate) fn format_value(value: &Value, spec: &str) -> Result<String, String> {
    if spec.is_empty() {
        return Ok(python_text::str(value));
    }
    match value {
        Value::Str(s) => format_str(s, &parse(spec)?),
        Value::Bool(b) => format_int(i64::from(*b), &parse(spec)?),
        Value::Int(i) => format_int(*i, &parse(spec)?),
        Value::Float(f) => format_float(*f, &parse(spec)?),
        Value::None | Value::List(_) | Value::Dict(_) => {
            Err(format!("{} takes no format specification; convert it with `!s` first", value.kind()))
        }
    }
}

fn parse(text: &str) -> Result<FormatSpec, String> {
    let chars: Vec<char> = text.chars().collect();
    let align = |at: usize| chars.get(at).and_then(|c| Align::of(*c));
    let mut spec = FormatSpec::default();
    let mut i = 0;
    if align(1).is_some() {
        (spec.fill, spec.align) = (Some(chars[0]), align(1));
        i = 2;
    } else if align(0).is_some() {
        spec.align = align(0);
        i = 1;
    }
    if let Some(&c @ ('+' | '-' | ' ')) = chars.get(i) {
        spec.sign = Some(c);
        i += 1;
    }
    if chars.get(i) == Some(&'z') {
        spec.no_negative_zero = true;
        i += 1;
    }
    if chars.get(i) == Some(&'#') {
        spec.alternate = true;
        i += 1;
    }
    if chars.get(i) == Some(&'0') && spec.fill.is_none() {
        spec.zero = true;
        i += 1;
    }
    let number = |i: &mut usize| -> Result<Option<usize>, String> {
        let start = *i;
        while chars.get(*i).is_some_and(char::is_ascii_digit) {
            *i += 1;
        }
        if start == *i {
            return Ok(None);
        }
        let digits: String = chars[start..*i].iter().collect();
        match digits.parse() {
            Ok(n) if n <= MAX_WIDTH => Ok(Some(n)),
            _ => Err(format!("`{digits}` is too large in the format specification `{text}`")),
        }
    };
    spec.width = number(&mut i)?.unwrap_or(0);
    if let Some(&c @ (',' | '_')) = chars.get(i) {
        spec.grouping = Some(c);
        i += 1;
    }
    if chars.get(i) == Some(&'.') {
        i += 1;
        spec.precision =
            Some(number(&mut i)?.ok_or_else(|| format!("`{text}` has no precision after the dot"))?);
    }
    spec.kind = chars.get(i).copied();
    if chars.len() > i + 1 {
        return Err(format!("`{text}` is not a valid format specification"));
    }
    Ok(spec)
}

fn wrong_type(kind: char, of: &str) -> String {
    format!("the format code `{kind}` is not for {of}")
}

fn format_str(s: &str, spec: &FormatSpec) -> Result<String, String> {
    if let Some(kind) = spec.kind.filter(|&k| k != 's') {
        return Err(wrong_type(kind, "text"));
    }
    if spec.sign.is_some() || spec.no_negative_zero || spec.alternate || spec.grouping.is_some() {
        return Err("sign, `z`, `#`, `,` and `_` are not for text".into());
    }
    if spec.align == Some(Align::AfterSign) {
        return Err("the alignment `=` is not for text".into());
    }
    let cut: String = s.chars().take(spec.precision.unwrap_or(usize::MAX)).collect();
    let fill = spec.fill.unwrap_or(if spec.zero { '0' } else { ' ' });
    Ok(pad(&cut, spec.width, fill, spec.align.unwrap_or(Align::Left)))
}

fn pad(text: &str, width: usize, fill: char, align: Align) -> String {
    let missing = width.saturating_sub(text.chars().count());
    let left = match align {
        Align::Left => 0,
        Align::Center => missing / 2,
        Align::Right | Align::AfterSign => missing,
    };
    let fills = |n| std::iter::repeat_n(fill, n);
    fills(left).chain(text.chars()).chain(fills(missing - left)).collect()
}

fn format_int(i: i64, spec: &FormatSpec) -> Result<String, String> {
    let magnitude = i.unsigned_abs();
    let (prefix, digits, group) = match spec.kind {
        Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%') => return format_float(i as f64, spec),
        None | Some('d' | 'n') => ("", magnitude.to_string(), 3),
        Some('b') => ("0b", format!("{magnitude:b}"), 4),
        Some('o') => ("0o", format!("{magnitude:o}"), 4),
        Some('x') => ("0x", format!("{magnitude:x}"), 4),
        Some('X') => ("0X", format!("{magnitude:X}"), 4),
        Some('c') => {
            if spec.sign.is_some() || spec.grouping.is_some() || spec.alternate {
                return Err("sign, `#`, `,` and `_` are not for the format code `c`".into());
            }
            let c = u32::try_from(i)
                .ok()
                .and_then(char::from_u32)
                .ok_or_else(|| format!("{i} is not the code of a character"))?;
            let fill = spec.fill.unwrap_or(if spec.zero { '0' } else { ' ' });
            return Ok(pad(&c.to_string(), spec.width, fill, spec.align.unwrap_or(Align::Left)));
        }
        Some(kind) => return Err(wrong_type(kind, "whole numbers")),
    };
    if spec.precision.is_some() {
        return Err("a precision is not for whole numbers".into());
    }
    if spec.no_negative_zero {
        return Err("`z` is not for whole numbers".into());
    }
    check_grouping(spec)?;
    let prefix = if spec.alternate { prefix } else { "" };
    Ok(finish_number(spec, &Digits { negative: i < 0, prefix, whole: &digits, rest: "", group }))
}

fn check_grouping(spec: &FormatSpec) -> Result<(), String> {
    match (spec.grouping, spec.kind) {
        (Some(','), Some(kind @ ('b' | 'o' | 'x' | 'X'))) => {
            Err(format!("`,` is not for the format code `{kind}`"))
        }
        (Some(g), Some('n')) => Err(format!("`{g}` is not for the format code `n`")),
        _ => Ok(()),
    }
}

/// Digits after the point that can be written; a number of 64 bits has at most 1,074.
const MOST_DIGITS: usize = 10_000;

fn format_float(f: f64, spec: &FormatSpec) -> Result<String, String> {
    let kind = match spec.kind {
        None => None,
        Some(k @ ('e' | 'E' | 'f' | 'F' | 'g' | 'G' | 'n' | '%')) => Some(k),
        Some(kind) => return Err(wrong_type(kind, "floating-point numbers")),
    };
    check_grouping(spec)?;
    if let Some(precision) = spec.precision.filter(|&precision| precision > MOST_DIGITS) {
        return Err(format!("a precision of {precision} is more than {MOST_DIGITS}"));
    }
    let scaled = if kind == Some('%') { f.abs() * 100.0 } else { f.abs() };
    let mut digits = if f.is_nan() {
        "nan".to_owned()
    } else if scaled.is_infinite() {
        "inf".to_owned()
    } else {
        match (kind, spec.precision) {
            (Some('e' | 'E'), p) => scientific(scaled, p.unwrap_or(6), spec),
            (Some('f' | 'F' | '%'), p) => {
                let p = p.unwrap_or(6);
                format!("{scaled:.p$}") + if p == 0 && spec.alternate { "." } else { "" }
            }
            (Some(_), p) => general(scaled, p.unwrap_or(6), spec),
            (None, Some(p)) => general(scaled, p, spec),
            (None, None) => python_text::float_repr(scaled),
        }
    };
    if kind.is_some_and(char::is_uppercase) {
        digits = digits.to_uppercase();
    }
    let mut negative = f.is_sign_negative() && !f.is_nan();
    if spec.no_negative_zero && !digits.contains(|c: char| ('1'..='9').contains(&c)) && !f.is_infinite() {
        negative = false;
    }
    let split = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (whole, rest) = digits.split_at(split);
    let rest = if kind == Some('%') { format!("{rest}%") } else { rest.to_owned() };
    Ok(finish_number(spec, &Digits { negative, prefix: "", whole, rest: &rest, group: 3 }))
}

fn scientific(f: f64, precision: usize, spec: &FormatSpec) -> String {
    let text = format!("{f:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let dot = if precision == 0 && spec.alternate { "." } else { "" };
    format!("{mantissa}{dot}e{}", exponent_text(exponent.parse().unwrap_or(0)))
}

/// The code `g`. A precision without a code means the same with at least one digit after the point.
fn general(f: f64, precision: usize, spec: &FormatSpec) -> String {
    let (alternate, keep_point) = (spec.alternate, spec.kind.is_none());
    let precision = precision.max(1);
    let text = format!("{f:.*e}", precision - 1);
    let exponent: i32 = text.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let limit = precision as i32 - i32::from(keep_point);
    let strip = |s: &str| match s.contains('.') && !alternate {
        true => s.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => s.to_owned(),
    };
    if exponent < -4 || exponent >= limit {
        let mantissa = text.split_once('e').map_or(text.as_str(), |(m, _)| m);
        let mut mantissa = strip(mantissa);
        if alternate && !mantissa.contains('.') {
            mantissa.push('.');
        }
        return format!("{mantissa}e{}", exponent_text(exponent));
    }
    let decimals = usize::try_from(precision as i32 - 1 - exponent).unwrap_or(0);
    let mut plain = strip(&format!("{f:.decimals$}"));
    if !plain.contains('.') {
        if keep_point {
            plain.push_str(".0");
        } else if alternate {
            plain.push('.');
        }
    }
    plain
}

/// Sign, prefix, grouping, padding.
fn finish_number(spec: &FormatSpec, number: &Digits<'_>) -> String {
    let Digits { prefix, whole, rest, .. } = *number;
    let sign = match (number.negative, spec.sign) {
        (true, _) => "-",
        (false, Some('+')) => "+",
        (false, Some(' ')) => " ",
        (false, _) => "",
    };
    let fill = spec.fill.unwrap_or(if spec.zero { '0' } else { ' ' });
    let align = spec.align.unwrap_or(if spec.zero { Align::AfterSign } else { Align::Right });
    let width = spec.width.saturating_sub(sign.len() + prefix.len());
    let whole = match spec.grouping {
        Some(separator) if !whole.is_empty() => {
            // Zeros that fill up to the width are grouped like digits.
            let zeros = fill == '0' && align == Align::AfterSign;
            let min_width = if zeros { width.saturating_sub(rest.chars().count()) } else { 0 };
            grouped(whole, separator, number.group, min_width)
        }
        Some(_) | None => whole.to_owned(),
    };
    match align {
        Align::AfterSign => {
            let body = pad(&format!("{whole}{rest}"), width, fill, Align::Right);
            format!("{sign}{prefix}{body}")
        }
        Align::Left | Align::Right | Align::Center => {
            pad(&format!("{sign}{prefix}{whole}{rest}"), spec.width, fill, align)
        }
    }
}

fn grouped(digits: &str, separator: char, group: usize, min_width: usize) -> String {
    let mut reversed = Vec::new();
    let mut digits = digits.chars().rev();
    let mut count = 0;
    loop {
        let digit = match digits.next() {
            Some(d) => d,
            None if reversed.len() < min_width => '0',
            None => break,
        };
        if count > 0 && count % group == 0 {
            reversed.push(separator);
        }
        reversed.push(digit);
        count += 1;
    }
    reversed.iter().rev().collect()
}
