#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cardvault_fuzz::audit(data));
