#![no_main]

libfuzzer_sys::fuzz_target!(init: olive_fuzz::start(), |data: &[u8]| olive_fuzz::rows(data));
