//! The 4-bit codes against bitsandbytes, to the bit.

use crate::support::models::fixture;
use crate::support::shared::shared;
use olive_kernels::quant::double_quant::{self, DYNAMIC_MAP, NestedScales};
use olive_kernels::quant::nf4::{self, Code, NotFinite, Scales};
use olive_model::Checkpoint;
use std::collections::BTreeSet;
use std::path::Path;

fn bits(values: &[f32]) -> Vec<u32> {
    // The sign of a zero is no difference.
    values.iter().map(|v| (v + 0.0).to_bits()).collect()
}

/// A file with tensors `<case>.weight`, `<case>.<plain|dq|fp4.plain|fp4.dq>.codes` and so on, made by
/// `bitsandbytes.functional.quantize_4bit` 0.50.2 on one thread; gives how often something was quantised.
fn compare(file: &Path) -> usize {
    let mut compared = 0;
    let golden = Checkpoint::open_file(file).unwrap();
    let f32s = |name: &str| golden.tensor(name).unwrap().to_f32().unwrap();
    let weights = golden.tensors().filter_map(|t| t.name.strip_suffix(".weight"));
    let cases: BTreeSet<&str> = weights.collect();
    for case in cases {
        let tensor = golden.tensor(&format!("{case}.weight")).unwrap();
        let n = tensor.element_count();
        for (kind, code, double) in [
            ("plain", Code::Nf4, false),
            ("dq", Code::Nf4, true),
            ("fp4.plain", Code::Fp4, false),
            ("fp4.dq", Code::Fp4, true),
        ] {
            let key = format!("{case}.{kind}");
            let Some(codes) = golden.get(&format!("{key}.codes")) else {
                assert_eq!(code, Code::Fp4);
                continue;
            };
            compared += 1;
            let read = |range, out: &mut [f32]| {
                tensor.read_f32(range, out).unwrap();
                Ok::<_, NotFinite>(())
            };
            let ours = nf4::quantise(code, n, read).unwrap();
            assert!(ours.codes == codes.bytes(), "{key}: codes");
            let nested;
            let plain: Vec<u8>;
            let scales = if double {
                nested = double_quant::quantise(&ours.absmax);
                assert_eq!(bits(&[nested.offset]), bits(&f32s(&format!("{key}.offset"))), "{key}: offset");
                assert_eq!(bits(&nested.absmax), bits(&f32s(&format!("{key}.nested_absmax"))), "{key}");
                assert_eq!(bits(&DYNAMIC_MAP[..]), bits(&f32s(&format!("{key}.nested_code"))), "{key}");
                assert!(
                    nested.codes == golden.tensor(&format!("{key}.absmax")).unwrap().bytes(),
                    "{key}: codes of the scales"
                );
                Scales::Nested(NestedScales {
                    codes: &nested.codes,
                    absmax: &nested.absmax,
                    offset: nested.offset,
                })
            } else {
                assert_eq!(bits(&ours.absmax), bits(&f32s(&format!("{key}.absmax"))), "{key}: scales");
                plain = ours.absmax.iter().flat_map(|v| v.to_le_bytes()).collect();
                Scales::Plain(&plain)
            };
            let want = f32s(&format!("{key}.dequantized"));
            let mut values = vec![0.0; n];
            nf4::decode(code, &ours.codes, scales, 0..n, &mut values);
            assert!(bits(&values) == bits(&want), "{key}: values");
            // Any part, begun and ended anywhere.
            for (start, end) in [(1, n), (63, 65), (65, 66), (n / 3, n - 1), (n, n)] {
                let (start, end) = (start.min(n), end.min(n));
                let part = &mut values[start..end];
                part.fill(f32::NAN);
                nf4::decode(code, &ours.codes, scales, start..end, part);
                assert!(bits(part) == bits(&want[start..end]), "{key}: {start}..{end}");
            }
        }
    }
    compared
}

#[test]
fn codes_scales_and_values_are_those_of_bitsandbytes() {
    assert_eq!(compare(&fixture("four_bit/bitsandbytes.safetensors")), 28);
}

#[test]
fn codes_scales_and_values_of_larger_matrices_are_those_of_bitsandbytes() {
    let Some(file) = shared("goldens/nf4.safetensors") else { return };
    assert_eq!(compare(&file), 12);
}

#[test]
fn a_weight_that_is_no_number_is_found() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let read = |range: std::ops::Range<usize>, out: &mut [f32]| {
            out.iter_mut().zip(range).for_each(|(v, i)| *v = if i == 5000 { bad } else { i as f32 });
            Ok::<_, NotFinite>(())
        };
        assert_eq!(nf4::quantise(Code::Nf4, 9000, read).err(), Some(NotFinite { near: 4992 }));
        assert!(nf4::quantise(Code::Nf4, 5000, read).is_ok());
    }
}
