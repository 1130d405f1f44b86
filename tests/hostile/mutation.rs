//! Changes of a file: of its bytes, or of a value where it is JSON.

use super::numbers::{below, one_of};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// The file with a change, and what that is.
pub fn mutate(name: &str, content: &[u8], rng: &mut ChaCha8Rng) -> (Vec<u8>, String) {
    let structured = below(rng, 4) > 0;
    if structured
        && name.ends_with(".json")
        && let Ok(mut document) = serde_json::from_slice(content)
    {
        let how = mutate_json(&mut document, rng);
        return (document.to_string().into_bytes(), how);
    }
    if structured
        && name.ends_with(".safetensors")
        && let Some(changed) = mutate_header(content, rng)
    {
        return changed;
    }
    mutate_bytes(content, rng)
}

/// A value of a safetensors file's header.
fn mutate_header(content: &[u8], rng: &mut ChaCha8Rng) -> Option<(Vec<u8>, String)> {
    let (length, rest) = content.split_first_chunk::<8>()?;
    let (header, data) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let mut header: Value = serde_json::from_slice(header).ok()?;
    let how = mutate_json(&mut header, rng);
    let header = header.to_string();
    let length = (header.len() as u64).to_le_bytes();
    Some(([&length, header.as_bytes(), data].concat(), format!("{how} in the header")))
}

fn mutate_bytes(content: &[u8], rng: &mut ChaCha8Rng) -> (Vec<u8>, String) {
    const EXTREMES: [u64; 8] =
        [0, 1, u64::MAX, i64::MAX as u64, u32::MAX as u64, i32::MAX as u64, 1 << 62, 1 << 40];
    let mut bytes = content.to_vec();
    let at = below(rng, bytes.len());
    // Headers stand at the beginning.
    let at = if below(rng, 2) == 0 { at.min(below(rng, 2048)) } else { at };
    let how = match below(rng, 6) {
        0 if !bytes.is_empty() => {
            let bit = below(rng, 8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} turned")
        }
        1 => {
            bytes.truncate(at);
            format!("only the first {at} bytes")
        }
        2 | 3 => {
            let (value, width) = (one_of(rng, &EXTREMES), one_of(rng, &[1, 2, 4, 8]));
            let end = bytes.len().min(at + width);
            bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
            format!("{value:#x} in the {width} bytes from {at} on")
        }
        4 => {
            let end = bytes.len().min(at + 1 + below(rng, 64));
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
            format!("bytes {at}..{end} twice")
        }
        _ => {
            let end = bytes.len().min(at + 1 + below(rng, 16));
            bytes.drain(at..end);
            format!("bytes {at}..{end} left out")
        }
    };
    (bytes, how)
}

/// Values of every type, the extremes among them.
fn hostile_values() -> Vec<Value> {
    let deep = (0..100).fold(json!(0), |inner, _| json!([inner]));
    vec![
        Value::Null,
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(2),
        json!(3),
        json!(-1),
        json!(0.5),
        json!(-0.0),
        json!(1e-300),
        json!(1e300),
        json!(i32::MAX),
        json!(u32::MAX),
        json!(1u64 << 40),
        json!(1u64 << 53),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(""),
        json!("1"),
        json!("nan"),
        json!("../../../../etc/passwd"),
        json!("/"),
        json!("a\u{0}b"),
        json!("{{ 1 }}"),
        json!("%s%n"),
        json!("🫒".repeat(5000)),
        json!([]),
        json!([0, -1, "x", null]),
        json!({}),
        json!({"x": 1}),
        deep,
    ]
}

/// On from a value to one inside of it.
enum Step {
    Key(String),
    Index(usize),
}

/// Changes one value, wherever it stands.
fn mutate_json(document: &mut Value, rng: &mut ChaCha8Rng) -> String {
    let mut place = String::new();
    let mut node = document;
    loop {
        // On towards the leaves, most of the time.
        let stop = below(rng, 5) == 0;
        let step = match &*node {
            Value::Object(map) => map.keys().nth(below(rng, map.len())).cloned().map(Step::Key),
            Value::Array(list) => (!list.is_empty()).then(|| Step::Index(below(rng, list.len()))),
            _ => None,
        };
        let Some(step) = step.filter(|_| !stop) else {
            *node = one_of(rng, &hostile_values());
            let shown: String = node.to_string().chars().take(60).collect();
            return format!("`{place}` as {shown}");
        };
        place = match &step {
            Step::Key(key) => format!("{place}.{key}"),
            Step::Index(index) => format!("{place}[{index}]"),
        };
        if below(rng, 12) == 0 {
            match (step, &mut *node) {
                (Step::Key(key), Value::Object(map)) => drop(map.remove(&key)),
                (Step::Index(index), Value::Array(list)) => drop(list.remove(index)),
                _ => unreachable!("a step is one into this value"),
            }
            return format!("`{place}` left out");
        }
        node = match step {
            Step::Key(key) => &mut node[key],
            Step::Index(index) => &mut node[index],
        };
    }
}
