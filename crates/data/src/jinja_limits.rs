//! What a chat template may take of the machine. Templates come with models and data, and Jinja is a language with loops.

use crate::jinja_worker::{Work, on_own_stack, on_standby};
use minijinja::value::{Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value, filters};
use minijinja_contrib::pycompat::unknown_method_callback;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// Longest source in bytes; templates of models have a few thousand. None is nested deeper than it is long.
const MAX_SOURCE: usize = 128 << 10;
/// Stack that the parser and the compiler take for the deepest level that a byte can open, with room to spare.
const STACK_PER_BYTE: usize = 8 << 10;
const LEAST_STACK: usize = 1 << 20;

/// Steps of one rendering; a step also pays for 64 bytes of text. A thousand turns take less than a tenth of them.
const STEPS: u64 = 1_000_000;
const BYTES_PER_STEP: usize = 64;
/// As many as nearly all renderings need.
const SHORT: u64 = 8_000;
/// A value is at most as deep as the steps that made it, and the library compares and drops it level by level.
const STACK_PER_STEP: usize = 512;
/// Longest text of a rendering, beside several times what the messages hold.
const MAX_TEXT: usize = 16 << 20;
/// Deepest value that is printed.
const MAX_DEPTH: usize = 128;
/// For what costs no steps, such as folding a long chain of constants, or comparing lists that hold the same list many times.
const LONGEST: Duration = Duration::from_secs(15);

/// Makes every rendering end: too many steps, or too much text, are an error.
pub(super) fn set(environment: &mut Environment<'_>) {
    environment.set_fuel(Some(SHORT));
    environment.set_unknown_method_callback(method);
    // What these print of lists, or pad, is not paid for in advance.
    macro_rules! guard {
        ($($filter:ident)*) => {$(
            environment.add_filter(concat!("unguarded ", stringify!($filter)), filters::$filter);
            environment.add_filter(stringify!($filter), |state: &mut State<'_, '_>, values: Rest<ValueOrKwargs>| {
                let values = values.into_values();
                match (stringify!($filter), &values[..]) {
                    ("format", [format, values @ ..]) => charge_format(state, format.as_str().unwrap_or_default(), values)?,
                    (_, values) => charge_printed(state, values)?,
                }
                state.apply_filter(concat!("unguarded ", stringify!($filter)), &values)
            });
        )*};
    }
    guard!(capitalize format join lines lower split string title trim upper);
}

/// Compiles a template on a stack that is large enough for it: the parser calls itself for every `not`, `elif` and filter.
pub(super) fn add_template(
    environment: &Environment<'static>,
    name: &'static str,
    source: String,
) -> Result<Environment<'static>, Error> {
    let length = source.len();
    if length > MAX_SOURCE {
        let reason = format!("its {length} bytes are more than the {MAX_SOURCE} that a template may have");
        return Err(Error::new(ErrorKind::SyntaxError, reason));
    }
    let mut environment = environment.clone();
    let compile = move || {
        environment.add_template_owned(name, source)?;
        Ok(environment)
    };
    on_own_stack(LEAST_STACK + length * STACK_PER_BYTE, LONGEST, Box::new(compile))
}

/// The text of a template. `given` is how much text the context has.
pub(super) fn render(
    environment: &Arc<Environment<'static>>,
    name: &'static str,
    context: Value,
    given: usize,
) -> Result<String, Error> {
    render_within(LONGEST, environment, name, context, given)
}

fn render_within(
    longest: Duration,
    environment: &Arc<Environment<'static>>,
    name: &'static str,
    context: Value,
    given: usize,
) -> Result<String, Error> {
    let stack = |steps: u64| LEAST_STACK + steps as usize * STACK_PER_STEP;
    let rendering = |environment: Arc<Environment<'static>>| -> Work<String> {
        let context = context.clone();
        Box::new(move || environment.get_template(name)?.render(&context))
    };
    let text = match on_standby(stack(SHORT), longest, rendering(environment.clone())) {
        Err(error) if error.kind() == ErrorKind::OutOfFuel => {
            // Enough to read all of it sixteen times.
            let steps = STEPS + (given * 16 / BYTES_PER_STEP) as u64;
            let mut environment = Environment::clone(environment);
            environment.set_fuel(Some(steps));
            on_own_stack(stack(steps), longest, rendering(Arc::new(environment)))
        }
        short => short,
    }?;
    if text.len() > MAX_TEXT + given * 4 {
        return Err(Error::new(ErrorKind::OutOfFuel, "the text is too long"));
    }
    Ok(text)
}

