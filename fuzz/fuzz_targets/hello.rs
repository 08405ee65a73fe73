#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fence::proxy::fuzzing::hello(bytes));
