//! Real servers and their load, for the demo, the tests and the benchmark.
//!
//! * [`kafka`]: an Apache Kafka broker from Maven Central, and clients that say exactly what they moved.
//! * [`sendfile_server`]: a small server for machines without Java: the same bytes by `sendfile`, and by `pread64` and
//!   `write`.
//! * [`crowd`]: a process with as many partitions and listeners as one likes, for the benchmarks.
//! * [`worker`]: a process that makes system calls by order and says how long they took, for the benchmarks.
//!
//! Everything listens on the loopback interface only, on ports that were free, and leaves nothing behind: no process,
//! no file outside the [`cache`].

pub mod cache;
pub mod crowd;
pub mod kafka;
pub mod process;
pub mod sendfile_server;
pub mod tools;
pub mod worker;