/// Takes from the fuel what it costs to read or write this many bytes.
pub(super) fn charge(state: &State<'_, '_>, bytes: usize) -> Result<(), Error> {
    state.consume_fuel((bytes / BYTES_PER_STEP) as u64)
}

/// The error for a value at this depth that is too deep to be printed.
pub(super) fn check_depth(depth: usize) -> Result<(), Error> {
    if depth <= MAX_DEPTH {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidOperation, format!("a value is nested deeper than {MAX_DEPTH} levels")))
}

/// The methods of Python's types. The library pays for what most of them return; here is what it forgets: the text that
/// they read, and text that grows within one call.
fn method(state: &mut State<'_, '_>, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    let texts = arguments.iter().chain([value]).filter_map(Value::as_str);
    charge(state, texts.map(str::len).sum())?;
    match (value.as_str(), name, arguments) {
        (Some(separator), "join", [items]) => return join(state, separator, items),
        (Some(format), "format", arguments) => charge_format(state, format, arguments)?,
        _ => {}
    }
    unknown_method_callback(state, value, name, arguments)
}

/// `separator.join(items)`.
fn join(state: &State<'_, '_>, separator: &str, items: &Value) -> Result<Value, Error> {
    let mut text = String::new();
    for (index, item) in items.try_iter()?.enumerate() {
        if index > 0 {
            text.push_str(separator);
        }
        let length = printed_length(state, &item, 0)?;
        charge(state, length.saturating_add(separator.len()))?;
        write!(text, "{item}").map_err(Error::from)?;
    }
    Ok(Value::from(text))
}

/// Pays for every field as if all values stood in it, and for its width: one byte of padding is one step.
fn charge_format(state: &State<'_, '_>, format: &str, values: &[Value]) -> Result<(), Error> {
    let mut length = 0_usize;
    for value in values {
        length = length.saturating_add(printed_length(state, value, 0)?);
    }
    let fields = format.bytes().filter(|byte| matches!(byte, b'{' | b'%')).count();
    charge(state, fields.saturating_mul(length))?;
    state.consume_fuel(numbers(format) as u64)
}

/// All numbers of a format string together: its widths and precisions are among them.
fn numbers(format: &str) -> usize {
    let numbers = format.split(|letter: char| !letter.is_ascii_digit()).filter(|digits| !digits.is_empty());
    numbers.map(|digits| digits.parse().unwrap_or(usize::MAX)).fold(0, usize::saturating_add)
}

fn charge_printed(state: &State<'_, '_>, values: &[Value]) -> Result<(), Error> {
    values.iter().try_for_each(|value| charge(state, printed_length(state, value, 0)?))
}

/// About as many bytes as a value has when it is printed; looking at it costs a step per element.
fn printed_length(state: &State<'_, '_>, value: &Value, depth: usize) -> Result<usize, Error> {
    check_depth(depth)?;
    state.consume_fuel(1)?;
    if let Some(text) = value.as_str() {
        return Ok(text.len());
    }
    let is_list = match value.kind() {
        ValueKind::Seq => true,
        // One without a length may be walked only once, and is not printed.
        ValueKind::Iterable => value.len().is_some(),
        ValueKind::Map => false,
        _ => return Ok(BYTES_PER_STEP),
    };
    let mut length = 0_usize;
    for item in value.try_iter()? {
        length = length.saturating_add(printed_length(state, &item, depth + 1)?);
        if !is_list {
            let inner = value.get_item(&item)?;
            length = length.saturating_add(printed_length(state, &inner, depth + 1)?);
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list that holds the same list twice, fifty times over: it is compared in no step, with two to the fifty elements.
    #[test]
    fn comparisons_without_end_are_given_up() {
        let twice = "{% set a = [a, a] %}{% set b = [b, b] %}".repeat(50);
        let source = format!("{{% set a = [0] %}}{{% set b = [0] %}}{twice}{{{{ a == b }}}}");
        let mut environment = Environment::new();
        set(&mut environment);
        let environment = Arc::new(add_template(&environment, "chat", source).unwrap());
        let longest = Duration::from_millis(1500);
        let error = render_within(longest, &environment, "chat", Value::from(()), 0).unwrap_err();
        assert_eq!(error.detail(), Some("it takes longer than 1 seconds"));
    }
}
