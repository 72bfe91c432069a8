//! How it was measured, in words.

use super::Found;

pub(super) fn method(found: &Found) -> Vec<String> {
    vec![
        format!(
            "A Kafka broker alone on one processor; everything else (the client, zctrace, bpftrace) on another one, strace on the \
             broker's (across processors it costs far more). A client fetches a topic of {} MB from the page cache without end, \
             always through the same connection: one request after the other of at most 1 MiB of each of four partitions, as \
             consumers ask by default, and throws away what comes. One listener at a time. {} rounds, after {} seconds of load at \
             each listener to warm up: until then the JVM compiles.",
            found.megabytes, found.rounds, found.warm_up
        ),
        "A turn of a set-up: a window of 0.25 s with nothing attached, attach, a window with it, detach, a window with nothing. \
         The load goes on all the time; the time in which something is attached or detached is in no window, nor the 50 ms after \
         it. In each round zctrace has four turns at each listener, nothing again, zctrace with everything optional left out and \
         zctrace serve two (its windows are of 1.25 s, with a scrape in each), the others one, strace (2 s) each eighth round; in \
         another order each round."
            .to_owned(),
        "Processor time: of all the broker's threads, in user space and in the kernel, what programs take in them included, by \
         the scheduler's own account (CLOCK_PROCESS_CPUTIME_ID of the broker), read after each answer, when the broker sleeps. GB: \
         10^9 bytes of Kafka's protocol as the client counts them."
            .to_owned(),
        "A window's value is that below which a tenth of its requests lie (of a longer window: the median of its parts of \
         0.25 s). Whoever else wants the processor's caches and its memory, guests of the same host among them, and what the JVM \
         does beside (compiling, collecting garbage), only makes requests dearer, by a half at times, while hooks are paid in \
         every request alike. What a set-up adds: its window's value over that of the window before, and over that of the window \
         after, less one; of all these the median, turns drawn whole for the interval. \"nothing attached, again\" is the same with nothing in \
         between: what the noise adds. In the second table is all the time that the broker took, noise and all: the sum of the \
         windows' values over that of the means of those beside them."
            .to_owned(),
        "The kernel's own account: windows apart, of 3 s, in which the kernel measures how long programs run (BPF_ENABLE_STATS), \
         its two clock readings for each run and the runs for other processes' calls included: an upper limit of what the programs \
         take from the broker. What the kernel does to call them is not in it."
            .to_owned(),
        "Empty program: a raw tracepoint program at `sys_exit` that returns at once, the part of every hook there that no program \
         can save."
            .to_owned(),
    ]
}
