//! The program as the linker made it, where `.cargo/config.toml` says how it binds names.

const PROGRAM: &str = env!("CARGO_BIN_EXE_olive");
/// Numbers of the ELF specification: segments, and what the dynamic section says.
const PT_DYNAMIC: u64 = 2;
const PT_GNU_RELRO: u64 = 0x6474_e552;
const DT_FLAGS: u64 = 30;
const DF_BIND_NOW: u64 = 8;

fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Kind, place in the file and length of each segment.
fn segments(program: &[u8]) -> Vec<(u64, usize, usize)> {
    let (first, size, count) = (number(program, 32, 8), number(program, 54, 2), number(program, 56, 2));
    (0..count)
        .map(|index| (first + index * size) as usize)
        .map(|at| {
            (
                number(program, at, 4),
                number(program, at + 8, 8) as usize,
                number(program, at + 32, 8) as usize,
            )
        })
        .collect()
}

#[test]
fn addresses_of_functions_are_found_at_the_start_and_cannot_be_written_afterwards() {
    let program = std::fs::read(PROGRAM).unwrap();
    let segments = segments(&program);
    assert!(segments.iter().any(|(kind, ..)| *kind == PT_GNU_RELRO));
    let (_, start, length) = segments.iter().find(|(kind, ..)| *kind == PT_DYNAMIC).unwrap();
    let mut entries =
        (*start..start + length).step_by(16).map(|at| (number(&program, at, 8), number(&program, at + 8, 8)));
    let (_, flags) = entries.find(|(tag, _)| *tag == DT_FLAGS).expect("flags");
    assert_eq!(flags & DF_BIND_NOW, DF_BIND_NOW);
}
