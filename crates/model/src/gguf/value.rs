//! A value of a GGUF file's metadata.

/// Whole numbers by their value, whatever width they are stored in.
pub(super) enum Value {
    Unsigned(u64),
    /// Less than zero.
    Negative(i64),
    F32(f32),
    F64(f64),
    Flag(bool),
    Text(String),
    List(Vec<Value>),
}

impl Value {
    pub(super) fn of_signed(number: i64) -> Value {
        u64::try_from(number).map_or(Value::Negative(number), Value::Unsigned)
    }

    /// A whole number that is not negative.
    pub(super) fn whole(&self) -> Option<usize> {
        match self {
            Value::Unsigned(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }

    /// As a message shows it: long ones by their beginning.
    pub(super) fn shown(&self) -> String {
        const LONGEST: usize = 60;
        let text = match self {
            Value::Unsigned(number) => number.to_string(),
            Value::Negative(number) => number.to_string(),
            Value::F32(number) => number.to_string(),
            Value::F64(number) => number.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::Text(text) => format!("{text:?}"),
            Value::List(list) => {
                let first: Vec<String> = list.iter().take(8).map(Value::shown).collect();
                let more = if list.len() > first.len() { ", …" } else { "" };
                format!("[{}{more}]", first.join(", "))
            }
        };
        match text.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}
