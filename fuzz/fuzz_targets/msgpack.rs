#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    socket_io_redis_streams_native::fuzzing::run("msgpack", input);
});
