//! Finding values that are no numbers.

/// Where the first NaN or infinity is.
///
/// Blocks are looked through without a branch, so that it costs little beside reading the values.
pub fn first_not_finite(values: &[f32]) -> Option<usize> {
    const BLOCK: usize = 1024;
    let wrong = |value: &f32| !value.is_finite();
    let block = values.chunks(BLOCK).position(|block| block.iter().fold(false, |any, v| any | wrong(v)))?;
    values[block * BLOCK..].iter().position(wrong).map(|at| block * BLOCK + at)
}

#[cfg(test)]
mod tests {
    use super::first_not_finite;

    #[test]
    fn the_first_one_is_found_wherever_it_is() {
        let mut values = vec![f32::MAX; 3000];
        assert_eq!(first_not_finite(&values), None);
        for (at, value) in [(2999, f32::NAN), (1024, f32::NEG_INFINITY), (1023, f32::INFINITY), (0, f32::NAN)]
        {
            values[at] = value;
            assert_eq!(first_not_finite(&values), Some(at));
        }
        assert_eq!(first_not_finite(&[]), None);
    }
}
