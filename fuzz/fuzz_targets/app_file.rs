//! See the function of this name in `src/fuzzing/`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gatepass::fuzzing::app_file(data));
